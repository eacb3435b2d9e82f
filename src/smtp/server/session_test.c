/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Plays the conversations of tests/smtp/ (their README has the notation) against sessions with fake
 * connection and services; each file is a test.
 */
#include "base/testing.h"
#include "base/file.h"
#include "base/log.h"
#include "smtp/server/fake.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

struct play {
	const char *file;
	unsigned line_no;
	struct buf config_text;
	const struct config *config;
	struct fake fake;
	struct conn conn;
	bool open, begun;
	struct str name;
};

static void bad(struct play *p, const char *what, struct str detail)
{
	print_error("%s:%u: %s: %.*s\n", p->file, p->line_no, what, STR_ARG(detail));
	if (p->open)
		print_error("output not read: %.*s\n", STR_ARG(buf_str(&p->conn.out)));
	fail();
}

/* \r \n \0 \t \\ \xHH */
static void unescape(struct buf *out, struct str in)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '\\' || i + 1 == in.n) {
			buf_byte(out, in.p[i]);
			continue;
		}
		char c = in.p[++i];
		if (c == 'x' && i + 2 < in.n) {
			(void)!hex_decode(out, str_sub(in, i + 1, 2));
			i += 2;
		} else {
			buf_byte(out, c == 'r' ? '\r' : c == 'n' ? '\n' : c == '0' ? 0 : c == 't' ? '\t' : c);
		}
	}
}

/* "*" stands for anything. */
static bool matches(struct str pattern, struct str text)
{
	size_t star = str_find_byte(pattern, '*');
	if (star == STR_NPOS)
		return str_eq(pattern, text);
	if (!str_starts(text, str_sub(pattern, 0, star)))
		return false;
	text = str_from(text, star);
	pattern = str_from(pattern, star + 1);
	for (size_t i = 0; i <= text.n; i++)
		if (matches(pattern, str_from(text, i)))
			return true;
	return false;
}

static void begin(struct play *p)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	struct config *c = NULL;
	BUF_SCOPED text = {0};
	if (p->begun)
		return;
	p->begun = true;
	buf_add(&text, STR("hostname = \"mx.example.org\"\nmydomain = \"example.org\"\nmynetworks = "
			   "{\"10.0.0.0/8\"}\n"));
	buf_add(&text, buf_str(&p->config_text));
	if (!config_parse("/etc/pabal/pabal.conf", buf_str(&text), &problems, &c, &err))
		bad(p, "configuration", buf_str(&problems));
	p->config = c;
	fake_init(&p->fake, c);
}

/* "submission tls=required peer=192.0.2.9 over-tls xclient plain-auth" */
static void open_session(struct play *p, struct str words)
{
	static struct net_network me;
	struct conn_addr peer = {.addr.v4 = {.sin_family = AF_INET}, .len = sizeof peer.addr.v4};
	static char text[64];
	bool over_tls = false, local = false, xclient = false, plain = false;
	begin(p);
	if (p->open)
		fake_close(&p->conn);
	p->fake.listener = (struct smtp_listener){.tls = SMTP_TLS_MAY};
	strcpy(text, "192.0.2.9");
	while (words.p) {
		struct str word = str_cut(&words, ' ');
		if (str_eq(word, STR("mx"))) p->fake.listener.kind = SMTP_MX;
		else if (str_eq(word, STR("submission"))) p->fake.listener.kind = SMTP_SUBMISSION;
		else if (str_eq(word, STR("lmtp"))) p->fake.listener.kind = SMTP_LMTP;
		else if (str_eq(word, STR("tls=none"))) p->fake.listener.tls = SMTP_TLS_NONE;
		else if (str_eq(word, STR("tls=required"))) p->fake.listener.tls = SMTP_TLS_REQUIRED;
		else if (str_eq(word, STR("over-tls"))) over_tls = true;
		else if (str_eq(word, STR("unix"))) local = true;
		else if (str_eq(word, STR("xclient"))) xclient = true;
		else if (str_eq(word, STR("plain-auth"))) plain = true;
		else if (str_starts(word, STR("peer=")))
			snprintf(text, sizeof text, "%.*s", STR_ARG(str_from(word, 5)));
		else if (word.n) bad(p, "unknown word", word);
	}
	if (inet_pton(AF_INET, text, &peer.addr.v4.sin_addr) != 1)
		bad(p, "address", str_of(text));
	me = (struct net_network){peer, 32};
	if (xclient)
		p->fake.listener.xclient_from = (struct net_networks){&me, 1};
	if (plain)
		p->fake.listener.plaintext_auth_from = (struct net_networks){&me, 1};
	fake_open(&p->conn, &p->fake, local ? NULL : &peer, text, over_tls);
	p->open = true;
}

static void set_fake(struct play *p, struct str words)
{
	struct fake *f = &p->fake;
	begin(p);
	while (words.p) {
		struct str word = str_cut(&words, ' ');
		if (str_eq(word, STR("accept=ok"))) f->accept = ACCEPT_OK;
		else if (str_eq(word, STR("accept=refuse"))) f->accept = ACCEPT_REFUSE;
		else if (str_eq(word, STR("accept=fail"))) f->accept = ACCEPT_FAIL;
		else if (str_eq(word, STR("accept=hold"))) f->accept = ACCEPT_HOLD;
		else if (str_eq(word, STR("auth=hold"))) f->auth_held = true;
		else if (str_eq(word, STR("no-certificate"))) f->no_tls = true;
		else if (str_eq(word, STR("side-fails"))) f->side_fails = true;
		else if (str_starts(word, STR("pressure="))) f->pressure = word.p[9] - '0';
		else bad(p, "unknown word", word);
	}
}

static void happen(struct play *p, struct str what)
{
	struct fake *f = &p->fake;
	if (str_eq(what, STR("timeout"))) {
		if (!p->conn.deadline_ms)
			bad(p, "there is no deadline", what);
		fake_run(&p->conn, WAKE_DEADLINE);
	} else if (str_starts(what, STR("timeout "))) { /* and this long it was */
		uint64_t ms = 0;
		(void)str_u64(str_from(what, 8), UINT32_MAX, &ms);
		if ((uint64_t)p->conn.deadline_ms != ms) {
			print_error("deadline is %lld\n", (long long)p->conn.deadline_ms);
			bad(p, "another deadline", what);
		}
		fake_run(&p->conn, WAKE_DEADLINE);
	} else if (str_eq(what, STR("drain"))) {
		fake_run(&p->conn, WAKE_DRAIN);
	} else if (str_eq(what, STR("eof"))) {
		p->conn.eof = true;
		fake_run(&p->conn, WAKE_INPUT);
	} else if (str_eq(what, STR("gone"))) {
		fake_run(&p->conn, WAKE_GONE);
	} else if (str_eq(what, STR("commit"))) {
		if (!f->done)
			bad(p, "nothing to commit", what);
		f->done(f->done_ctx, NULL);
		f->done = NULL;
		if (!p->conn.closed)
			fake_run(&p->conn, WAKE_EVENT);
	} else if (str_eq(what, STR("closed"))) {
		if (!p->conn.closed)
			bad(p, "it is open", what);
		if (p->conn.refs != 1 && !f->done && !f->auth_done)
			bad(p, "references are left", what);
	} else if (str_eq(what, STR("open"))) {
		if (p->conn.closed)
			bad(p, "it is closed", what);
	} else if (str_starts(what, STR("rate "))) {
		uint64_t rate = 0;
		(void)str_u64(str_from(what, 5), UINT32_MAX, &rate);
		if (p->conn.rate != rate)
			bad(p, "another minimum rate", what);
	} else {
		bad(p, "unknown event", what);
	}
}

static void send_many(struct play *p, struct str what)
{
	uint64_t n = 0;
	struct str text = str_cut(&what, ' ');
	BUF_SCOPED one = {0}, all = {0};
	(void)str_u64(what, 10000000, &n);
	unescape(&one, text);
	for (uint64_t i = 0; i < n; i++)
		buf_add(&all, buf_str(&one));
	fake_feed(&p->conn, buf_str(&all));
}

static void expect_reply(struct play *p, struct str wanted)
{
	struct buf *out = &p->conn.out;
	size_t end = str_find(buf_str(out), STR("\r\n"));
	if (wanted.n == 0) {
		if (out->n)
			bad(p, "there is output", buf_str(out));
		return;
	}
	if (end == STR_NPOS)
		bad(p, "no reply; wanted", wanted);
	struct str line = str_sub(buf_str(out), 0, end);
	if (!matches(wanted, line)) {
		print_error("got \"%.*s\"\n", STR_ARG(line));
		bad(p, "another reply than", wanted);
	}
	buf_consume(out, end + 2);
}

static bool has_line(struct str content, struct str wanted)
{
	while (content.n) {
		size_t end = str_find(content, STR("\r\n"));
		struct str line = end == STR_NPOS ? content : str_sub(content, 0, end);
		if (matches(wanted, line))
			return true;
		content = end == STR_NPOS ? STR_NONE : str_from(content, end + 2);
	}
	return false;
}

static void expect_content(struct play *p, char kind, struct str wanted)
{
	BUF_SCOPED text = {0};
	struct str content = buf_str(&p->fake.content);
	unescape(&text, wanted);
	bool good = kind == 'H' ? has_line(content, buf_str(&text))
		  : kind == 'N' ? str_find(content, buf_str(&text)) == STR_NPOS
				: str_ends(content, buf_str(&text));
	if (good)
		return;
	print_error("content: %.*s\n", STR_ARG(content));
	bad(p, "content", wanted);
}

/* The only wait: for a limit on the time of a whole message. */
static void clock_sleep(struct str ms)
{
	uint64_t n = 0;
	(void)str_u64(ms, 1000, &n);
	usleep((useconds_t)n * 1000);
}

static void do_line(struct play *p, struct str line)
{
	BUF_SCOPED text = {0};
	char kind = line.p[0];
	struct str rest = str_from(line, 2);
	if (line.n > 1 && line.p[1] == ':')
		rest = str_from(line, line.n > 2 ? 3 : 2);
	switch (kind) {
	case '#': break;
	case '=':
		buf_add(&p->config_text, rest);
		buf_byte(&p->config_text, '\n');
		break;
	case '~': clock_sleep(rest); break;
	case '@': open_session(p, rest); break;
	case '+': set_fake(p, rest); break;
	case '!': happen(p, rest); break;
	case 'C':
	case 'c':
		unescape(&text, rest);
		if (kind == 'C')
			buf_add(&text, STR("\r\n"));
		fake_feed(&p->conn, buf_str(&text));
		break;
	case 'X': send_many(p, rest); break;
	case 'S': expect_reply(p, rest); break;
	case 'E':
		if (!matches(rest, buf_str(&p->fake.envelope)))
			bad(p, "envelope", buf_str(&p->fake.envelope));
		break;
	case 'A': {
		uint64_t n = 0;
		if (!str_u64(rest, 1000, &n) || n != p->fake.accepted) {
			print_error("accepted %u\n", p->fake.accepted);
			bad(p, "number of messages", rest);
		}
		break;
	}
	case 'H':
	case 'N':
	case 'B': expect_content(p, kind, rest); break;
	default: bad(p, "unknown line", line);
	}
}

static void play_file(void **state)
{
	struct play *p = *state;
	BUF_SCOPED text = {0};
	struct err err = {0};
	if (!file_read_whole(AT_FDCWD, p->file, 1 << 20, &text, &err))
		fail_msg("%s: %s", p->file, err.cause);
	for (struct str rest = buf_str(&text); rest.p;) {
		struct str line = str_cut(&rest, '\n');
		p->line_no++;
		if (line.n)
			do_line(p, line);
	}
	if (p->open && !p->conn.closed && p->conn.out.n)
		bad(p, "replies are left", STR_NONE);
	if (p->open)
		fake_close(&p->conn);
	if (p->fake.done) /* the commit comes after the client has gone */
		p->fake.done(p->fake.done_ctx, NULL);
	if (p->open && p->conn.refs != 1)
		bad(p, "references are left", STR_NONE);
	assert_int_equal(p->fake.sides_open, 0);
	fake_fini(&p->fake);
	config_unref((struct config *)p->config);
	buf_free(&p->config_text);
}

int main(void)
{
	glob_t files;
	log_init("test", LOG_ERROR);
	if (glob("tests/smtp/*.conv", 0, NULL, &files) != 0)
		return 1;
	struct CMUnitTest *tests = calloc(files.gl_pathc, sizeof *tests);
	struct play *plays = calloc(files.gl_pathc, sizeof *plays);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		char *name = strdup(strrchr(files.gl_pathv[i], '/') + 1);
		name[strlen(name) - 5] = 0;
		plays[i].file = files.gl_pathv[i];
		tests[i] = (struct CMUnitTest){
			.name = name, .test_func = play_file, .initial_state = &plays[i]};
	}
	int result = _cmocka_run_group_tests("smtp conversations", tests, files.gl_pathc, NULL, NULL);
	for (size_t i = 0; i < files.gl_pathc; i++)
		free((char *)tests[i].name);
	free(tests);
	free(plays);
	globfree(&files);
	return result;
}
