/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal postmap -q: what Postfix's postmap -q answers from its look-up files (R39-R42): the value and 0,
 * nothing and 1, and for a database that cannot be asked an error and EX_TEMPFAIL. Of the indexed
 * kinds (hash, btree, lmdb, cdb) the text is read that they are made from.
 */
#include "base/file.h"
#include "base/scan.h"
#include "cli/cli_int.h"
#include "directory/postfix_map.h"
#include <fcntl.h>
#include <unistd.h>

enum { TEXT_MAX = 64 << 20, KEYS_MAX = 16 << 20, TABLES_MAX = 32, TIMEOUT_MS = 10000 };

struct table_file {
	bool sql;
	struct str text;             /* of text tables */
	struct postfix_map map;
	struct directory_link link;
};
struct tables {
	struct table_file v[TABLES_MAX];
	size_t n;
	_Atomic int64_t away_until_ms;
};

static bool is_text(struct str kind)
{
	static const char *const kinds[] = {"hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (str_eq(kind, str_of(kinds[i])))
			return true;
	}
	return false;
}

static bool read_text(struct cli *cli, const char *path, struct str *out, struct err *err)
{
	BUF_SCOPED text = {0};
	if (!file_read_whole(AT_FDCWD, path, TEXT_MAX, &text, err))
		return false;
	*out = arena_str(cli->arena, buf_str(&text));
	return true;
}

static bool open_table(struct cli *cli, struct str name, struct tables *t, struct err *err)
{
	struct str path = name, kind = str_cut(&path, ':');
	if (!path.p) {
		path = name;
		kind = STR("hash");
	}
	const char *file = arena_cstr(cli->arena, path);
	struct table_file *f = &t->v[t->n++];
	if (is_text(kind))
		return read_text(cli, file, &f->text, err);
	if (str_starts(kind, STR("proxy"))) /* proxy:mysql:FILE */
		return t->n--, open_table(cli, path, t, err);
	if (!str_eq(kind, STR("mysql")))
		return err_set(err, ERR_SYNTAX, "%.*s tables are not read here",
			       STR_ARG(str_sub(kind, 0, 40)));
	f->sql = true;
	if (!postfix_map_read(cli->arena, file, &f->map, err))
		return false;
	postfix_map_link(&f->map, TIMEOUT_MS, &t->away_until_ms, &f->link);
	return true;
}

static bool find(struct cli *cli, struct tables *t, struct str key, struct buf *out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	(void)cli;
	for (size_t i = 0; i < t->n && out->n == 0; i++) {
		struct str value;
		if (t->v[i].sql) {
			if (!postfix_map_find(&t->v[i].map, &t->v[i].link, key, out, err))
				return false;
			continue;
		}
		if (!postfix_text_find(t->v[i].text, key, a, &value, err))
			return false;
		buf_add(out, value);
	}
	return true;
}

/* -q -: keys from standard input, a line each; found ones come out with their values. */
static int find_many(struct cli *cli, struct tables *t, struct err *err)
{
	BUF_SCOPED keys = {.max = KEYS_MAX};
	char part[8192];
	bool any = false;
	for (ssize_t n; (n = read(STDIN_FILENO, part, sizeof part)) > 0;)
		buf_add_bytes(&keys, part, (size_t)n);
	if (keys.failed)
		return cli_fail(cli, CLI_DATA, "more than %d bytes of keys", KEYS_MAX);
	for (struct str rest = buf_str(&keys); rest.n > 0;) {
		struct str key = str_trim(str_cut(&rest, '\n'));
		BUF_SCOPED value = {0};
		if (!find(cli, t, key, &value, err))
			return cli_fail(cli, CLI_TEMP, "%s", err->cause[0] ? err->cause : err->text);
		if (value.n > 0) {
			any = true;
			cli_print(cli, "%.*s\t%.*s\n", STR_ARG(key), STR_ARG(buf_str(&value)));
		}
	}
	return any ? CLI_OK : CLI_NOT_FOUND;
}

static int query(struct cli *cli, struct tables *t, struct str key)
{
	BUF_SCOPED value = {0};
	struct err err = {0};
	for (size_t i = 0; i < cli->nargs; i++) {
		if (t->n == TABLES_MAX)
			return cli_usage(cli, "%s", cli_text(cli, "too many tables", "테이블이 너무 많습니다"));
		if (!open_table(cli, cli->args[i], t, &err))
			return cli_fail(cli, err.kind == ERR_SYNTAX ? CLI_CONFIG : CLI_IO, "%s",
					err.cause[0] ? err.cause : err.text);
	}
	if (str_eq(key, STR("-")))
		return find_many(cli, t, &err);
	if (!find(cli, t, key, &value, &err))
		return cli_fail(cli, CLI_TEMP, "%s", err.cause[0] ? err.cause : err.text);
	if (value.n == 0)
		return CLI_NOT_FOUND;
	cli_print(cli, "%.*s\n", STR_ARG(buf_str(&value)));
	return CLI_OK;
}

int cmd_postmap(struct cli *cli)
{
	struct str key = cli_option(cli, "-q");
	struct tables *t = arena_zalloc(cli->arena, sizeof *t);
	if (!key.p)
		return cli_usage(
			cli, "%s",
			cli_text(cli, "only postmap -q KEY TABLE is offered: tables need no index here",
				 "postmap -q 키 테이블만 있습니다. 색인을 만들 필요가 없습니다"));
	int rc = query(cli, t, key);
	for (size_t i = 0; i < t->n; i++)
		link_close(&t->v[i].link);
	return rc;
}
