/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/conversation.h: for tests alone: reads a conversation and holds it.
 *
 *   # comment
 *   C: line          the client sends it, with CRLF
 *   C| octets        the same without CRLF
 *   M: line          a line of a message, which {MSG} in a "C" line puts in as {n+} literal
 *   S: line          the server's next line is that
 *   S... line        it comes, after any number of others
 *   S- line          it is not among what the server has sent and nobody asked for; all of that is dropped
 *   =NAME            another session, begun when first named; the first is "=1"
 *
 * In lines: {*} any octets, {name=} any octets, kept; {name} what was kept. In "C" lines {A*100}
 * is a hundred letters A.
 */
#pragma once
#include "imap/served_fake.h"
#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TALK_SESSIONS = 8, TALK_VARIABLES = 50 };

struct talk {
	struct arena *a;
	const char *file;
	unsigned line;
	struct conn *(*begin)(void *ctx); /* a new session */
	void *ctx;
	struct {
		struct str name;
		struct conn *conn;
		struct buf got;
	} session[TALK_SESSIONS], *now;
	unsigned sessions_n;
	struct {
		struct str name, value;
	} variable[TALK_VARIABLES];
	unsigned variables_n;
	struct buf message;
};

static inline struct str talk_variable(struct talk *t, struct str name)
{
	for (unsigned i = t->variables_n; i--;)
		if (str_eq(t->variable[i].name, name))
			return t->variable[i].value;
	return STR_NONE;
}

/* "{name}" at the front of s: its inside, and s is behind it. */
static inline bool talk_brace(struct str *s, struct str *inside)
{
	size_t end = str_find_byte(*s, '}');

	if (s->n < 3 || s->p[0] != '{' || end == STR_NPOS ||
	    (!isalpha((unsigned char)s->p[1]) && s->p[1] != '*'))
		return false;
	*inside = str_sub(*s, 1, end - 1);
	*s = str_from(*s, end + 1);
	return true;
}

static inline bool talk_match(struct talk *t, struct str pattern, struct str line)
{
	struct str inside;

	while (pattern.n) {
		if (!talk_brace(&pattern, &inside)) {
			if (!line.n || line.p[0] != pattern.p[0])
				return false;
			pattern = str_from(pattern, 1);
			line = str_from(line, 1);
			continue;
		}
		if (!str_eq(inside, STR("*")) && !str_ends(inside, STR("="))) {
			struct str value = talk_variable(t, inside);
			if (!str_starts(line, value))
				return false;
			line = str_from(line, value.n);
			continue;
		}
		for (size_t n = 0; n <= line.n; n++) {
			unsigned before = t->variables_n;
			if (inside.n > 1 && t->variables_n < TALK_VARIABLES) {
				t->variable[t->variables_n].name = str_sub(inside, 0, inside.n - 1);
				t->variable[t->variables_n++].value = arena_str(t->a, str_sub(line, 0, n));
			}
			if (talk_match(t, pattern, str_from(line, n)))
				return true;
			t->variables_n = before;
		}
		return false;
	}
	return line.n == 0;
}

static inline struct str talk_fill(struct talk *t, struct str s)
{
	BUF_SCOPED b = {};
	struct str inside;

	while (s.n) {
		if (!talk_brace(&s, &inside)) {
			buf_byte(&b, s.p[0]);
			s = str_from(s, 1);
			continue;
		}
		if (str_eq(inside, STR("MSG"))) {
			buf_fmt(&b, "{%zu+}\r\n", t->message.n);
			buf_add(&b, buf_str(&t->message));
			buf_clear(&t->message);
			continue;
		}
		size_t star = str_find_byte(inside, '*');
		if (star == STR_NPOS) {
			buf_add(&b, talk_variable(t, inside));
			continue;
		}
		uint64_t n = 0;
		assert_true(str_u64(str_from(inside, star + 1), 1 << 24, &n));
		while (n--)
			buf_add(&b, str_sub(inside, 0, star));
	}
	return arena_str(t->a, buf_str(&b));
}

static inline void talk_switch(struct talk *t, struct str name)
{
	for (unsigned i = 0; i < t->sessions_n; i++)
		if (str_eq(t->session[i].name, name)) {
			t->now = &t->session[i];
			return;
		}
	assert_true(t->sessions_n < TALK_SESSIONS);
	t->now = &t->session[t->sessions_n++];
	t->now->name = arena_str(t->a, name);
	t->now->conn = t->begin(t->ctx);
	fake_settle(t->now->conn, &t->now->got, 5000);
}

static inline void talk_send(struct talk *t, struct str octets, bool line)
{
	buf_add(&t->now->conn->in, octets);
	if (line)
		buf_add(&t->now->conn->in, STR("\r\n"));
	fake_settle(t->now->conn, &t->now->got, 5000);
}

static inline bool talk_line(struct talk *t, struct str *out)
{
	size_t end = str_find_byte(buf_str(&t->now->got), '\n');

	if (end == STR_NPOS) {
		fake_settle(t->now->conn, &t->now->got, 0);
		if (t->now->conn->parked & PARK_EVENT && fake_take_wake(t->now->conn, 2000))
			fake_run(t->now->conn, WAKE_EVENT, &t->now->got);
		end = str_find_byte(buf_str(&t->now->got), '\n');
	}
	if (end == STR_NPOS)
		return false;
	*out = arena_str(t->a, str_sub(buf_str(&t->now->got), 0, end));
	if (str_ends(*out, STR("\r")))
		out->n--;
	buf_consume(&t->now->got, end + 1);
	return true;
}

static inline void talk_expect(struct talk *t, struct str pattern, bool skip)
{
	struct str line, first = STR("(nothing)");
	bool any = false;

	while (talk_line(t, &line)) {
		if (!any)
			first = line;
		any = true;
		if (talk_match(t, pattern, line))
			return;
		if (!skip)
			break;
	}
	fail_msg("%s:%u: wanted \"%.*s\", got \"%.*s\"", t->file, t->line, STR_ARG(pattern), STR_ARG(first));
}

static inline void talk_refuse(struct talk *t, struct str pattern)
{
	struct str line;

	fake_settle(t->now->conn, &t->now->got, 0);
	while (t->now->got.n && talk_line(t, &line))
		if (talk_match(t, pattern, line))
			fail_msg("%s:%u: unwanted \"%.*s\"", t->file, t->line, STR_ARG(line));
}

static inline void talk_step(struct talk *t, struct str line)
{
	struct str rest;

	if (!line.n || line.p[0] == '#')
		return;
	if (line.p[0] == '=') {
		talk_switch(t, str_from(line, 1));
	} else if (str_starts(line, STR("C: "))) {
		talk_send(t, talk_fill(t, str_from(line, 3)), true);
	} else if (str_eq(line, STR("C:"))) {
		talk_send(t, STR_NONE, true);
	} else if (str_starts(line, STR("C| "))) {
		talk_send(t, talk_fill(t, str_from(line, 3)), false);
	} else if (str_starts(line, STR("M:"))) {
		buf_add(&t->message, str_from(line, 3));
		buf_add(&t->message, STR("\r\n"));
	} else if (str_starts(line, STR("S: "))) {
		talk_expect(t, str_from(line, 3), false);
	} else if (str_eq(line, STR("S:"))) {
		talk_expect(t, STR(""), false);
	} else if (str_starts(line, STR("S... "))) {
		talk_expect(t, str_from(line, 5), true);
	} else if (str_starts(line, STR("S- "))) {
		talk_refuse(t, str_from(line, 3));
	} else if (str_eq(line, STR("CLOSED"))) {
		if (!t->now->conn->closed)
			fail_msg("%s:%u: the connection is open", t->file, t->line);
	} else {
		rest = line;
		fail_msg("%s:%u: what is \"%.*s\"?", t->file, t->line, STR_ARG(rest));
	}
}

/* Holds the conversation of one file. begin makes a session in which nothing was said yet. */
static inline void talk_file(const char *path, struct conn *(*begin)(void *ctx), void *ctx)
{
	struct talk t = {.a = arena_new(), .file = path, .begin = begin, .ctx = ctx};
	BUF_SCOPED text = {};
	struct err err;

	fake_must(file_read_whole(AT_FDCWD, path, 1 << 20, &text, &err), &err);
	talk_switch(&t, STR("1"));
	struct str rest = buf_str(&text);
	while (rest.n) {
		t.line++;
		talk_step(&t, str_cut(&rest, '\n'));
	}
	for (unsigned i = 0; i < t.sessions_n; i++) {
		fake_free(t.session[i].conn);
		buf_free(&t.session[i].got);
	}
	buf_free(&t.message);
	arena_free(t.a);
}

static inline int talk_is_conversation(const struct dirent *e)
{
	return str_ends(str_of(e->d_name), STR(".conv"));
}

/* All *.conv of a directory, each as a test of its own. */
static inline int talk_directory(const char *directory, void (*one)(void **path))
{
	struct dirent **list;
	int n = scandir(directory, &list, talk_is_conversation, alphasort);
	struct CMUnitTest *tests = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof(*tests));

	for (int i = 0; i < n; i++) {
		char *path;
		if (asprintf(&path, "%s/%s", directory, list[i]->d_name) < 0)
			abort();
		tests[i] = (struct CMUnitTest){
			.name = list[i]->d_name, .test_func = one, .initial_state = path};
	}
	int failed = n > 0 ? _cmocka_run_group_tests(directory, tests, (size_t)n, NULL, NULL) : 1;
	for (int i = 0; i < n; i++) {
		free(tests[i].initial_state);
		free(list[i]);
	}
	free(tests);
	free(list);
	return failed;
}
