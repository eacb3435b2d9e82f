/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* zlib reads plain files as they are, so there is one way for both. */
#include "cli/log_files.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { CHUNK = 1 << 20, FILES_MAX = 10000, KEY_BYTES = 64 };

struct log_reader {
	gzFile file;
	struct buf buf;
	size_t given; /* bytes of buf that were handed out */
	bool end;
};

bool log_reader_open(const char *path, struct log_reader **out, struct err *err)
{
	gzFile f = gzopen(path, "rbe");
	if (!f)
		return err_sys(err, "open %s", path);
	gzbuffer(f, CHUNK / 4);
	*out = mem_new(struct log_reader);
	(*out)->file = f;
	return true;
}

void log_reader_close(struct log_reader *r)
{
	if (!r)
		return;
	gzclose(r->file);
	buf_free(&r->buf);
	free(r);
}

bool log_reader_next(struct log_reader *r, struct str *out_lines, struct err *err)
{
	buf_consume(&r->buf, r->given);
	r->given = 0;
	for (;;) {
		size_t end = str_find_last_byte(buf_str(&r->buf), '\n');
		if (r->end)
			end = r->buf.n ? r->buf.n - 1 : STR_NPOS;
		if (end != STR_NPOS && (r->end || r->buf.n >= CHUNK / 2)) {
			r->given = end + 1;
			*out_lines = str_sub(buf_str(&r->buf), 0, r->given);
			return true;
		}
		if (r->end)
			return false;
		char *p = buf_room(&r->buf, CHUNK);
		int n = gzread(r->file, p, CHUNK);
		if (n < 0)
			return err_set(err, ERR_CORRUPT, "the file cannot be read: it is damaged");
		r->buf.n += (size_t)n;
		r->end = n == 0;
	}
}

/* ---- finding them ---- */

/* ".1", ".2.gz", "-20261124", "-20261124.gz" */
static bool is_rotated(struct str suffix)
{
	size_t n = 1;
	if (suffix.n < 2 || (suffix.p[0] != '.' && suffix.p[0] != '-'))
		return false;
	while (n < suffix.n && (ascii_is((unsigned char)suffix.p[n], ASCII_DIGIT) || suffix.p[n] == '-'))
		n++;
	return n > 1 && (n == suffix.n || str_eq(str_from(suffix, n), STR(".gz")));
}

struct named {
	const char *path;
	char key[KEY_BYTES + 1]; /* the first line's time, or its number with zeros in front */
};

static void read_key(struct named *f)
{
	struct log_reader *r;
	struct str lines;
	struct err err = {0};
	if (!log_reader_open(f->path, &r, &err))
		return;
	if (log_reader_next(r, &lines, &err)) {
		size_t digits = 0, at = str_starts(lines, STR("{\"@timestamp\":\"")) ? 15 : 0;
		while (digits < lines.n && ascii_is((unsigned char)lines.p[digits], ASCII_DIGIT))
			digits++;
		bool number = digits && digits < lines.n && lines.p[digits] == ' ';
		size_t pad = number && digits < 20 ? 20 - digits : 0;
		memset(f->key, '0', pad);
		struct str key = str_sub(lines, at, KEY_BYTES - pad);
		memcpy(f->key + pad, key.p, key.n);
	} else {
		strcpy(f->key, "~"); /* empty: the new one */
	}
	log_reader_close(r);
}

static int by_key(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	return strcmp(a->key, b->key);
}

bool log_files_find(struct arena *a, const char *path, struct log_files *out, struct err *err)
{
	struct str p = str_of(path);
	size_t slash = str_find_last_byte(p, '/'), cap = 0, n = 0;
	const char *dir = arena_cstr(a, slash == STR_NPOS ? STR(".")
					: slash           ? str_sub(p, 0, slash)
							  : STR("/"));
	struct str name = slash == STR_NPOS ? p : str_from(p, slash + 1);
	struct named *list = NULL;
	DIR *d = opendir(dir);
	struct dirent *e;
	if (!d)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no %s", path)
				       : err_sys(err, "open %s", dir);
	while ((e = readdir(d)) && n < FILES_MAX) {
		struct str entry = str_of(e->d_name);
		if (!str_starts(entry, name) || (entry.n > name.n && !is_rotated(str_from(entry, name.n))))
			continue;
		list = arena_grow(a, list, n, &cap, sizeof *list);
		list[n] = (struct named){.path = arena_cstr(a, arena_fmt(a, "%s/%s", dir, e->d_name))};
		read_key(&list[n++]);
	}
	closedir(d);
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no %s", path);
	qsort(list, n, sizeof *list, by_key);
	out->paths = arena_array(a, n, sizeof *out->paths);
	for (size_t i = 0; i < n; i++)
		out->paths[i] = list[i].path;
	out->n = n;
	return true;
}
