/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/subscriptions.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "store/maildir/dirname.h"
#include <string.h>

enum { FILE_MAX = 8 << 20 };

bool name_list_has(const struct name_list *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->name[i], name))
			return true;
	return false;
}

void name_list_add(struct arena *a, struct name_list *l, struct str name)
{
	l->name = arena_grow(a, l->name, l->n, &l->cap, sizeof(*l->name));
	l->name[l->n++] = name;
}

void name_list_remove(struct name_list *l, struct str name)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++)
		if (!str_eq(l->name[i], name))
			l->name[kept++] = l->name[i];
	l->n = kept;
}

/* Version 2 separates components by tabs and keeps names as they are shown. */
static bool line_name(struct arena *a, struct str line, bool tabs, struct str *out)
{
	if (str_eq_nocase(line, STR("INBOX"))) {
		*out = STR("INBOX");
		return true;
	}
	if (!line.n || line.n > MAILBOX_NAME_MAX)
		return false;

	BUF_SCOPED dir = {0};
	buf_byte(&dir, '.');
	for (size_t i = 0; i < line.n; i++)
		buf_byte(&dir, tabs && line.p[i] == '\t' ? '.' : line.p[i]);
	return mailbox_of_dir(a, buf_str(&dir), out);
}

void subscriptions_parse(struct arena *a, struct str file, struct name_list *out)
{
	struct map *seen = map_new();
	bool tabs = false;

	*out = (struct name_list){0};
	for (int line_number = 0; file.p; line_number++) {
		struct str line = str_trim(str_cut(&file, '\n')), name;
		if (line_number == 0 && str_eq(line, STR("V\t2"))) {
			tabs = true;
			continue;
		}
		if (line_name(a, line, tabs, &name) && !map_put(seen, name, out))
			name_list_add(a, out, name);
	}
	map_free(seen);
}

bool subscriptions_read(int dirfd, struct arena *a, struct name_list *out, struct err *err)
{
	BUF_SCOPED file = {0};

	*out = (struct name_list){0};
	if (!file_read_whole(dirfd, SUBSCRIPTIONS_FILE, FILE_MAX, &file, err))
		return err->kind == ERR_NOT_FOUND;
	subscriptions_parse(a, buf_str(&file), out);
	return true;
}

bool subscriptions_read_courier(int dirfd, struct arena *a, struct name_list *out, struct err *err)
{
	BUF_SCOPED file = {0};
	BUF_SCOPED ours = {0};

	*out = (struct name_list){0};
	if (!file_read_whole(dirfd, COURIER_SUBSCRIPTIONS_FILE, FILE_MAX, &file, err))
		return err->kind == ERR_NOT_FOUND;
	for (struct str rest = buf_str(&file); rest.p;) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		bool below = str_starts(line, STR("INBOX."));
		buf_add(&ours, below ? str_from(line, 6) : str_eq(line, STR("INBOX")) ? line : STR_NONE);
		buf_byte(&ours, '\n');
	}
	subscriptions_parse(a, buf_str(&ours), out);
	return true;
}

bool subscriptions_write(int dirfd, const struct name_list *l, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED file = {0};

	for (size_t i = 0; i < l->n; i++) {
		struct str dir;
		if (!dir_of_mailbox(a, l->name[i], &dir, err))
			return false;
		buf_add(&file, str_eq(dir, STR(".")) ? STR("INBOX") : str_from(dir, 1));
		buf_byte(&file, '\n');
	}
	return file_replace_whole(dirfd, SUBSCRIPTIONS_FILE, buf_str(&file), 0600, err);
}
