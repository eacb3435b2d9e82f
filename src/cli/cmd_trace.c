/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal trace: the life of a message, from the socket to the mailbox or the other server's reply, out of
 * the log and what rotation put aside of it.
 *
 * Three times through the files, each as fast as memory is searched: which queue ids belong to what was asked
 * for; their lines, and the sessions these name; the sessions' own lines. Lines in text and in JSON are
 * understood, also mixed.
 */
#include "base/log_line.h"
#include "base/map.h"
#include "cli/cli_int.h"
#include "cli/log_files.h"
#include "config/config.h"
#include "json/json.h"
#include "json/log_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 10000, LINES_MAX = 200000, SHOWN = 20, LINE_JSON_MAX = 64 * 1024 };

struct story {
	struct str qid;
	struct str *lines; /* as text */
	size_t n, cap;
	const char *sid[4]; /* sessions that its lines name */
	size_t sid_n;
};
struct tracing {
	struct cli *cli;
	struct log_files files;
	struct str key, bare; /* what was asked for; without angle brackets */
	struct story **stories;
	size_t n, cap, lines;
	struct map *by_qid, *by_sid;
	bool full;
};

/* ---- a line of either form ---- */

static bool member_line(void *ctx, struct str name, const struct json_value *v)
{
	struct buf *out = ctx;
	struct str text = json_value_str_or(v, STR_NONE);
	static const char *const heads[] = {
		"@timestamp",  "level",        "event",         "log.level",     "event.action",
		"ecs.version", "service.name", "event.dataset", "event.outcome", "trace.id"};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (str_eq(name, str_of(heads[i])))
			return true;
	buf_fmt(out, " %.*s=", STR_ARG(json_log_key(name)));
	if (!text.p) {
		buf_fmt(out, "%lld", (long long)json_value_int_or(v, 0));
		return true;
	}
	buf_byte(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c == '"' || c == '\\')
			buf_fmt(out, "\\%c", c);
		else if (c < 0x20)
			buf_fmt(out, "\\x%02x", c);
		else
			buf_byte(out, (char)c);
	}
	buf_byte(out, '"');
	return true;
}

static struct str either(const struct json_value *root, const char *plain, const char *ecs)
{
	struct str s = json_value_str_or(json_value_member(root, plain), STR_NONE);
	return s.p ? s : json_value_str_or(json_value_member(root, ecs), STR("?"));
}

/* The line as base/log.h writes it, in the arena; empty when it cannot be read. */
static struct str as_text(struct arena *a, struct str line)
{
	JSON_DOC_SCOPED doc = NULL;
	BUF_SCOPED out = {0};
	struct err err;
	if (!str_starts(line, STR("{")))
		return arena_str(a, line);
	if (!json_doc_parse(line, LINE_JSON_MAX, &doc, &err))
		return STR("");
	const struct json_value *root = json_doc_root(doc);
	buf_fmt(&out, "%.*s %.*s %.*s", STR_ARG(either(root, "@timestamp", "@timestamp")),
		STR_ARG(either(root, "level", "log.level")), STR_ARG(either(root, "event", "event.action")));
	json_value_each(root, member_line, &out);
	return arena_str(a, buf_str(&out));
}

/* The value behind a name at p: `qid=abc`, `"qid":"abc"`, `"pabal.qid":"abc"`. */
static struct str value_at(struct str rest)
{
	size_t from = 0, n = 0;
	while (from < rest.n && (rest.p[from] == '=' || rest.p[from] == '"' || rest.p[from] == ':'))
		from++;
	while (from + n < rest.n && ascii_is((unsigned char)rest.p[from + n], ASCII_LOWER | ASCII_DIGIT))
		n++;
	return str_sub(rest, from, n);
}

static struct str line_around(struct str lines, size_t at)
{
	size_t from = at, to = at;
	while (from > 0 && lines.p[from - 1] != '\n')
		from--;
	size_t end = str_find_byte(str_from(lines, at), '\n');
	to = end == STR_NPOS ? lines.n : at + end;
	return str_sub(lines, from, to - from);
}

static struct str value_in(struct str line, struct str name)
{
	for (size_t at = 0; at < line.n;) {
		size_t found = str_find(str_from(line, at), name);
		if (found == STR_NPOS)
			break;
		at += found + name.n;
		if (at < line.n && (line.p[at] == '=' || line.p[at] == '"'))
			return value_at(str_from(line, at));
	}
	return STR_NONE;
}

/* ---- through the files ---- */

typedef void chunk_fn(struct tracing *t, struct str lines);

static bool each_chunk(struct tracing *t, chunk_fn *fn, struct err *err)
{
	for (size_t i = 0; i < t->files.n; i++) {
		struct log_reader *r;
		struct str lines;
		if (!log_reader_open(t->files.paths[i], &r, err))
			return false;
		while (log_reader_next(r, &lines, err))
			fn(t, lines);
		log_reader_close(r);
		if (err->kind != ERR_NONE)
			return false;
	}
	return true;
}

static struct story *story_of(struct tracing *t, struct str qid)
{
	struct story *s = map_get(t->by_qid, qid);
	if (s || !qid.n)
		return s;
	if (t->n == MESSAGES_MAX) {
		t->full = true;
		return NULL;
	}
	struct arena *a = t->cli->arena;
	s = arena_new_of(a, struct story);
	s->qid = arena_str(a, qid);
	t->stories = arena_grow(a, t->stories, t->n, &t->cap, sizeof *t->stories);
	t->stories[t->n++] = s;
	map_put(t->by_qid, s->qid, s);
	return s;
}

/* Is the value whole, or only a part of another one ("kim@x" in "joakim@x")? */
static bool is_whole(struct str lines, size_t at, size_t n)
{
	static const char bounds[] = "\"<>,= \n";
	bool left = at == 0 || strchr(bounds, lines.p[at - 1]);
	bool right = at + n >= lines.n || strchr(bounds, lines.p[at + n]);
	return left && right;
}

static void find_messages(struct tracing *t, struct str lines)
{
	for (size_t at = 0; at < lines.n;) {
		size_t found = str_find(str_from(lines, at), t->bare);
		if (found == STR_NPOS)
			return;
		at += found;
		struct str line = line_around(lines, at);
		if (is_whole(lines, at, t->bare.n))
			(void)story_of(t, value_in(line, STR("qid")));
		at = (size_t)(line.p - lines.p) + line.n;
	}
}

static void add_line(struct tracing *t, struct story *s, struct str line)
{
	struct arena *a = t->cli->arena;
	struct str text = as_text(a, line);
	t->full |= t->lines == LINES_MAX;
	if (!text.n || t->lines == LINES_MAX)
		return;
	t->lines++;
	s->lines = arena_grow(a, s->lines, s->n, &s->cap, sizeof *s->lines);
	s->lines[s->n++] = text;
}

static void remember_session(struct tracing *t, struct story *s, struct str sid)
{
	if (!sid.n || s->sid_n == sizeof s->sid / sizeof *s->sid || map_get(t->by_sid, sid))
		return;
	s->sid[s->sid_n++] = arena_cstr(t->cli->arena, sid);
	map_put(t->by_sid, sid, s);
}

static void take_messages(struct tracing *t, struct str lines)
{
	for (size_t at = 0; at < lines.n;) {
		size_t found = str_find(str_from(lines, at), STR("qid"));
		if (found == STR_NPOS)
			return;
		at += found;
		struct story *s = map_get(t->by_qid, value_at(str_from(lines, at + 3)));
		struct str line = line_around(lines, at);
		if (!s) {
			at += 3;
			continue;
		}
		add_line(t, s, line);
		remember_session(t, s, value_in(line, STR("sid")));
		at = (size_t)(line.p - lines.p) + line.n;
	}
}

/* Of a session: its beginning, login and end; not what it did with other messages. */
static void take_sessions(struct tracing *t, struct str lines)
{
	for (size_t at = 0; at < lines.n;) {
		size_t found = str_find(str_from(lines, at), STR("sid"));
		if (found == STR_NPOS)
			return;
		at += found;
		struct story *s = map_get(t->by_sid, value_at(str_from(lines, at + 3)));
		struct str line = line_around(lines, at);
		if (!s) {
			at += 3;
			continue;
		}
		if (!value_in(line, STR("qid")).n)
			add_line(t, s, line);
		at = (size_t)(line.p - lines.p) + line.n;
	}
}

/* ---- telling it ---- */

static int by_text(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y); /* time stands in front */
}

/* Events in plain words; {key} is the field's value. What is not here is told as it stands. */
static const struct {
	const char *event, *en, *ko;
} words[] = {
	{"smtp.accept",
	 "accepted from {peer} ({service}), sender <{from}>, {count} recipients, {size} octets, {msgid}",
	 "{peer}에서 받음({service}), 보낸 이 <{from}>, 받는 이 {count}명, {size}바이트, {msgid}"},
	{"smtp.local",
	 "handed in by user {user_id}, process {pid} ({command}) in {directory}, sender <{from}>, for "
	 "{rcpt}",
	 "이 호스트의 사용자 {user_id}, 프로세스 {pid}({command}), 디렉터리 {directory}에서 넣음. 보낸 "
	 "이 <{from}>, 받는 이 {rcpt}"},
	{"smtp.login", "{account} logged in with {mechanism}", "{account} 로그인({mechanism})"},
	{"smtp.refuse", "message refused: {why}", "메일을 거절함: {why}"},
	{"smtp.rcpt.refuse", "recipient {rcpt} refused: {rule}", "받는 이 {rcpt} 거절: {rule}"},
	{"smtp.rcpt.relay", "may be sent on to {rcpt}: {rule}", "{rcpt}(으)로 내보낼 수 있음: {rule}"},
	{"smtp.session", "session of {peer} ({helo}) ended, {count} messages, {tls}",
	 "{peer}({helo})의 세션 끝, 메일 {count}통, {tls}"},
	{"queue.placed", "delivered to {account}, mailbox {mailbox}, UID {uid}",
	 "{account}의 메일함 {mailbox}에 넣음, UID {uid}"},
	{"queue.relayed", "taken by {peer} for {rcpt}: {code} {why} ({tls}, {ms} ms)",
	 "{peer} 서버가 {rcpt}에게 보낼 메일을 받음: {code} {why}({tls}, {ms} ms)"},
	{"queue.attempt", "not taken by {peer} for {rcpt}: {code} {why}",
	 "{peer} 서버가 {rcpt}에게 보낼 메일을 받지 않음: {code} {why}"},
	{"queue.deferred", "will be tried again for {rcpt}: {why}", "{rcpt}에게 다시 보낼 예정: {why}"},
	{"queue.bounced", "given up for {rcpt}, the sender is told: {why}",
	 "{rcpt}에게 보내지 못해 보낸 이에게 알림: {why}"},
	{"queue.action.failed", "cannot be delivered to {rcpt}: {why} {cause}",
	 "{rcpt}에게 배달할 수 없음: {why} {cause}"},
	{"queue.removed", "removed from the queue for {rcpt}: {why}", "대기열에서 지움({rcpt}): {why}"},
	{"queue.held", "held for {rcpt}: {why}", "보류함({rcpt}): {why}"},
};

static void put_words(struct buf *out, const char *pattern, const struct log_line *l)
{
	struct str rest = str_of(pattern);
	while (rest.n) {
		size_t open = str_find_byte(rest, '{');
		buf_add(out, str_sub(rest, 0, open == STR_NPOS ? rest.n : open));
		if (open == STR_NPOS)
			return;
		rest = str_from(rest, open + 1);
		struct str key = str_cut(&rest, '}');
		struct log_value v = log_line_find(l, key);
		if (v.raw.n)
			log_value_text(out, &v);
		else
			buf_byte(out, '-');
	}
}

static void put_line(struct tracing *t, struct str text)
{
	struct cli *cli = t->cli;
	struct log_line l;
	BUF_SCOPED told = {0};
	if (!log_line_read(text, &l))
		return;
	for (size_t i = 0; i < sizeof words / sizeof *words && !told.n; i++)
		if (str_eq(l.event, str_of(words[i].event)))
			put_words(&told, cli->korean ? words[i].ko : words[i].en, &l);
	for (size_t i = 0; i < told.n;
	     i++) /* escapes are gone: what they kept from the terminal is not to come back */
		if ((unsigned char)told.p[i] < 0x20 || told.p[i] == 0x7f)
			told.p[i] = ' ';
	if (!told.n)
		buf_fmt(&told, "%.*s %.*s", STR_ARG(l.event), STR_ARG(l.fields));
	cli_print(cli, "  %.*s  %.*s\n", STR_ARG(str_sub(l.time, 0, 23)), STR_ARG(buf_str(&told)));
}

static void print_json(struct tracing *t, size_t first)
{
	struct json_writer w;
	json_write_init(&w, &t->cli->out);
	json_write_object_begin(&w);
	json_write_member_int(&w, "found", (int64_t)t->n);
	json_write_member_bool(&w, "truncated", t->full);
	json_write_name(&w, STR("messages"));
	json_write_array_begin(&w);
	for (size_t i = first; i < t->n; i++) {
		json_write_object_begin(&w);
		json_write_member_str(&w, "qid", t->stories[i]->qid);
		json_write_name(&w, STR("lines"));
		json_write_array_begin(&w);
		for (size_t k = 0; k < t->stories[i]->n; k++) {
			BUF_SCOPED line = {0};
			json_log_line(&line, t->stories[i]->lines[k], JSON_LOG_PLAIN);
			json_write_raw(&w, buf_str(&line));
		}
		json_write_array_end(&w);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(&t->cli->out, '\n');
}

static void print_text(struct tracing *t, size_t first)
{
	struct cli *cli = t->cli;
	if (first)
		cli_print(cli,
			  cli_text(cli, "%zu messages, the last %zu of them (--limit):\n",
				   "메일 %zu통 중 마지막 %zu통(--limit):\n"),
			  t->n, t->n - first);
	for (size_t i = first; i < t->n; i++) {
		cli_print(cli, "%.*s\n", STR_ARG(t->stories[i]->qid));
		for (size_t k = 0; k < t->stories[i]->n; k++)
			put_line(t, t->stories[i]->lines[k]);
	}
}

static int by_qid(const void *x, const void *y)
{
	const struct story *a = *(struct story *const *)x, *b = *(struct story *const *)y;
	return str_cmp(a->qid, b->qid); /* ids ascend with time */
}

/* Only the last ones are told; the others need no lines. */
static size_t keep_last(struct tracing *t, uint64_t limit)
{
	qsort(t->stories, t->n, sizeof *t->stories, by_qid);
	size_t first = t->n > limit ? t->n - limit : 0;
	for (size_t i = 0; i < first; i++)
		(void)map_remove(t->by_qid, t->stories[i]->qid);
	return first;
}

static int run(struct tracing *t, uint64_t limit)
{
	struct cli *cli = t->cli;
	struct err err = {0};
	if (!each_chunk(t, find_messages, &err))
		return cli_fail_err(cli, &err);
	if (!t->n)
		return cli_fail(cli, CLI_NOT_FOUND,
				cli_text(cli, "the log knows nothing of %.*s",
					 "로그에 %.*s에 관한 기록이 없습니다"),
				STR_ARG(t->key));
	size_t first = keep_last(t, limit);
	if (!each_chunk(t, take_messages, &err) || !each_chunk(t, take_sessions, &err))
		return cli_fail_err(cli, &err);
	for (size_t i = first; i < t->n; i++)
		qsort(t->stories[i]->lines, t->stories[i]->n, sizeof(struct str), by_text);
	if (t->full)
		fprintf(stderr, "pabal: %s\n",
			cli_text(cli,
				 "more fits than can be told: the newest are missing; ask for less (a "
				 "queue id, --file)",
				 "너무 많아 가장 새로운 것은 빠졌습니다. 큐 ID나 --file로 좁혀 주십시오"));
	if (cli->json)
		print_json(t, first);
	else
		print_text(t, first);
	return CLI_OK;
}

static int open_files(struct tracing *t)
{
	struct cli *cli = t->cli;
	struct err err = {0};
	int code = cli_config(cli);
	if (code)
		return code;
	const char *path = cli_has(cli, "--file") ? arena_cstr(cli->arena, cli_option(cli, "--file"))
						  : config_path(cli->config, SETTING_LOG_PATH);
	if (!path || !path[0])
		return cli_fail(
			cli, CLI_CONFIG, "%s",
			cli_text(cli,
				 "the log goes to standard error (log.path is not set); name one with "
				 "--file",
				 "로그가 표준 오류로 나갑니다(log.path가 없음). --file로 지정하십시오"));
	return log_files_find(cli->arena, path, &t->files, &err) ? CLI_OK : cli_fail_err(cli, &err);
}

int cmd_trace(struct cli *cli)
{
	struct tracing t = {.cli = cli, .key = str_trim(cli_arg(cli, 0))};
	uint64_t limit = SHOWN;
	if (cli_has(cli, "--limit") && !str_u64(cli_option(cli, "--limit"), MESSAGES_MAX, &limit))
		return cli_usage(cli, "%s", cli_text(cli, "--limit needs a number", "--limit는 수여야 합니다"));
	t.bare = t.key;
	if (str_starts(t.bare, STR("<")) && str_ends(t.bare, STR(">")))
		t.bare = str_sub(t.bare, 1, t.bare.n - 2);
	if (t.bare.n < 3)
		return cli_usage(cli, "%s", cli_text(cli, "a queue id, Message-ID or address is wanted",
						     "큐 ID, Message-ID 또는 주소가 필요합니다"));
	int code = open_files(&t);
	if (code)
		return code;
	t.by_qid = map_new();
	t.by_sid = map_new();
	code = run(&t, limit);
	map_free(t.by_qid);
	map_free(t.by_sid);
	return code;
}
