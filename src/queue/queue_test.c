/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The queue with a real journal of smtp's kind, a real store, and an auth that the test plays:
 * a@x, b@x, full@x have accounts; both@x is an alias of a and b; half@x of a and gone@x; *@away is
 * elsewhere; everything else is unknown; while "away" is set auth does not answer.
 */
#include "base/testing.h"

#include "base/clock.h"
#include "base/file.h"
#include "json/json.h"
#include "mail/header.h"
#include "queue/queue_int.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct bed {
	char path[64];
	int dir, spool, smtp_dir, queue_dir, mail;
	struct journal *smtp;
	struct queue *queue;
	struct store *store;
	_Atomic bool away;
	bool over_quota_temp, cold;
	int64_t retry_s;
	_Atomic uint64_t settled;
	bool with_relay;
	_Atomic int relayed, routes; /* recipients the played server took; questions to dns */
	_Atomic bool down;           /* dead.example does not answer */
	struct id last; /* submitted */
	const char *deadly; /* who asks for this address dies, after all is written */
	unsigned crashes; /* that "last" is said to have been at work in */
	int peer_fd;                 /* what the played server took: a line each, over all lives; 0: none */
	struct arena *arena;
};

static int subdir(struct bed *b, const char *name)
{
	mkdirat(b->dir, name, 0700);
	return openat(b->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int set_up(void **state)
{
	struct bed *b = calloc(1, sizeof *b);
	strcpy(b->path, "/tmp/pabal-queue-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	b->dir = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->spool = subdir(b, "spool");
	b->smtp_dir = subdir(b, "smtp");
	b->queue_dir = subdir(b, "queue");
	b->mail = subdir(b, "mail");
	b->arena = arena_new();
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", b->path);
	assert_int_equal(system(cmd), 0);
	int fds[] = {b->dir, b->spool, b->smtp_dir, b->queue_dir, b->mail};
	for (int i = 0; i < 5; i++)
		close(fds[i]);
	arena_free(b->arena);
	free(b);
	return 0;
}

/* ---- auth, played ----------------------------------------------------------------------- */

static void add(struct arena *a, struct destination *d, size_t *n, enum destination_kind kind,
		const char *address)
{
	d[(*n)++] = (struct destination){kind, arena_str(a, str_of(address))};
}

static bool resolve(void *ctx, struct str address, struct arena *a, struct destination **out, size_t *out_n,
		    struct err *err)
{
	struct bed *b = ctx;
	struct destination *d = arena_array(a, 3, sizeof *d);
	size_t n = 0;
	if (b->away || str_ends(address, STR("@never")))
		return err_set(err, ERR_TEMP, "auth is away");
	if (b->deadly && str_eq(address, str_of(b->deadly))) {
		if (!journal_flush(queue_journal(b->queue), err))
			abort();
		kill(getpid(), SIGKILL);
	}
	if (str_eq(address, STR("both@x"))) {
		add(a, d, &n, DESTINATION_LOCAL, "a@x");
		add(a, d, &n, DESTINATION_LOCAL, "b@x");
	} else if (str_eq(address, STR("half@x"))) {
		add(a, d, &n, DESTINATION_LOCAL, "a@x");
		add(a, d, &n, DESTINATION_UNKNOWN, "gone@x");
	} else if (str_eq(address, STR("a@x")) || str_eq(address, STR("b@x")) ||
		   str_eq(address, STR("full@x"))) {
		d[n++] = (struct destination){DESTINATION_LOCAL, arena_str(a, address)};
	} else if (str_eq(address, STR("postmaster@x"))) {
		add(a, d, &n, DESTINATION_LOCAL, "b@x");
	} else {
		bool remote = str_ends(address, STR("@away")) || str_ends(address, STR(".example"));
		d[n++] = (struct destination){remote ? DESTINATION_REMOTE : DESTINATION_UNKNOWN,
					      arena_str(a, address)};
	}
	*out = d;
	*out_n = n;
	return true;
}

static bool account(void *ctx, struct str address, struct arena *a, struct account_facts *out,
		    bool *out_found, struct err *err)
{
	struct bed *b = ctx;
	if (b->away)
		return err_set(err, ERR_TEMP, "auth is away");
	*out_found = str_ends(address, STR("@x"));
	*out = (struct account_facts){
		.id = str_hash(address),
		.address = arena_str(a, address),
		.language = STR("en"),
		.quota_bytes = str_eq(address, STR("full@x")) ? 10 : 0,
	};
	return true;
}

static void settled(void *ctx, struct str source, uint64_t seq)
{
	(void)source;
	struct bed *b = ctx;
	b->settled = seq;
}

static void pressure(void *ctx, int level)
{
	(void)ctx;
	(void)level;
}

static bool settle(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	(void)journal;
	(void)seq;
	struct bed *b = ctx;
	return queue_settle(b->queue, err);
}

static uint64_t watermark(void *ctx, struct str journal)
{
	(void)journal;
	struct bed *b = ctx;
	return journal_watermark(queue_journal(b->queue));
}

static void changed(void *ctx, struct str a, struct str m)
{
	(void)ctx;
	(void)a;
	(void)m;
}

static bool store_open(void *ctx, struct journal *j, struct store **out, struct err *err)
{
	struct bed *b = ctx;
	char path[100];
	snprintf(path, sizeof path, "%s/mail", b->path);
	struct store_options o = {
		.root_fd = b->mail,
		.root_path = path,
		.template = "%d/%n/Maildir",
		.journal = j,
		.journal_name = "queue",
		.settle = settle,
		.watermark = watermark,
		.changed = changed,
		.ctx = b,
		.cold = b->cold,
	};
	if (!store_new(&o, out, err))
		return false;
	b->store = *out;
	return true;
}

/* ---- dns and relay, played ---------------------------------------------------------------- */

static void route(void *ctx, struct str domain, route_done *done, void *done_ctx)
{
	struct bed *b = ctx;
	b->routes++;
	struct route_answer a = {.kind = ROUTE_MX, .hosts = STR("mx.example"), .ttl_s = 300};
	if (str_eq(domain, STR("null.example")))
		a.kind = ROUTE_NULL_MX;
	if (str_eq(domain, STR("nx.example")))
		a.kind = ROUTE_NXDOMAIN;
	done(done_ctx, &a);
}

/* The local-part says what the server answers: "ok", "no" (550), "later" (451). */
static void relay(void *ctx, const struct relay_job *job, relay_done *done, void *done_ctx)
{
	struct bed *b = ctx;
	struct relay_reply replies[8] = {0};
	for (size_t k = 0; k < job->rcpt_n; k++) {
		struct str local = job->rcpt[k].address.local;
		if (str_eq(job->domain, STR("dead.example")) && b->down) {
			replies[k] = (struct relay_reply){.scope = RELAY_HOSTS, .outcome = OUTCOME_NO_ANSWER};
		} else if (str_eq(local, STR("no"))) {
			replies[k] = (struct relay_reply){
				.code = 550, .status = {5, 1, 1}, .text = STR("550 5.1.1 no such user")};
		} else if (str_eq(local, STR("later"))) {
			replies[k] = (struct relay_reply){
				.code = 451, .status = {4, 2, 0}, .text = STR("451 4.2.0 later")};
		} else {
			replies[k] = (struct relay_reply){
				.code = 250, .status = {2, 0, 0}, .text = STR("250 2.0.0 ok")};
			b->relayed++;
			char line[300];
			int n = snprintf(line, sizeof line, "%.*s %.*s\n",
					 STR_ARG(id_str(&job->id)), STR_ARG(job->rcpt[k].forward_path));
			if (b->peer_fd > 0 && write(b->peer_fd, line, (size_t)n) != n)
				abort();
		}
	}
	assert_true(job->rcpt_n <= 8);
	assert_true(str_find(job->content, STR("Subject:")) != STR_NPOS);
	done(done_ctx,
	     &(struct relay_result){.rcpt = replies, .rcpt_n = job->rcpt_n, .mta = STR("mx.example")});
}

/* ---- short forms ------------------------------------------------------------------------ */

#define assert_done(call, err)                                                                           \
	do {                                                                                             \
		if (!(call)) {                                                                           \
			print_error("%s: %s\n", #call, (err).cause);                                     \
			fail();                                                                          \
		}                                                                                        \
	} while (0)

static void start(struct bed *b)
{
	struct err err = {0};
	struct journal_options smtp = {.dirfd = b->smtp_dir, .name = "smtp-0", .segment_bytes = 1 << 20};
	assert_done(journal_open(&smtp, NULL, NULL, &b->smtp, &err), err);
	assert_done(journal_start(b->smtp, &err), err);
	struct queue_options o = {
		.journal = {.dirfd = b->queue_dir, .name = "queue", .segment_bytes = 1 << 20},
		.store_open = store_open,
		.spool_fd = b->spool,
		.services = {b, resolve, account, settled, pressure},
		.hostname = STR("mail.x"),
		.postmaster = STR("postmaster@x"),
		.over_quota_temp = b->over_quota_temp,
		.retry_s = b->retry_s,
		.cold = b->cold,
	};
	if (b->with_relay)
		o.relay = (struct relay_services){b, route, relay};
	assert_done(queue_open(&o, &b->queue, &err), err);
	if (b->crashes)
		queue_suspect(b->queue, id_str(&b->last), STR_NONE, b->crashes, 77);
	assert_done(queue_source_add(b->queue, "smtp-0", b->smtp_dir, &err), err);
	assert_done(queue_recover(b->queue, &err), err);
	assert_done(queue_start(b->queue, &err), err);
}

static void stop(struct bed *b)
{
	queue_free(b->queue);
	store_free(b->store);
	journal_close(b->smtp);
}

struct letter {
	const char *from, *to, *body;
	unsigned notify;
};

static bool submit(struct bed *b, const struct letter *l, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct envelope e = {.id = id_new(), .received_us = clock_wall_us(), .origin = ENVELOPE_SUBMISSION};
	struct recipient *r = arena_zalloc(a, 4 * sizeof *r);
	if (l->from[0] && !address_parse(a, str_of(l->from), 0, &e.reverse_path, err))
		return false;
	b->last = e.id;
	e.reverse_path_text = str_of(l->from);
	e.rcpt = r;
	for (struct str rest = str_of(l->to); rest.p;) {
		struct str one = str_cut(&rest, ',');
		r[e.rcpt_n].forward_path = one;
		r[e.rcpt_n].notify = l->notify;
		if (!address_parse(a, one, 0, &r[e.rcpt_n++].address, err))
			return false;
	}
	BUF_SCOPED head = {0};
	BUF_SCOPED content = {0};
	message_record_head(&head, &e);
	buf_fmt(&content, "From: %s\r\nSubject: %s\r\n\r\n%s\r\n", l->from, l->body, l->body);
	struct iovec parts[] = {{head.p, head.n}, {content.p, content.n}};
	uint64_t seq;
	if (!journal_append_wait(b->smtp, JOURNAL_MESSAGE, parts, 2, &seq, err))
		return false;
	queue_accepted(b->queue, STR("smtp-0"), seq);
	return true;
}

/* Until nothing is at work; events come by tick, so the test plays the clock. */
static void drain(struct bed *b)
{
	for (int i = 0; i < 2000; i++) {
		struct queue_counts c;
		queue_counts(b->queue, &c);
		bool read_all = true;
		lock_take(&b->queue->lock);
		for (struct source *s = b->queue->sources; s; s = s->next)
			read_all = read_all && s->read >= s->accepted;
		lock_drop(&b->queue->lock);
		if (!c.waiting && read_all)
			return;
		usleep(5000);
		if (i % 20 == 0)
			queue_tick(b->queue);
	}
	fail_msg("the queue does not come to rest");
}

/* Subjects in the account's INBOX, in UID order, joined by commas. */
static struct str subjects(struct bed *b, const char *address)
{
	struct err err = {0};
	struct account_facts f = {
		.id = str_hash(str_of(address)), .address = str_of(address), .language = STR("en")};
	struct account *a;
	struct view *v;
	struct buf out = {0};
	assert_done(account_open(b->store, &f, &a, &err), err);
	assert_done(view_open(a, STR("INBOX"), true, &v, &err), err);
	for (uint32_t seq = 1; seq <= view_count(v); seq++) {
		struct msg m;
		struct str content;
		struct header_field h;
		assert_true(view_msg(v, seq, &m));
		assert_done(view_message(v, m.uid, b->arena, &content, &err), err);
		struct str head = str_sub(content, 0, header_length(content));
		assert_int_equal(header_count(head, STR("Return-Path")), 1);
		assert_int_equal(header_count(head, STR("Delivered-To")), 1);
		if (seq > 1)
			buf_byte(&out, ',');
		if (header_find(head, STR("Subject"), &h))
			buf_add(&out, str_starts(h.body, STR("=?")) ? STR("bounce") : str_trim(h.body));
	}
	view_close(v);
	account_close(a);
	struct str s = arena_str(b->arena, buf_str(&out));
	buf_free(&out);
	return s;
}

static void post(struct bed *b, const char *from, const char *to, const char *body)
{
	struct err err = {0};
	assert_done(submit(b, &(struct letter){.from = from, .to = to, .body = body}, &err), err);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void each_recipient_gets_one_copy(void **state)
{
	struct bed *b = *state;
	start(b);
	post(b, "a@x", "b@x", "one");
	post(b, "a@x", "both@x,a@x", "two"); /* R27: once each, whatever leads there */
	drain(b);
	assert_str("a", subjects(b, "a@x"), STR("two"));
	assert_str("b", subjects(b, "b@x"), STR("one,two"));
	struct err err = {0};
	assert_done(queue_settle(b->queue, &err), err);
	assert_int_equal(b->settled, 3); /* smtp may recycle all it has */
	stop(b);
}

static void failures_are_reported_to_the_sender(void **state)
{
	struct bed *b = *state;
	start(b);
	post(b, "b@x", "half@x", "half");      /* a member of the alias is gone */
	post(b, "b@x", "nobody@x", "nobody");
	post(b, "", "nobody@x", "null");       /* never a bounce to a bounce */
	post(b, "far@away", "nobody@x", "far");/* sender elsewhere: postmaster (b) learns of it */
	drain(b);
	assert_str("a", subjects(b, "a@x"), STR("half"));
	assert_int_equal(str_find(subjects(b, "b@x"), STR("bounce,bounce,bounce")), 0);
	assert_int_equal(subjects(b, "b@x").n, strlen("bounce,bounce,bounce"));
	stop(b);
}

static void notify_is_obeyed(void **state)
{
	struct bed *b = *state;
	struct err err = {0};
	start(b);
	assert_done(submit(b, &(struct letter){"b@x", "nobody@x", "x", NOTIFY_NEVER}, &err), err);
	assert_done(submit(b, &(struct letter){"b@x", "a@x", "y", NOTIFY_SUCCESS}, &err), err);
	assert_done(submit(b, &(struct letter){"far@away", "a@x", "z", NOTIFY_SUCCESS}, &err), err);
	drain(b);
	assert_str("b", subjects(b, "b@x"), STR("bounce")); /* one: the delivery notice */
	assert_str("a", subjects(b, "a@x"), STR("y,z"));
	stop(b);
}

static void over_quota_bounces_or_waits(void **state)
{
	struct bed *b = *state;
	start(b);
	post(b, "a@x", "full@x", "big");
	drain(b);
	assert_str("bounced", subjects(b, "a@x"), STR("bounce"));
	stop(b);
	b->over_quota_temp = true;
	start(b);
	post(b, "a@x", "full@x", "waits");
	drain(b);
	struct queue_counts c;
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 1);
	assert_str("not bounced", subjects(b, "a@x"), STR("bounce"));
	struct buf reply = {0};
	queue_control(b->queue, STR("{\"verb\":\"queue.list\"}"), &reply);
	assert_true(str_find(buf_str(&reply), STR("full@x")) != STR_NPOS);
	buf_free(&reply);
	stop(b);
	start(b); /* it survives a restart */
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 1);
	stop(b);
}

static void remote_recipients_wait_in_the_spool(void **state)
{
	struct bed *b = *state;
	start(b);
	post(b, "a@x", "far@away,b@x", "out");
	drain(b);
	struct queue_counts c;
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 1);
	assert_str("the others get it", subjects(b, "b@x"), STR("out"));
	stop(b);
}

static void remote_recipients_are_relayed(void **state)
{
	struct bed *b = *state;
	b->with_relay = true;
	start(b);
	post(b, "a@x", "ok@one.example,ok@two.example,b@x", "out");
	post(b, "a@x", "ok@one.example,no@one.example,later@one.example", "mixed");
	post(b, "a@x", "ok@null.example", "null");
	post(b, "a@x", "ok@nx.example", "nx");
	drain(b);
	assert_int_equal(b->relayed, 3);
	struct queue_counts c;
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 1); /* "later" alone */
	assert_str("three bounces", subjects(b, "a@x"), STR("bounce,bounce,bounce"));
	assert_str("b", subjects(b, "b@x"), STR("out"));
	stop(b);
	/* Only what is left is tried again, and nobody gets it twice. */
	b->retry_s = 1;
	start(b);
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 1);
	assert_int_equal(b->relayed, 3);
	/* What was tried before the restart counts. */
	struct buf reply = {0};
	queue_control(b->queue, STR("{\"verb\":\"queue.list\"}"), &reply);
	assert_true(str_find(buf_str(&reply), STR("\"attempts\":1")) != STR_NPOS);
	assert_true(str_find(buf_str(&reply), STR("451 4.2.0 later")) != STR_NPOS);
	buf_free(&reply);
	stop(b);
}

/* A torn attempt at the end of a file costs nothing but itself. */
static void attempts_end_where_they_are_torn(void **state)
{
	(void)state;
	BUF_SCOPED b = {0};
	struct attempt a = {
		.at_s = 5, .next_try_s = 65, .number = 1, .mta = STR("mx"), .reply = STR("451 x")};
	attempt_encode(&b, &a);
	size_t one = b.n;
	a.number = 2;
	a.warned = true;
	attempt_encode(&b, &a);
	for (size_t n = 0; n <= b.n; n++) {
		struct scan s = scan_of(str_sub(buf_str(&b), 0, n));
		unsigned seen = 0;
		struct attempt got;
		while (attempt_decode(&s, &got))
			assert_int_equal(got.number, ++seen);
		assert_int_equal(seen, n == b.n ? 2 : n >= one ? 1 : 0);
		assert_int_equal(scan_left(&s), n - (seen == 2 ? b.n : seen * one));
	}
	b.p[one + 6] ^= 1;
	struct scan s = scan_of(buf_str(&b));
	assert_true(attempt_decode(&s, &a) && !attempt_decode(&s, &a));
}

static void a_dead_destination_delays_nobody(void **state)
{
	struct bed *b = *state;
	b->with_relay = true;
	b->down = true;
	start(b);
	for (int i = 0; i < 20; i++) {
		post(b, "a@x", "ok@dead.example", "to the dead");
		post(b, "a@x", "ok@alive.example", "to the living");
	}
	drain(b);
	assert_int_equal(b->relayed, 20);
	struct queue_counts c;
	queue_counts(b->queue, &c);
	assert_int_equal(c.deferred, 20);
	assert_int_equal(b->routes, 2);
	assert_str("nobody is bothered yet", subjects(b, "a@x"), STR(""));
	stop(b);
}

static void auth_away_loses_nothing(void **state)
{
	struct bed *b = *state;
	start(b);
	b->away = true;
	post(b, "a@x", "b@x", "patience");
	usleep(50000);
	struct err err = {0};
	assert_done(queue_settle(b->queue, &err), err);
	assert_true(b->settled <= 1); /* smtp must keep it */
	b->away = false;
	drain(b);
	assert_str("b", subjects(b, "b@x"), STR("patience"));
	stop(b);
}

/* A message that cannot be planned keeps its source's records: those after it are read again at the next
 * start, and their plans must still be there, else they would be delivered once more. */
static void plans_stay_as_long_as_their_records(void **state)
{
	struct bed *b = *state;
	struct err err = {0};
	b->with_relay = true;
	start(b);
	post(b, "a@x", "stuck@never", "stuck"); /* auth never knows */
	post(b, "a@x", "ok@one.example,b@x", "after");
	for (int k = 0; k < 400 && b->relayed < 1; k++)
		usleep(5000);
	for (int life = 0; life < 3; life++) {
		assert_int_equal(b->relayed, 1);
		for (int k = 0; k < 400 && !str_eq(subjects(b, "b@x"), STR("after")); k++)
			usleep(5000);
		assert_done(queue_checkpoint(b->queue, &err), err);
		assert_done(queue_checkpoint(b->queue, &err), err);
		stop(b);
		start(b);
		queue_tick(b->queue);
		usleep(100000);
	}
	assert_int_equal(b->relayed, 1);
	assert_str("once", subjects(b, "b@x"), STR("after"));
	stop(b);
}

static void a_loop_is_caught(void **state)
{
	struct bed *b = *state;
	start(b);
	struct err err = {0};
	assert_done(submit(b, &(struct letter){"b@x", "a@x", "x\r\nDelivered-To: a@x", 0}, &err), err);
	drain(b);
	assert_str("a", subjects(b, "a@x"), STR(""));
	assert_str("b", subjects(b, "b@x"), STR("bounce"));
	stop(b);
}

static void a_letter(struct bed *b, const char *body)
{
	struct err err = {0};
	struct letter l = {"a@x", "a@x", body, 0};
	assert_done(submit(b, &l, &err), err);
}

/* A captured door tells of what is not there: what its successor accepts is delivered all the same. */
static void false_positions_hide_nothing(void **state)
{
	struct bed *b = *state;
	start(b);
	a_letter(b, "one");
	drain(b);
	queue_accepted(b->queue, STR("smtp-0"), UINT64_MAX);
	drain(b);
	a_letter(b, "two");
	drain(b);
	assert_str("after a lie", subjects(b, "a@x"), STR("one,two"));
	stop(b);
}

static void a_new_journal_is_read(void **state)
{
	struct bed *b = *state;
	struct err err = {0};
	char cmd[100];
	start(b);
	a_letter(b, "one");
	a_letter(b, "two");
	drain(b);
	assert_done(queue_checkpoint(b->queue, &err), err);
	stop(b);
	snprintf(cmd, sizeof cmd, "rm -f %s/smtp/*", b->path);
	assert_int_equal(system(cmd), 0);
	start(b);
	a_letter(b, "three");
	drain(b);
	assert_str("all", subjects(b, "a@x"), STR("one,two,three"));
	stop(b);
}

/* Killed between a DONE and the notice of it: the next life tells, and the one after it does not. */
static void a_delivery_notice_outlives_a_crash(void **state)
{
	struct bed *b = *state;
	b->deadly = "b@x";
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = {0};
		start(b);
		(void)!submit(b, &(struct letter){"b@x", "a@x", "y", NOTIFY_SUCCESS}, &err);
		for (;;)
			drain(b);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	b->deadly = NULL;
	for (int life = 0; life < 3; life++) {
		start(b);
		drain(b);
		assert_str("a", subjects(b, "a@x"), STR("y"));
		assert_str("b", subjects(b, "b@x"), STR("bounce"));
		stop(b);
	}
}

/* ---- held ------------------------------------------------------------------------------- */

static struct str control(struct bed *b, const char *verb)
{
	BUF_SCOPED request = {0};
	BUF_SCOPED reply = {0};
	buf_fmt(&request, "{\"verb\":\"queue.%s\",\"all\":true}", verb);
	queue_control(b->queue, buf_str(&request), &reply);
	return arena_str(b->arena, buf_str(&reply));
}

static void has(struct str text, const char *what)
{
	if (str_find(text, str_of(what)) == STR_NPOS)
		fail_msg("no %s in %.*s", what, STR_ARG(text));
}

/* Until the deferred mail that is due has been tried. */
static void settle_down(struct bed *b, uint64_t deferred)
{
	struct queue_counts c;
	for (int i = 0; i < 2000; i++) {
		drain(b);
		queue_counts(b->queue, &c);
		if (c.deferred == deferred)
			return;
		usleep(5000);
	}
	fail_msg("%d deferred", (int)c.deferred);
}

/* PROCESSES C6: four crashes with a message that was not planned yet. */
static void what_crashes_the_queue_is_held_whole(void **state)
{
	struct bed *b = *state;
	start(b);
	b->away = true;
	post(b, "a@x", "both@x", "good");
	post(b, "a@x", "both@x,nobody@x", "bad");
	for (int i = 0; i < 200 && b->queue->unplanned_n < 2; i++)
		usleep(5000);
	stop(b);
	b->away = false;
	b->crashes = HOLD_CRASHES;
	start(b);
	settle_down(b, 1);
	assert_str("a", subjects(b, "a@x"), STR("good"));
	for (int i = 0; i < 200 && !str_eq(subjects(b, "b@x"), STR("good,bounce")); i++)
		usleep(5000);
	assert_str("postmaster is told", subjects(b, "b@x"), STR("good,bounce"));
	has(control(b, "list"), "\"held\"");
	has(control(b, "list"), "at work in 4 crashes of the queue");
	stop(b);

	for (int again = 0; again < 2; again++) { /* the master says the same; later it is another one */
		start(b);
		settle_down(b, 1);
		has(control(b, "list"), "at work in 4 crashes of the queue");
		assert_str("a", subjects(b, "a@x"), STR("good"));
		stop(b);
		b->crashes = 0;
	}
	start(b);
	has(control(b, "release"), "\"changed\":1");
	settle_down(b, 0);
	assert_str("a", subjects(b, "a@x"), STR("good,bad,bounce")); /* nobody@x */
	assert_str("b", subjects(b, "b@x"), STR("good,bounce,bad"));
	stop(b);
	b->crashes = HOLD_CRASHES; /* what was known when it was released */
	start(b);
	drain(b);
	assert_str("a", subjects(b, "a@x"), STR("good,bad,bounce"));
	stop(b);
}

/* Its split into a file for each action is cut off: nothing was begun, all is planned anew. */
static void a_released_message_is_delivered_once(void **state)
{
	struct bed *b = *state;
	char name[64];
	struct err err = {0};
	start(b);
	b->away = true;
	post(b, "a@x", "both@x", "bad");
	for (int i = 0; i < 200 && b->queue->unplanned_n < 1; i++)
		usleep(5000);
	stop(b);
	b->crashes = HOLD_CRASHES;
	start(b);
	stop(b);
	b->away = false;
	start(b);
	settle_down(b, 1);
	assert_done(queue_settle(b->queue, &err), err);
	struct item *i;
	assert_done(spool_item(b->queue, b->queue->deferred, &i, &err), err);
	const struct action part = {
		.number = 0, .kind = ACTION_PLACE, .account = STR("a@x"), .mailbox = STR("INBOX")};
	assert_done(spool_put_aside(b->queue, i, &part, "", false, &err), err);
	arena_free(i->arena);
	stop(b);
	b->crashes = 0;
	snprintf(name, sizeof name, "deferred/%.*s-0", ID_LEN, b->last.c);
	assert_int_equal(faccessat(b->spool, name, F_OK, 0), 0);
	start(b);
	assert_int_not_equal(faccessat(b->spool, name, F_OK, 0), 0);
	control(b, "release");
	settle_down(b, 0);
	assert_str("a", subjects(b, "a@x"), STR("bad"));
	stop(b);
}

static void a_damaged_file_is_held(void **state)
{
	struct bed *b = *state;
	char name[64];
	b->over_quota_temp = true;
	for (int how = 0; how < 3; how++) {
		start(b);
		post(b, "a@x", "full@x", "waits");
		settle_down(b, 1);
		stop(b);
		snprintf(name, sizeof name, "deferred/%.*s-0", ID_LEN, b->last.c);
		FD_SCOPED fd = openat(b->spool, name, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		BUF_SCOPED whole = {0};
		struct err err = {0};
		assert_done(file_read_whole(b->spool, name, 1 << 20, &whole, &err), err);
		size_t content = str_find(buf_str(&whole), STR("Subject: waits"));
		assert_int_equal(ftruncate(fd, how == 0 ? (off_t)content : how == 1 ? 12 : 0), 0);
		b->cold = how == 2;
		start(b);
		settle_down(b, how == 0); /* the others have no head: spool/damaged */
		struct str told = STR("bounce,bounce,bounce");
		for (int i = 0; i < 400 && subjects(b, "b@x").n < (size_t)how * 7 + 6; i++)
			usleep(5000);
		assert_str("postmaster is told", subjects(b, "b@x"), str_sub(told, 0, (size_t)(how * 7 + 6)));
		if (how == 0) {
			has(control(b, "list"), "damaged: ");
			has(control(b, "remove"), "\"changed\":1");
		} else {
			snprintf(name, sizeof name, "damaged/%.*s-0", ID_LEN, b->last.c);
			assert_int_equal(faccessat(b->spool, name, F_OK, 0), 0);
		}
		stop(b);
		b->cold = false;
	}
}

/* Its checksum is right, but it is of another version: accepted, so it must not go with its segment. */
static void a_record_that_is_not_understood_is_kept(void **state)
{
	struct bed *b = *state;
	struct err err = {0};
	struct id id = id_new();
	BUF_SCOPED record = {0};
	BUF_SCOPED kept = {0};
	char name[64];
	uint64_t seq;
	start(b);
	struct envelope e = {.id = id, .origin = ENVELOPE_MX};
	message_record_head(&record, &e);
	record.p[7]++; /* the version */
	buf_add(&record, STR("Subject: later\r\n"));
	struct iovec part = {record.p, record.n};
	assert_done(journal_append_wait(b->smtp, JOURNAL_MESSAGE, &part, 1, &seq, &err), err);
	queue_accepted(b->queue, STR("smtp-0"), seq);
	post(b, "a@x", "a@x", "next");
	settle_down(b, 0);
	assert_str("a", subjects(b, "a@x"), STR("next"));
	for (int i = 0; i < 400 && !subjects(b, "b@x").n; i++)
		usleep(5000);
	assert_str("postmaster is told", subjects(b, "b@x"), STR("bounce"));
	snprintf(name, sizeof name, "damaged/%.*s.record", ID_LEN, id.c);
	assert_done(file_read_whole(b->spool, name, 1 << 20, &kept, &err), err);
	assert_str("all of it", buf_str(&kept), buf_str(&record));
	stop(b);
}

#ifdef PABAL_FAULTS
static const struct letter killed[] = {
	{"b@x", "both@x", "k1"},
	{"b@x", "a@x", "k2", NOTIFY_SUCCESS},
	{"b@x", "a@x,nobody@x", "k3"},
	{"b@x", "full@x,a@x", "k4"},
	{"a@x", "both@x", "k5"},
};
enum { KILLED = sizeof killed / sizeof killed[0] };

/* DURABILITY test 4: killed before each file operation of the queue; restarted in the same boot. */
static void killed_at_each_step(void **state)
{
	(void)state;
	bool ended = false;
	int n;
	for (n = 1; !ended && n < 400; n += n < 60 ? 1 : 7) {
		void *s;
		set_up(&s);
		struct bed *b = s;
		pid_t pid = fork();
		if (pid == 0) {
			struct err err = {0};
			char rule[40];
			start(b);
			snprintf(rule, sizeof rule, "kill:%d", n);
			for (size_t i = 0; i < KILLED; i++) {
				/* The first is planned and placed in peace: then its traces must hold. */
				if (i == 1) {
					setenv("PABAL_FAULT", rule, 1);
					file_faults_init("test");
				}
				if (!submit(b, &killed[i], &err))
					_exit(3);
				drain(b);
				if (i == 3 && !queue_settle(b->queue, &err))
					_exit(4);
			}
			stop(b);
			_exit(0);
		}
		int status;
		waitpid(pid, &status, 0);
		ended = WIFEXITED(status);
		assert_true(!ended || WEXITSTATUS(status) == 0);
		start(b);
		drain(b);
		/* What was submitted before the kill is in the smtp journal; each is there exactly once. */
		uint64_t last = journal_committed(b->smtp);
		assert_true(last >= 1);
		struct str a = subjects(b, "a@x"), bb = subjects(b, "b@x");
		const char *want_a[] = {"k1", "k1,k2", "k1,k2,k3", "k1,k2,k3,k4",
					"k1,k2,k3,k4,k5"};
		if (last <= KILLED && !str_eq(a, str_of(want_a[last - 1])))
			fail_msg("killed at %d, %d submitted: a has %.*s, b has %.*s", n, (int)last,
				 STR_ARG(a), STR_ARG(bb));
		size_t bounces = 0;
		for (struct str rest = bb; rest.p;)
			bounces += str_eq(str_cut(&rest, ','), STR("bounce"));
		if (bounces != (last < 4 ? last - 1 : 3)) /* a delivery notice and two bounces */
			fail_msg("killed at %d, %d submitted: b has %.*s", n, (int)last, STR_ARG(bb));
		stop(b);
		tear_down(&s);
	}
	assert_true(ended);
}
#endif

#ifdef PABAL_FAULTS
/* Lines of the peer's list: how many there are, and how many more than once. */
static void peer_count(struct bed *b, size_t *out_n, size_t *out_twice)
{
	BUF_SCOPED all = {0};
	struct err err = {0};
	struct map *seen = map_new();
	*out_n = *out_twice = 0;
	assert_done(file_read_whole(b->dir, "peer", 1 << 20, &all, &err), err);
	for (struct str rest = buf_str(&all); rest.p && rest.n;) {
		if (map_put(seen, str_cut(&rest, '\n'), b))
			++*out_twice;
		else
			++*out_n;
	}
	map_free(seen);
}

static void send_some(struct bed *b, int from, int to)
{
	static const struct letter sent[] = {
		{"b@x", "ok@one.example,ok2@one.example,b@x", "s1"},
		{"b@x", "ok@two.example,no@two.example,later@two.example", "s2"},
		{"b@x", "ok@three.example,no@four.example", "s3"},
		{"b@x", "ok@dead.example", "s4"},
	};
	for (int k = from; k < to; k++) {
		struct err err = {0};
		if (!submit(b, &sent[k], &err))
			_exit(3);
		drain(b);
	}
}

/* The same for sending: attempt, reply read, outcome recorded, bounce written, file in the spool shrunk,
 * moved, removed. Nothing is lost; one transaction at most, the one between the peer's 250 and our record, is
 * made twice (RFC 1047). */
static void sending_killed_at_each_step(void **state)
{
	(void)state;
	bool ended = false;
	size_t doubled = 0, lives = 0;
	for (int n = 1; !ended && n < 300; n += n < 60 ? 1 : 5) {
		void *s;
		set_up(&s);
		struct bed *b = s;
		b->with_relay = true;
		b->retry_s = 1;
		b->peer_fd = openat(b->dir, "peer", O_WRONLY | O_CREAT | O_APPEND, 0600);
		pid_t pid = fork();
		if (pid == 0) {
			struct err err = {0};
			char rule[40];
			b->down = true;
			start(b);
			send_some(b, 0, 1);
			snprintf(rule, sizeof rule, "kill:%d", n);
			setenv("PABAL_FAULT", rule, 1);
			file_faults_init("test");
			send_some(b, 1, 4);
			if (!queue_settle(b->queue, &err))
				_exit(4);
			stop(b);
			_exit(0);
		}
		int status;
		waitpid(pid, &status, 0);
		ended = WIFEXITED(status);
		assert_true(!ended || WEXITSTATUS(status) == 0);
		start(b);
		drain(b);
		uint64_t last = journal_committed(b->smtp);
		/* What waits for a dead host, or for "later", is tried when it is due. */
		size_t want[] = {0, 2, 3, 4, 5}, wanted_bounces[] = {0, 0, 1, 2, 2}, got, twice;
		for (int k = 0; k < 1000; k++) {
			peer_count(b, &got, &twice);
			if (last <= 4 && got >= want[last])
				break;
			usleep(10000);
			BUF_SCOPED reply = {0};
			if (k % 20 == 0)
				queue_control(b->queue, STR("{\"verb\":\"queue.retry\",\"all\":true}"),
					      &reply);
		}
		drain(b);
		struct str inbox = subjects(b, "b@x");
		size_t bounces = 0, own = 0;
		for (struct str rest = inbox; rest.p;) {
			struct str one = str_cut(&rest, ',');
			bounces += str_eq(one, STR("bounce"));
			own += str_eq(one, STR("s1"));
		}
		if (last > 4 || got != want[last] || twice > 2 || bounces != wanted_bounces[last] || own != 1)
			fail_msg("killed at %d, %d submitted: %zu taken, %zu twice, inbox %.*s", n, (int)last,
				 got, twice, STR_ARG(inbox));
		doubled += twice > 0;
		lives++;
		stop(b);
		close(b->peer_fd);
		tear_down(&s);
	}
	print_message("%zu of %zu kills sent a message twice\n", doubled, lives);
	assert_true(ended);
}
#endif

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(each_recipient_gets_one_copy),
		T(failures_are_reported_to_the_sender),
		T(notify_is_obeyed),
		T(over_quota_bounces_or_waits),
		T(remote_recipients_wait_in_the_spool),
		T(remote_recipients_are_relayed),
		T(attempts_end_where_they_are_torn),
		T(a_dead_destination_delays_nobody),
		T(auth_away_loses_nothing),
		T(plans_stay_as_long_as_their_records),
		T(a_loop_is_caught),
		T(false_positions_hide_nothing),
		T(a_new_journal_is_read),
		T(a_delivery_notice_outlives_a_crash),
		T(what_crashes_the_queue_is_held_whole),
		T(a_released_message_is_delivered_once),
		T(a_damaged_file_is_held),
		T(a_record_that_is_not_understood_is_kept),
#ifdef PABAL_FAULTS
		cmocka_unit_test(killed_at_each_step),
		cmocka_unit_test(sending_killed_at_each_step),
#endif
	};
	return RUN_TESTS(tests);
}
