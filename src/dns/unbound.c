/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Questions under way stand in a list, oldest first; as all have the same time limit, the head is
 * the first to be late. libunbound's options that ub_ctx_set_option cannot set come from a
 * configuration in a memfd.
 */
#include "dns/unbound.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "dns/backend.h"
#include "dns/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unbound.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10000, RCODE_SERVFAIL = 2, CLASS_IN = 1 };

struct question {
	struct question *prev, *next;
	struct unbound *unbound;
	struct str name; /* behind the structure */
	enum dns_type type;
	int id;
	int64_t deadline_ms;
	dns_done *done;
	void *context;
};

struct unbound {
	struct dns_resolver resolver;
	struct ub_ctx *ctx;
	struct arena *arena; /* of one callback */
	int timeout_ms;
	struct question head; /* circular */
};

static void question_free(struct question *q)
{
	q->prev->next = q->next;
	q->next->prev = q->prev;
	free(q);
}

static void finish(struct question *q, const struct dns_answer *answer)
{
	dns_done *done = q->done;
	void *context = q->context;
	question_free(q);
	done(context, answer);
}

static void read_result(struct arena *a, const struct question *q, const struct ub_result *result,
			struct dns_answer *out)
{
	struct dns_wire_info info;
	struct err err;
	struct str packet = {result->answer_packet, result->answer_len > 0 ? (size_t)result->answer_len : 0};
	*out = (struct dns_answer){.status = DNS_SERVFAIL, .canonical = q->name};
	if (result->bogus) {
		out->status = DNS_BOGUS;
		return;
	}
	if (!dns_wire_answer(a, packet, q->name, q->type, out, &info, &err)) {
		out->status = DNS_SERVFAIL;
		return;
	}
	out->secure = result->secure && !dns_is_error(out->status);
}

static void on_result(void *context, int rc, struct ub_result *result)
{
	struct question *q = context;
	struct unbound *u = q->unbound;
	struct dns_answer answer = {.status = DNS_SERVFAIL, .canonical = arena_str(u->arena, q->name)};
	if (rc == 0 && result)
		read_result(u->arena, q, result, &answer);
	if (result)
		ub_resolve_free(result);
	answer.canonical = arena_str(u->arena, answer.canonical); /* q goes first */
	finish(q, &answer);
	arena_reset(u->arena);
}

/* Presentation format: what is no plain letter is \DDD. */
static const char *presentation(struct arena *a, struct str name)
{
	BUF_SCOPED text = {0};
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if (ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '.' || c == '-' || c == '_')
			buf_byte(&text, (char)c);
		else
			buf_fmt(&text, "\\%03u", c);
	}
	buf_byte(&text, '.');
	return arena_cstr(a, buf_str(&text));
}

void dns_unbound_start(struct dns_resolver *r, struct str name, enum dns_type type, dns_done *done,
		       void *context)
{
	struct unbound *u = (struct unbound *)r;
	ARENA_SCOPED a = arena_new();
	if (!dns_name_valid(name)) {
		done(context, &(struct dns_answer){.status = DNS_NXDOMAIN});
		return;
	}
	name = arena_lower(a, str_ends(name, STR(".")) ? str_sub(name, 0, name.n - 1) : name);
	struct question *q = mem_zalloc(sizeof *q + name.n);
	for (size_t i = 0; i < name.n; i++)
		((char *)(q + 1))[i] = name.p[i];
	q->name = (struct str){(const char *)(q + 1), name.n};
	q->unbound = u;
	q->type = type;
	q->deadline_ms = clock_mono_ms() + u->timeout_ms;
	q->done = done;
	q->context = context;
	q->prev = u->head.prev;
	q->next = &u->head;
	q->prev->next = q->next->prev = q;
	if (ub_resolve_async(u->ctx, presentation(a, name), type, CLASS_IN, q, on_result, &q->id) != 0)
		finish(q, &(struct dns_answer){.status = DNS_SERVFAIL, .canonical = name});
}

int dns_unbound_fd(struct dns_resolver *r)
{
	return ub_fd(((struct unbound *)r)->ctx);
}

int dns_unbound_wait_ms(struct dns_resolver *r)
{
	struct unbound *u = (struct unbound *)r;
	if (u->head.next == &u->head)
		return -1;
	int64_t left = u->head.next->deadline_ms - clock_mono_ms();
	return left > 0 ? (int)left : 0;
}

void dns_unbound_process(struct dns_resolver *r)
{
	struct unbound *u = (struct unbound *)r;
	(void)ub_process(u->ctx);
	int64_t now = clock_mono_ms();
	while (u->head.next != &u->head && u->head.next->deadline_ms <= now) {
		struct question *q = u->head.next;
		(void)ub_cancel(u->ctx, q->id);
		struct dns_answer answer = {.status = DNS_TIMEOUT, .canonical = arena_str(u->arena, q->name)};
		finish(q, &answer);
	}
}

struct waiting {
	struct arena *a;
	struct dns_answer *out;
	bool done;
};

/* The answer's arena is gone after the callback. */
static void keep(void *context, const struct dns_answer *answer)
{
	struct waiting *w = context;
	struct dns_record *at = arena_array(w->a, answer->n + 1, sizeof *at);
	for (size_t i = 0; i < answer->n; i++) {
		at[i] = answer->at[i];
		at[i].data = arena_str(w->a, at[i].data);
		at[i].name = arena_str(w->a, at[i].name);
	}
	*w->out = *answer;
	w->out->canonical = arena_str(w->a, answer->canonical);
	w->out->at = at;
	w->done = true;
}

static void unbound_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
			  struct dns_answer *out)
{
	struct waiting w = {.a = a, .out = out};
	dns_unbound_start(r, name, type, keep, &w);
	while (!w.done) {
		struct pollfd p = {.fd = dns_unbound_fd(r), .events = POLLIN};
		if (poll(&p, 1, dns_unbound_wait_ms(r)) < 0 && errno != EINTR)
			break;
		dns_unbound_process(r);
	}
}

static void unbound_free(struct dns_resolver *r)
{
	struct unbound *u = (struct unbound *)r;
	while (u->head.next != &u->head) {
		(void)ub_cancel(u->ctx, u->head.next->id);
		question_free(u->head.next);
	}
	ub_ctx_delete(u->ctx);
	arena_free(u->arena);
	free(u);
}

/* Behind a forwarder its view of the special-use and private zones counts, not the library's. */
static void write_config(struct buf *out, const struct dns_unbound_options *options)
{
	static const char *const zones[] = {"test.", "invalid.", "home.arpa.", "onion."};
	buf_add(out, STR("server:\n\tdo-not-query-localhost: no\n\tuse-syslog: no\n\tlogfile: \"\"\n"
			 "\tverbosity: 0\n\tmsg-cache-size: 8m\n\trrset-cache-size: 16m\n"));
	if (options->forwarder_n == 0 && !options->stub)
		return;
	buf_add(out, STR("\tunblock-lan-zones: yes\n\tinsecure-lan-zones: yes\n"));
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
		buf_fmt(out, "\tlocal-zone: \"%s\" nodefault\n", zones[i]);
}

static int use_config(struct ub_ctx *ctx, const struct dns_unbound_options *options)
{
	BUF_SCOPED text = {0};
	char path[32];
	FD_SCOPED fd = memfd_create("unbound.conf", MFD_CLOEXEC);
	write_config(&text, options);
	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		return UB_INITFAIL;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return ub_ctx_config(ctx, path);
}

/* libunbound reads its files with the first question: one that it answers itself, so that the caller's
 * sandbox may be closed afterwards, and a bad trust anchor is an error at start. */
static int read_files_now(struct ub_ctx *ctx)
{
	struct ub_result *result = NULL;
	int rc = ub_resolve(ctx, "localhost.", DNS_A, CLASS_IN, &result);
	ub_resolve_free(result);
	return rc;
}

static int set_up(struct ub_ctx *ctx, const struct dns_unbound_options *options)
{
	char server[DNS_SERVER_TEXT_MAX];
	int rc = ub_ctx_debugout(ctx, NULL);
	if (rc == 0)
		rc = use_config(ctx, options);
	for (size_t i = 0; rc == 0 && i < options->forwarder_n; i++) {
		dns_server_text(&options->forwarders[i], server);
		rc = ub_ctx_set_fwd(ctx, server);
	}
	if (rc == 0 && options->stub) {
		ARENA_SCOPED a = arena_new();
		dns_server_text(options->stub, server);
		rc = ub_ctx_set_stub(ctx, presentation(a, options->stub_zone), server, 0);
	}
	if (rc == 0 && options->trust_anchor_file && options->trust_anchor_file[0])
		rc = ub_ctx_add_ta_file(ctx, options->trust_anchor_file);
	if (rc == 0)
		rc = ub_ctx_async(ctx, 1);
	return rc == 0 ? read_files_now(ctx) : rc;
}

bool dns_unbound_new(const struct dns_unbound_options *options, struct dns_resolver **out, struct err *err)
{
	const char *anchor = options->trust_anchor_file;
	if (anchor && anchor[0] && access(anchor, R_OK) != 0)
		return err_sys(err, "trust anchor %s", anchor);
	struct ub_ctx *ctx = ub_ctx_create();
	if (!ctx)
		mem_exhausted();
	int rc = set_up(ctx, options);
	if (rc != 0) {
		ub_ctx_delete(ctx);
		return err_set(err, ERR_IO, "the resolver cannot be set up: %s", ub_strerror(rc));
	}
	struct unbound *u = mem_new(struct unbound);
	u->resolver = (struct dns_resolver){unbound_query, unbound_free};
	u->ctx = ctx;
	u->arena = arena_new();
	u->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
	u->head.prev = u->head.next = &u->head;
	*out = &u->resolver;
	return true;
}

const char *dns_unbound_root_key(void)
{
	static const char *const paths[] = {
		"/var/lib/unbound/root.key", "/usr/share/dns/root.key", "/etc/unbound/root.key",
	};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		if (access(paths[i], R_OK) == 0)
			return paths[i];
	}
	return NULL;
}
