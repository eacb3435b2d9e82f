/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal audit list, verify: the hash-chained log of what was changed (audit/audit.h), over all its files. */
#include "audit/audit.h"
#include "base/file.h"
#include "base/log_line.h"
#include "cli/log_files.h"
#include "config/config.h"
#include "json/json.h"
#include "json/log_json.h"

#include <fcntl.h>
#include <string.h>

/* Calls fn for each line, oldest first, until it says no; an exit code. */
static int each_line(struct cli *cli, bool (*fn)(void *ctx, struct str line), void *ctx)
{
	struct log_files files;
	struct err err = {0};
	bool going = true;
	int code = cli_config(cli);
	if (code)
		return code;
	const char *path = config_path(cli->config, SETTING_AUDIT_PATH);
	if (!path[0])
		return cli_fail(cli, CLI_CONFIG, "%s",
				cli_text(cli, "audit.path is not set", "audit.path가 없습니다"));
	if (!log_files_find(cli->arena, path, &files, &err))
		return cli_fail_err(cli, &err);
	for (size_t i = 0; i < files.n && going; i++) {
		struct log_reader *r;
		struct str lines;
		if (!log_reader_open(files.paths[i], &r, &err))
			return cli_fail_err(cli, &err);
		while (going && log_reader_next(r, &lines, &err))
			while (lines.n && going)
				going = fn(ctx, str_cut(&lines, '\n'));
		log_reader_close(r);
		if (err.kind != ERR_NONE)
			return cli_fail_err(cli, &err);
	}
	return CLI_OK;
}

/* ---- verify ---- */

struct verifying {
	struct cli *cli;
	struct audit_check check;
	struct json_writer w;
	struct buf json;
};

static bool feed(void *ctx, struct str line)
{
	struct verifying *v = ctx;
	audit_check_line(&v->check, line);
	return true;
}

static const char *const fault_names[] = {
	[AUDIT_CHANGED] = "changed", [AUDIT_MISSING] = "missing", [AUDIT_UNREADABLE] = "unreadable",
};

static void on_fault(void *ctx, enum audit_fault fault, uint64_t number, uint64_t last)
{
	struct verifying *v = ctx;
	struct cli *cli = v->cli;
	unsigned long long n = number, m = last;
	if (cli->json) {
		json_write_object_begin(&v->w);
		json_write_member_cstr(&v->w, "fault", fault_names[fault]);
		json_write_member_int(&v->w, "line", (int64_t)number);
		json_write_member_int(&v->w, "last", (int64_t)last);
		json_write_object_end(&v->w);
		return;
	}
	switch (fault) {
	case AUDIT_CHANGED:
		cli_print(cli,
			  cli_text(cli, "line %llu is not what was written\n",
				   "%llu번 줄이 기록된 것과 다릅니다\n"),
			  n);
		break;
	case AUDIT_MISSING:
		if (n == m)
			cli_print(cli, cli_text(cli, "line %llu is missing\n", "%llu번 줄이 없습니다\n"), n);
		else
			cli_print(cli,
				  cli_text(cli, "lines %llu to %llu are missing\n",
					   "%llu번부터 %llu번까지의 줄이 없습니다\n"),
				  n, m);
		break;
	case AUDIT_UNREADABLE:
		cli_print(cli, cli_text(cli, "behind line %llu stands something that is no audit line\n",
					"%llu번 줄 뒤에 감사 기록이 아닌 것이 있습니다\n"),
			  n);
		break;
	}
}

/* --expect "NUMBER:HASH": what an earlier verify printed and somebody kept. */
struct expected {
	uint64_t number;
	struct str hash;
	bool seen, good;
};
struct expecting {
	struct verifying *v;
	struct expected *e;
};

static bool feed_expecting(void *ctx, struct str line)
{
	struct expecting *x = ctx;
	audit_check_line(&x->v->check, line);
	if (x->v->check.last == x->e->number) {
		x->e->seen = true;
		x->e->good = str_eq(x->e->hash, (struct str){x->v->check.hash, AUDIT_HASH_HEX});
	}
	return true;
}

static void check_head(struct verifying *v)
{
	BUF_SCOPED head = {0};
	struct err err = {0};
	const char *path = config_path(v->cli->config, SETTING_AUDIT_PATH);
	const char *name = arena_cstr(v->cli->arena, arena_fmt(v->cli->arena, "%s.head", path));
	if (file_read_whole(AT_FDCWD, name, 1024, &head, &err))
		(void)audit_check_head(&v->check, buf_str(&head));
	else if (!v->cli->json)
		cli_print(v->cli,
			  cli_text(v->cli, "%s cannot be read: lines missing at the end would not show\n",
				   "%s을(를) 읽을 수 없습니다: 끝의 줄이 빠져도 알 수 없습니다\n"),
			  name);
}

static int conclude(struct verifying *v, const struct expected *e)
{
	struct cli *cli = v->cli;
	const struct audit_check *c = &v->check;
	bool broken = c->faults || (e->number && !e->good);
	if (cli->json) {
		json_write_array_end(&v->w);
		json_write_member_bool(&v->w, "ok", !broken);
		json_write_member_int(&v->w, "first", (int64_t)c->first);
		json_write_member_int(&v->w, "last", (int64_t)c->last);
		json_write_member_str(&v->w, "hash", (struct str){c->hash, c->lines ? AUDIT_HASH_HEX : 0});
		json_write_object_end(&v->w);
		buf_byte(&v->json, '\n');
		buf_add(&cli->out, buf_str(&v->json));
		return broken ? CLI_DATA : CLI_OK;
	}
	if (e->number && !e->good)
		cli_print(cli,
			  e->seen ? cli_text(cli, "line %llu is not the one that was expected\n",
					     "%llu번 줄이 기대한 것과 다릅니다\n")
				  : cli_text(cli, "line %llu, which was expected, is not there\n",
					     "기대한 %llu번 줄이 없습니다\n"),
			  (unsigned long long)e->number);
	if (c->first > 1)
		cli_print(cli,
			  cli_text(cli, "older lines than %llu are not here any more\n",
				   "%llu번보다 오래된 줄은 이제 없습니다\n"),
			  (unsigned long long)c->first);
	cli_print(cli, cli_text(cli, "%llu lines, %llu faults; to keep elsewhere: %llu:%.*s\n",
				"%llu줄, 이상 %llu개. 따로 보관할 값: %llu:%.*s\n"),
		  (unsigned long long)c->lines, (unsigned long long)c->faults, (unsigned long long)c->last,
		  c->lines ? AUDIT_HASH_HEX : 0, c->hash);
	return broken ? CLI_DATA : CLI_OK;
}

int cmd_audit_verify(struct cli *cli)
{
	struct verifying v = {.cli = cli, .check = {.fault = on_fault}};
	struct expected e = {0};
	struct expecting x = {&v, &e};
	v.check.ctx = &v;
	if (cli_has(cli, "--expect")) {
		e.hash = cli_option(cli, "--expect");
		struct str number = str_cut(&e.hash, ':');
		if (!str_u64(number, UINT64_MAX, &e.number) || e.hash.n != AUDIT_HASH_HEX || e.number == 0)
			return cli_usage(cli, "%s",
					 cli_text(cli, "--expect wants NUMBER:HASH",
						  "--expect는 번호:해시입니다"));
	}
	if (cli->json) {
		json_write_init(&v.w, &v.json);
		json_write_object_begin(&v.w);
		json_write_name(&v.w, STR("faults"));
		json_write_array_begin(&v.w);
	}
	int code = each_line(cli, e.number ? feed_expecting : feed, e.number ? (void *)&x : (void *)&v);
	if (!code) {
		check_head(&v);
		code = conclude(&v, &e);
	}
	buf_free(&v.json);
	return code;
}

/* ---- list ---- */

struct listing {
	struct cli *cli;
	struct str since, needle;
	bool any;
};

static bool wanted(const struct listing *l, const struct audit_line *a)
{
	return (!l->since.n || str_cmp(str_sub(a->text, 0, l->since.n), l->since) >= 0) &&
	       (!l->needle.n || str_find_nocase(a->text, l->needle) != STR_NPOS);
}

static bool list_one(void *ctx, struct str line)
{
	struct listing *l = ctx;
	struct buf *out = &l->cli->out;
	struct audit_line a;
	if (!audit_line_read(line, &a) || !wanted(l, &a))
		return true;
	if (l->cli->json) {
		buf_add(out, l->any ? STR(",\n") : STR("[\n"));
		json_log_line(out, a.text, JSON_LOG_PLAIN);
		out->n--; /* number as one more member */
		buf_fmt(out, ",\"number\":%llu}", (unsigned long long)a.number);
	} else {
		buf_fmt(out, "%6llu  %.*s\n", (unsigned long long)a.number, STR_ARG(a.text));
	}
	l->any = true;
	if (out->n > 65536)
		cli_flush(l->cli);
	return true;
}

int cmd_audit_list(struct cli *cli)
{
	struct listing l = {.cli = cli, .since = cli_option(cli, "--since"), .needle = cli_arg(cli, 0)};
	int code = each_line(cli, list_one, &l);
	if (!code && cli->json)
		cli_print(cli, "%s", l.any ? "\n]\n" : "[]\n");
	return code;
}
