/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Two ends in one process; also run under TSan. */
#include "ipc/channel.h"
#include "base/clock.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct channel *open_end(enum channel_kind kind, enum channel_side side, int fd)
{
	struct channel *ch;
	struct err err;

	assert_true(channel_new(kind, side, fd, &ch, &err));
	return ch;
}

static void start(struct channel *ch)
{
	struct err err;
	assert_true(channel_start(ch, &err));
}

static void pair(int fds[2])
{
	struct err err;
	assert_true(channel_pair(fds, &err));
}

static void wait_for(atomic_int *v, int least)
{
	for (int64_t end = clock_mono_ms() + 10000; atomic_load(v) < least;) {
		assert_true(clock_mono_ms() < end);
		sched_yield();
	}
}

static struct message lookup(const char *address)
{
	return (struct message){.type = MSG_rcpt_lookup, .rcpt_lookup.address = str_of(address)};
}

/* Answers look-ups at once: the canonical form is the address in lower case. */
static atomic_int asked;
static void echo(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	ARENA_SCOPED a = arena_new();
	struct message r = {.type = MSG_rcpt_lookup_result};

	(void)ctx;
	atomic_fetch_add(&asked, 1);
	assert_int_equal(m->type, MSG_rcpt_lookup);
	r.rcpt_lookup_result.code = 1;
	r.rcpt_lookup_result.canonical = arena_lower(a, m->rcpt_lookup.address);
	assert_true(channel_reply(ch, id, &r));
}

static bool ask(struct channel *ch, const char *address, int64_t ms, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct message q = lookup(address), r;

	if (!channel_call(ch, &q, ms, a, &r, err))
		return false;
	assert_int_equal(r.type, MSG_rcpt_lookup_result);
	assert_true(str_eq_nocase(r.rcpt_lookup_result.canonical, str_of(address)));
	return true;
}

static void call_and_answer(void **state)
{
	int fds[2];
	struct err err = {0};

	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, echo, NULL);
	start(client);
	start(server);
	for (int i = 0; i < 1000; i++)
		assert_true(ask(client, "Somebody@Example.ORG", 5000, &err));
	channel_free(client);
	channel_free(server);
}

static void *many_asks(void *ctx)
{
	struct err err = {0};

	for (int i = 0; i < 200; i++) {
		char address[40];
		snprintf(address, sizeof(address), "u%d@example.org", i);
		assert_true(ask(ctx, address, 10000, &err));
	}
	return NULL;
}

static void many_threads(void **state)
{
	int fds[2];
	pthread_t t[16];

	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, echo, NULL);
	start(client);
	start(server);
	for (int i = 0; i < 16; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_asks, client), 0);
	for (int i = 0; i < 16; i++)
		pthread_join(t[i], NULL);
	channel_free(client);
	channel_free(server);
}

/* Keeps the requests, for answers later and in another order. */
static uint64_t kept[8192];
static atomic_int kept_n;
static void keep(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	kept[atomic_load(&kept_n)] = id;
	atomic_fetch_add(&kept_n, 1);
}

static atomic_int answered, failed;
static void count_answer(void *ctx, struct message *reply, const struct err *err)
{
	(void)ctx;
	if (reply) {
		assert_int_equal(err->kind, ERR_NONE);
		atomic_fetch_add(&answered, 1);
	} else {
		assert_int_not_equal(err->kind, ERR_NONE);
		atomic_fetch_add(&failed, 1);
	}
}

static void reset(void)
{
	atomic_store(&kept_n, 0);
	atomic_store(&answered, 0);
	atomic_store(&failed, 0);
	atomic_store(&asked, 0);
}

static void credit(void **state)
{
	int fds[2];
	struct err err = {0};
	struct message q = lookup("a@b"), r = {.type = MSG_rcpt_lookup_result};

	reset();
	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	start(client);
	start(server);
	for (int i = 0; i < CHANNEL_CREDIT; i++)
		assert_true(channel_call_async(client, &q, 60000, count_answer, NULL, &err));
	assert_false(ask(client, "a@b", 20, &err)); /* waits for credit, in vain */
	assert_int_equal(err.kind, ERR_LIMIT);
	wait_for(&kept_n, CHANNEL_CREDIT);
	for (int i = CHANNEL_CREDIT; i-- > 0;)
		assert_true(channel_reply(server, kept[i], &r));
	assert_false(channel_reply(server, kept[0], &r)); /* a second answer goes nowhere */
	wait_for(&answered, CHANNEL_CREDIT);
	assert_int_equal(atomic_load(&failed), 0);
	channel_free(client);
	channel_free(server);
}

/* Calls beyond the credit go out, in order, as answers come. */
static void beyond_the_credit(void **state)
{
	enum { MANY = 2000 };
	int fds[2];
	struct err err = {0};
	struct message q = lookup("a@b"), r = {.type = MSG_rcpt_lookup_result};

	reset();
	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	start(client);
	start(server);
	for (int i = 0; i < MANY; i++)
		assert_true(channel_call_async(client, &q, 60000, count_answer, NULL, &err));
	for (int i = 0; i < MANY; i++) {
		wait_for(&kept_n, i + 1);
		assert_true(atomic_load(&kept_n) <= i + CHANNEL_CREDIT);
		assert_true(channel_reply(server, kept[i], &r));
	}
	wait_for(&answered, MANY);
	/* Waiting ones have a deadline too, and an end. */
	for (int i = 0; i < CHANNEL_CREDIT; i++)
		assert_true(channel_call_async(client, &q, 60000, count_answer, NULL, &err));
	assert_true(channel_call_async(client, &q, 30, count_answer, NULL, &err));
	wait_for(&failed, 1);
	assert_true(channel_call_async(client, &q, 60000, count_answer, NULL, &err));
	channel_free(client);
	assert_int_equal(atomic_load(&failed), 1 + CHANNEL_CREDIT + 1);
	channel_free(server);
}

static void waiting_is_bounded(void **state)
{
	struct err err = {0};
	struct message q = lookup("a@b");
	int n = 0;

	reset();
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, -1);
	while (channel_call_async(client, &q, 60000, count_answer, NULL, &err))
		n++;
	assert_int_equal(n, CHANNEL_CREDIT + CHANNEL_WAITING_MAX);
	assert_int_equal(err.kind, ERR_LIMIT);
	channel_free(client);
	assert_int_equal(atomic_load(&failed), n);
}

static void no_answer(void **state)
{
	int fds[2];
	struct err err = {0};
	struct message q = lookup("a@b"), r = {.type = MSG_rcpt_lookup_result};

	reset();
	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	start(client);
	start(server);
	assert_true(channel_call_async(client, &q, 30, count_answer, NULL, &err));
	assert_false(ask(client, "a@b", 30, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	wait_for(&failed, 1);
	wait_for(&kept_n, 2);
	channel_reply(server, kept[0], &r); /* too late: dropped */
	channel_reply(server, kept[1], &r);
	channel_free(client);
	channel_free(server);
	assert_int_equal(atomic_load(&answered), 0);
}

static void take(void *ctx, struct channel *ch, uint64_t id, struct message *msg)
{
	(void)ch;
	assert_int_equal(id, 0);
	assert_int_equal(msg->role_listener.index, 3);
	atomic_store((atomic_int *)ctx, msg->role_listener.socket);
	msg->role_listener.socket = -1;
}

static void descriptors(void **state)
{
	int fds[2], pipes[2];

	assert_int_equal(pipe(pipes), 0);
	pair(fds);
	struct channel *server = open_end(CHANNEL_MASTER, CHANNEL_SERVER, fds[1]);
	struct channel *client = open_end(CHANNEL_MASTER, CHANNEL_CLIENT, fds[0]);
	struct message m = {.type = MSG_role_listener,
			    .role_listener = {.name = STR("listener"), .index = 3, .socket = pipes[1]}};
	assert_true(channel_post(server, &m));
	close(pipes[1]);
	/* the handler takes it, or it is closed */
	static atomic_int taken;
	atomic_store(&taken, -1);
	channel_handle(client, take, &taken);
	assert_true(channel_pump(client));
	assert_int_equal(write(atomic_load(&taken), "x", 1), 1);
	close(atomic_load(&taken));
	char c[2];
	assert_int_equal(read(pipes[0], c, 2), 1);
	assert_int_equal(read(pipes[0], c, 2), 0); /* nobody else holds it */
	close(pipes[0]);
	channel_free(client);
	channel_free(server);
}

/* Raw bytes that cost the sender its channel, and only that. */
static void send_raw(int fd, const void *p, size_t n, int nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)p, n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (nfds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		for (int i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &(int){1}, sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), n);
}

static void hostile_senders(void **state)
{
	BUF_SCOPED good = {0};
	struct message q = lookup("a@b"), reply = {.type = MSG_rcpt_lookup_result},
		       other = {.type = MSG_sign};
	int none[MESSAGE_FDS_MAX], nfds;
	BUF_SCOPED wrong_way = {0};
	BUF_SCOPED wrong_kind = {0};
	static char huge[CHANNEL_MESSAGE_MAX + 100];

	buf_le64(&good, 7);
	assert_true(message_encode(&q, &good, none, &nfds));
	buf_le64(&wrong_way, 7);
	assert_true(message_encode(&reply, &wrong_way, none, &nfds));
	buf_le64(&wrong_kind, 7);
	assert_true(message_encode(&other, &wrong_kind, none, &nfds));
	const struct {
		struct str bytes;
		int fds;
	} cases[] = {
		{STR("x"), 0},
		{STR("12345678"), 0},
		{STR("12345678\xff\xff"), 0},
		{{good.p, good.n - 1}, 0},
		{buf_str(&good), 1},
		{buf_str(&good), 8},
		{buf_str(&wrong_way), 0},
		{buf_str(&wrong_kind), 0},
		{{huge, sizeof(huge)}, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fds[2], before = dup(1);
		close(before);
		pair(fds);
		struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
		reset();
		channel_handle(server, echo, NULL);
		send_raw(fds[0], cases[i].bytes.p, cases[i].bytes.n, cases[i].fds);
		assert_false(channel_pump(server));
		assert_false(channel_alive(server));
		assert_int_equal(atomic_load(&asked), 0);
		channel_free(server);
		close(fds[0]);
		int after = dup(1); /* no descriptor stayed behind */
		assert_int_equal(after, before);
		close(after);
	}
}

static void too_many_requests(void **state)
{
	int fds[2];
	BUF_SCOPED one = {0};
	int none[MESSAGE_FDS_MAX], nfds;
	struct message q = lookup("a@b");

	reset();
	pair(fds);
	fcntl(fds[0], F_SETFL, 0);
	int size = 1 << 20;
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	buf_le64(&one, 1);
	assert_true(message_encode(&q, &one, none, &nfds));
	for (int i = 0; i < CHANNEL_CREDIT; i++) {
		send_raw(fds[0], one.p, one.n, 0);
		assert_true(channel_pump(server));
	}
	send_raw(fds[0], one.p, one.n, 0);
	assert_false(channel_pump(server));
	assert_int_equal(atomic_load(&kept_n), CHANNEL_CREDIT);
	channel_free(server);
	close(fds[0]);
}

static atomic_int losses;
static void lost(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	atomic_fetch_add(&losses, 1);
}

/* Repeatable calls go out again on the new descriptor; others fail at once. */
static void death_and_replacement(void **state)
{
	int fds[2];
	struct err err = {0};
	struct message q = lookup("a@b");

	reset();
	atomic_store(&losses, 0);
	pair(fds);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	channel_on_lost(client, lost, NULL);
	start(client);
	start(server);
	assert_true(channel_call_async(client, &q, 20000, count_answer, NULL, &err));
	wait_for(&kept_n, 1);
	channel_free(server);
	wait_for(&losses, 1);
	assert_true(channel_call_async(client, &q, 20000, count_answer, NULL, &err)); /* waits */
	pair(fds);
	server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, echo, NULL);
	start(server);
	channel_replace(client, fds[0]);
	wait_for(&answered, 2);
	assert_int_equal(atomic_load(&asked), 2);
	assert_int_equal(atomic_load(&failed), 0);
	channel_free(client);
	channel_free(server);
}

static void unrepeatable_fails(void **state)
{
	int fds[2];
	struct err err = {0};
	struct message step = {.type = MSG_auth_step, .auth_step.attempt = 1};

	reset();
	pair(fds);
	struct channel *client = open_end(CHANNEL_LOGIN, CHANNEL_CLIENT, fds[0]);
	start(client);
	assert_true(channel_call_async(client, &step, 20000, count_answer, NULL, &err));
	close(fds[1]);
	wait_for(&failed, 1);
	while (channel_alive(client))
		sched_yield();
	assert_false(channel_call_async(client, &step, 20000, count_answer, NULL, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	channel_free(client);
}

/* The former client's answers do not reach the new one. */
static void answers_to_the_dead(void **state)
{
	int fds[2];
	struct err err = {0};
	struct message q = lookup("a@b"), r = {.type = MSG_rcpt_lookup_result};

	reset();
	pair(fds);
	struct channel *server = open_end(CHANNEL_LOOKUP, CHANNEL_SERVER, fds[1]);
	channel_handle(server, keep, NULL);
	start(server);
	struct channel *client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	start(client);
	assert_true(channel_call_async(client, &q, 20000, count_answer, NULL, &err));
	wait_for(&kept_n, 1);
	channel_free(client);
	wait_for(&failed, 1);
	pair(fds);
	channel_replace(server, fds[1]);
	client = open_end(CHANNEL_LOOKUP, CHANNEL_CLIENT, fds[0]);
	start(client);
	assert_true(channel_call_async(client, &q, 20000, count_answer, NULL, &err));
	wait_for(&kept_n, 2);
	assert_false(channel_reply(server, kept[0], &r));
	assert_true(channel_reply(server, kept[1], &r));
	wait_for(&answered, 1);
	channel_free(client);
	channel_free(server);
}

/* A slow reader: what the socket does not take is kept, then sent in order. */
static atomic_int seen;
static void in_order(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	(void)ctx;
	(void)ch;
	(void)id;
	assert_int_equal(m->accepted.seq, atomic_fetch_add(&seen, 1));
}

static void slow_reader(void **state)
{
	int fds[2];
	int posted = 0;

	atomic_store(&seen, 0);
	pair(fds);
	struct channel *client = open_end(CHANNEL_ACCEPTED, CHANNEL_CLIENT, fds[0]);
	struct channel *server = open_end(CHANNEL_ACCEPTED, CHANNEL_SERVER, fds[1]);
	start(client);
	for (;; posted++) {
		struct message m = {.type = MSG_accepted, .accepted.seq = (uint64_t)posted};
		if (!channel_post(client, &m))
			break;
	}
	assert_true(posted >= CHANNEL_POSTS_MAX);
	channel_handle(server, in_order, NULL);
	start(server);
	wait_for(&seen, posted);
	channel_free(client);
	channel_free(server);
}

static void sealed_files(void **state)
{
	BUF_SCOPED out = {0};
	struct err err;
	int fd = sealed_make("x", STR("hello"));

	assert_true(fd >= 0);
	assert_true(write(fd, "y", 1) < 0);
	assert_true(sealed_read(fd, 5, &out, &err));
	assert_true(str_eq(buf_str(&out), STR("hello")));
	assert_false(sealed_read(sealed_make("x", STR("hello")), 4, &out, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_false(sealed_read(memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING), 4, &out, &err));
	assert_int_equal(err.kind, ERR_SYNTAX);
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	assert_false(sealed_read(pipes[0], 4, &out, &err));
	close(pipes[1]);
	assert_false(sealed_read(-1, 4, &out, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_and_answer),     cmocka_unit_test(many_threads),
		cmocka_unit_test(beyond_the_credit),   cmocka_unit_test(waiting_is_bounded),
		cmocka_unit_test(credit),              cmocka_unit_test(no_answer),
		cmocka_unit_test(descriptors),         cmocka_unit_test(hostile_senders),
		cmocka_unit_test(too_many_requests),   cmocka_unit_test(death_and_replacement),
		cmocka_unit_test(unrepeatable_fails),  cmocka_unit_test(answers_to_the_dead),
		cmocka_unit_test(slow_reader),         cmocka_unit_test(sealed_files),
	};
	return cmocka_run_group_tests_name("ipc/channel", tests, NULL, NULL);
}
