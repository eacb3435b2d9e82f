/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/keywords.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/scan.h"

enum { FILE_MAX = 64 << 10 };

static bool name_valid(struct str s)
{
	if (!s.n || s.n > KEYWORD_MAX || str_has_ctl(s))
		return false;
	return !str_has_byte(s, ' ');
}

static struct str stand_in(struct arena *a, unsigned bit)
{
	return arena_fmt(a, "keyword-%c", (int)('a' + bit));
}

static void set(struct arena *a, struct keywords *k, unsigned bit, struct str name)
{
	while (k->n <= bit) {
		k->name[k->n] = stand_in(a, k->n);
		k->n++;
	}
	k->name[bit] = arena_str(a, name);
}

/* "a name" lines; Dovecot's are "0 name". */
void keywords_parse(struct arena *a, struct str file, struct keywords *out)
{
	*out = (struct keywords){0};
	while (file.p) {
		struct str line = str_cut(&file, '\n');
		struct str letter = str_cut(&line, ' ');
		uint64_t bit;
		if (letter.n == 1 && letter.p[0] >= 'a' && letter.p[0] <= 'z')
			bit = (uint64_t)(letter.p[0] - 'a');
		else if (!str_u64(letter, KEYWORDS_MAX - 1, &bit))
			continue;
		if (name_valid(line))
			set(a, out, (unsigned)bit, line);
	}
}

bool keywords_read(int dirfd, struct arena *a, struct keywords *out, struct err *err)
{
	BUF_SCOPED file = {0};

	*out = (struct keywords){0};
	bool ok = file_read_whole(dirfd, KEYWORDS_FILE, FILE_MAX, &file, err);
	if (!ok && err->kind == ERR_NOT_FOUND)
		ok = file_read_whole(dirfd, "dovecot-keywords", FILE_MAX, &file, err);
	if (!ok)
		return err->kind == ERR_NOT_FOUND;
	keywords_parse(a, buf_str(&file), out);
	return true;
}

int keywords_find(const struct keywords *k, struct str name)
{
	for (unsigned i = 0; i < k->n; i++)
		if (str_eq_nocase(k->name[i], name))
			return (int)i;
	return -1;
}

static bool write_file(int dirfd, const struct keywords *k, struct err *err)
{
	BUF_SCOPED file = {0};

	for (unsigned i = 0; i < k->n; i++) {
		buf_byte(&file, (char)('a' + i));
		buf_byte(&file, ' ');
		buf_add(&file, k->name[i]);
		buf_byte(&file, '\n');
	}
	return file_replace_whole(dirfd, KEYWORDS_FILE, buf_str(&file), 0600, err);
}

bool keywords_add(int dirfd, struct arena *a, struct keywords *k, struct str name, int *out_bit,
		  struct err *err)
{
	if (!name_valid(name))
		return err_set(err, ERR_SYNTAX, "keyword is not an atom of at most %d octets",
			       KEYWORD_MAX);
	if (k->n == KEYWORDS_MAX)
		return err_set(err, ERR_LIMIT, "a mailbox has at most %d keywords", KEYWORDS_MAX);

	struct keywords more = *k;
	set(a, &more, k->n, name);
	if (!write_file(dirfd, &more, err))
		return false;
	*out_bit = (int)k->n;
	*k = more;
	return true;
}

bool keywords_cover(int dirfd, struct arena *a, struct keywords *k, uint32_t used, struct err *err)
{
	struct keywords more = *k;

	for (unsigned i = k->n; i < KEYWORDS_MAX; i++)
		if (used >> i & 1)
			set(a, &more, i, stand_in(a, i));
	if (more.n == k->n)
		return true;
	if (!write_file(dirfd, &more, err))
		return false;
	*k = more;
	return true;
}
