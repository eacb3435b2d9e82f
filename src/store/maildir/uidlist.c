/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/uidlist.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/scan.h"
#include "store/maildir/name.h"
#include <string.h>

enum { FILE_MAX = 512 << 20 }; /* some millions of messages */

struct str uidlist_name(struct str file)
{
	size_t colon = str_find_byte(file, ':');

	return colon == STR_NPOS ? file : str_sub(file, 0, colon);
}

static bool name_valid(struct str name)
{
	return name.n && name.n <= NAME_MAX_LEN && name.p[0] != '.' && !str_has_byte(name, '/') &&
	       !str_has_ctl(name);
}

static bool size_field(struct str value, uint64_t *out)
{
	bool ok = str_u64(value, INT64_MAX, out);

	if (!ok)
		*out = 0;
	return ok;
}

/* The later line counts: Dovecot writes one when a file came back. */
static void add(struct arena *a, struct uidlist *l, const struct uidlist_entry *e)
{
	if (!e->uid || e->uid == UINT32_MAX || !name_valid(e->name))
		return;
	l->at = arena_grow(a, l->at, l->n, &l->cap, sizeof(*l->at));
	l->at[l->n++] = *e;
	if (e->uid >= l->uidnext)
		l->uidnext = e->uid + 1;
}

static bool number(struct str s, uint64_t max, uint64_t *out)
{
	return str_u64(s, max, out);
}

/* "3 V1714521600 N12 G0123..." */
static bool head_v3(struct str line, struct uidlist *l)
{
	uint64_t v;

	while (line.p) {
		struct str field = str_cut(&line, ' ');
		if (field.n < 2)
			continue;
		struct str value = str_from(field, 1);
		if (field.p[0] == 'V' && number(value, UINT32_MAX, &v))
			l->uidvalidity = (uint32_t)v;
		else if (field.p[0] == 'N' && number(value, UINT32_MAX, &v))
			l->uidnext = (uint32_t)v;
	}
	return l->uidvalidity && l->uidnext;
}

static bool head_v1(struct str line, struct uidlist *l)
{
	uint64_t validity, next;
	struct str first = str_cut(&line, ' ');

	if (!number(first, UINT32_MAX, &validity) || !number(str_trim(line), UINT32_MAX, &next))
		return false;
	l->uidvalidity = (uint32_t)validity;
	l->uidnext = (uint32_t)next;
	return validity && next;
}

static void line_v3(struct arena *a, struct str line, struct uidlist *l)
{
	struct uidlist_entry e = {0};
	struct str uid = str_cut(&line, ' ');
	uint64_t v;

	if (!number(uid, UINT32_MAX, &v))
		return;
	e.uid = (uint32_t)v;
	while (line.p && line.n && line.p[0] != ':') {
		struct str field = str_cut(&line, ' ');
		if (field.n < 2)
			continue;
		struct str value = str_from(field, 1);
		switch (field.p[0]) {
		case 'S':
			e.has_size = size_field(value, &e.size);
			break;
		case 'W':
			e.has_wire_size = size_field(value, &e.wire_size);
			break;
		case 'P':
			e.pop3_uidl = value;
			break;
		}
	}
	if (!line.p || !line.n)
		return;
	e.name = uidlist_name(str_from(line, 1));
	add(a, l, &e);
}

static void line_v1(struct arena *a, struct str line, struct uidlist *l)
{
	struct uidlist_entry e = {0};
	struct str uid = str_cut(&line, ' ');
	uint64_t v;

	if (!line.p || !number(uid, UINT32_MAX, &v))
		return;
	e.uid = (uint32_t)v;
	e.name = uidlist_name(line);
	add(a, l, &e);
}

void uidlist_parse(struct arena *a, struct str text, struct uidlist *out)
{
	struct str head = str_cut(&text, '\n');
	struct str version = str_cut(&head, ' ');
	bool three = str_eq(version, STR("3"));

	*out = (struct uidlist){0};
	if (!head.p || (!three && !str_eq(version, STR("1"))) ||
	    !(three ? head_v3(head, out) : head_v1(head, out))) {
		*out = (struct uidlist){0};
		return;
	}
	while (text.p) {
		struct str line = str_cut(&text, '\n');
		if (three)
			line_v3(a, line, out);
		else
			line_v1(a, line, out);
	}
	out->by_name = map_new();
	for (size_t i = 0; i < out->n; i++)
		map_put(out->by_name, out->at[i].name, &out->at[i]);
}

bool uidlist_read(int dirfd, const char *file, struct arena *a, struct uidlist *out, struct err *err)
{
	BUF_SCOPED text = {0};

	*out = (struct uidlist){0};
	if (!file_read_whole(dirfd, file, FILE_MAX, &text, err))
		return err->kind == ERR_NOT_FOUND;
	uidlist_parse(a, arena_str(a, buf_str(&text)), out);
	return true;
}

void uidlist_fini(struct uidlist *l)
{
	map_free(l->by_name);
	l->by_name = NULL;
}

const struct uidlist_entry *uidlist_find(const struct uidlist *l, struct str name)
{
	return l->by_name ? map_get(l->by_name, name) : NULL;
}

void uidlist_write_head(struct buf *out, uint32_t uidvalidity, uint32_t uidnext, struct str guid)
{
	buf_fmt(out, "3 V%u N%u G%.*s\n", uidvalidity, uidnext, STR_ARG(guid));
}

void uidlist_write_entry(struct buf *out, const struct uidlist_entry *e)
{
	buf_u64(out, e->uid);
	if (e->has_size) {
		buf_add(out, STR(" S"));
		buf_u64(out, e->size);
	}
	if (e->has_wire_size) {
		buf_add(out, STR(" W"));
		buf_u64(out, e->wire_size);
	}
	if (e->pop3_uidl.n) {
		buf_add(out, STR(" P"));
		buf_add(out, e->pop3_uidl);
	}
	buf_add(out, STR(" :"));
	buf_add(out, e->name);
	buf_byte(out, '\n');
}
