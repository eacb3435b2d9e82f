/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * ipc/channel.c: a packet is an id (u64) and one encoded message; ids belong to the side that asked.
 *
 * Client: a slot per call under way; its id is serial * CREDIT + slot, so an answer finds its call
 * without searching, and a late one finds nothing. Server: a slot per request under way, likewise:
 * handlers hold an id of ours, not the wire's, so an answer after channel_replace goes nowhere.
 * Sending is tried at once; what the socket does not take waits in a list that the reader thread
 * sends. Only the reader (or channel_pump) closes or swaps the descriptor.
 */
#include "ipc/channel.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 8, PACKET_MAX = HEADER + CHANNEL_MESSAGE_MAX, READER_STACK = 512 * 1024 };

struct packet { /* one that the socket did not take */
	struct packet *next;
	int fds[MESSAGE_FDS_MAX]; /* duplicates, ours */
	int nfds;
	size_t n;
	char p[];
};

struct call {
	uint64_t id; /* 0: free */
	enum message_type request;
	int64_t deadline_us;
	bool sent, repeated;
	struct buf bytes; /* repeatable ones keep theirs */
	/* a waiting thread */
	struct cond *cond;
	bool done;
	struct arena *arena;
	struct message *reply;
	struct err *err; /* kind ERR_NONE: answered */
	/* or a callback */
	channel_answer *fn;
	void *ctx;
};

struct waiting { /* an asynchronous call beyond the credit; not sent yet */
	struct waiting *next;
	enum message_type request;
	int64_t deadline_us;
	channel_answer *fn;
	void *ctx;
	struct buf bytes;
	int fds[MESSAGE_FDS_MAX]; /* duplicates, ours */
	int nfds;
};

struct served {
	uint64_t wire_id, handle; /* handle 0: free */
	enum message_type request;
};

struct channel {
	enum channel_kind kind;
	enum channel_side side;
	struct lock lock;
	/* guarded by lock */
	int fd, next_fd; /* next_fd -1: none */
	bool stop;
	struct call calls[CHANNEL_CREDIT];
	struct served served[CHANNEL_CREDIT];
	unsigned calls_n, served_n, asyncs;
	uint64_t call_serial, served_serial;
	unsigned slot_waiters;
	struct waiting *waiting_first, **waiting_last;
	unsigned waiting_n;
	struct cond slot_free;
	struct packet *out_first, **out_last;
	unsigned out_n;
	int64_t next_deadline_us; /* of callbacks; lower bound */

	int wake; /* eventfd */
	bool started;
	pthread_t thread;
	channel_handler *handler;
	void *handler_ctx;
	void (*lost)(void *ctx, struct channel *ch);
	void *lost_ctx;
	/* the reader's own */
	struct arena *arena;
	char *in;
};

/* ---- small helpers ---------------------------------------------------------------------- */

static void close_fd(int *fd)
{
	fd_close(fd);
}

static void wake_reader(struct channel *ch)
{
	uint64_t one = 1;

	if (ch->started && write(ch->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event(LOG_ERROR, "ipc.wake.failed", K_CSTR(channel, channel_kind_name(ch->kind)),
			  K_INT(errno, errno));
}

static void packet_free(struct packet *p)
{
	for (int i = 0; i < p->nfds; i++)
		close(p->fds[i]);
	free(p);
}

static void drop_output(struct channel *ch)
{
	lock_held(&ch->lock);
	while (ch->out_first) {
		struct packet *p = ch->out_first;
		ch->out_first = p->next;
		packet_free(p);
	}
	ch->out_last = &ch->out_first;
	ch->out_n = 0;
}

/* ---- sending ---------------------------------------------------------------------------- */

/* 1 sent, 0 the socket is full, -1 the other side is gone. */
static int send_now(int fd, const char *p, size_t n, const int fds[], int nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)p, n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	while (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		/* ETOOMANYREFS: too many descriptors in flight for this user; they will arrive. */
		if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
			return 0;
		return -1;
	}
	return 1;
}

static bool keep_packet(struct channel *ch, const char *p, size_t n, const int fds[], int nfds)
{
	struct packet *k = mem_alloc(sizeof(*k) + n);

	*k = (struct packet){.n = n};
	memcpy(k->p, p, n);
	for (int i = 0; i < nfds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (fd < 0) {
			packet_free(k);
			return false;
		}
		k->fds[k->nfds++] = fd;
	}
	*ch->out_last = k;
	ch->out_last = &k->next;
	ch->out_n++;
	wake_reader(ch);
	return true;
}

/* Now, or kept for the reader. False: gone, or (limited) too much waits already. */
static bool send_or_keep(struct channel *ch, const char *p, size_t n, const int fds[], int nfds, bool limited)
{
	lock_held(&ch->lock);
	if (ch->fd < 0)
		return false;
	if (!ch->out_first) {
		int sent = send_now(ch->fd, p, n, fds, nfds);
		if (sent)
			return sent > 0;
	}
	if (limited && ch->out_n >= CHANNEL_POSTS_MAX)
		return false;
	return keep_packet(ch, p, n, fds, nfds);
}

static void flush_output(struct channel *ch)
{
	lock_held(&ch->lock);
	while (ch->out_first && ch->fd >= 0) {
		struct packet *p = ch->out_first;
		int sent = send_now(ch->fd, p->p, p->n, p->fds, p->nfds);
		if (sent == 0)
			return;
		if (sent < 0) { /* the reader will see the end of file */
			drop_output(ch);
			return;
		}
		ch->out_first = p->next;
		if (!ch->out_first)
			ch->out_last = &ch->out_first;
		ch->out_n--;
		packet_free(p);
	}
}

/* An id and the message. False: it does not fit its row, which is a bug of ours. */
static bool pack(struct buf *out, uint64_t id, const struct message *m, int fds[], int *nfds)
{
	buf_le64(out, id);
	if (message_encode(m, out, fds, nfds) && out->n <= PACKET_MAX)
		return true;
	log_event(LOG_ERROR, "ipc.encode.refused", K_CSTR(command, message_name(m->type)),
		  K_INT(size, out->n));
	return false;
}

static bool send_message(struct channel *ch, uint64_t id, const struct message *m, bool limited)
{
	BUF_SCOPED out = {0};
	int fds[MESSAGE_FDS_MAX], nfds = 0;

	if (!pack(&out, id, m, fds, &nfds))
		return false;
	LOCK_SCOPED(&ch->lock);
	return send_or_keep(ch, out.p, out.n, fds, nfds, limited);
}

bool channel_post(struct channel *ch, const struct message *msg)
{
	assert(message_dir(msg->type) == POST);
	assert(message_legal(ch->kind, msg->type, ch->side == CHANNEL_CLIENT));
	return send_message(ch, 0, msg, true);
}

bool channel_reply(struct channel *ch, uint64_t id, const struct message *msg)
{
	BUF_SCOPED out = {0};
	int fds[MESSAGE_FDS_MAX], nfds = 0;

	if (!pack(&out, 0, msg, fds, &nfds))
		return false;
	LOCK_SCOPED(&ch->lock);
	struct served *s = &ch->served[id % CHANNEL_CREDIT];
	if (id == 0 || s->handle != id)
		return false;
	assert(msg->type == message_reply(s->request));
	for (size_t i = 0; i < HEADER; i++)
		out.p[i] = (char)(s->wire_id >> (8 * i));
	s->handle = 0;
	ch->served_n--;
	return send_or_keep(ch, out.p, out.n, fds, nfds, false);
}

/* ---- calls ------------------------------------------------------------------------------ */

static void free_call(struct channel *ch, struct call *c)
{
	lock_held(&ch->lock);
	buf_free(&c->bytes);
	if (c->fn)
		ch->asyncs--;
	*c = (struct call){0};
	ch->calls_n--;
	if (ch->slot_waiters)
		cond_signal(&ch->slot_free);
	else if (ch->waiting_first)
		wake_reader(ch); /* feed_waiting */
}

static struct call *take_slot(struct channel *ch)
{
	lock_held(&ch->lock);
	if (ch->calls_n == CHANNEL_CREDIT)
		return NULL;
	for (;;) { /* ends: one is free */
		uint64_t id = ++ch->call_serial;
		struct call *c = &ch->calls[id % CHANNEL_CREDIT];
		if (c->id == 0 && id) {
			c->id = id;
			ch->calls_n++;
			return c;
		}
	}
}

static bool dead(const struct channel *ch, struct err *err)
{
	return err_set(err, ERR_TEMP, "service not available") ||
	       err_cause(err, "channel %s: the other process is gone", channel_kind_name(ch->kind));
}

/* Sends a call whose slot is filled; frees the slot when that fails for good. */
static bool send_call(struct channel *ch, struct call *c, struct buf *out, const int fds[], int nfds,
		      struct err *err)
{
	lock_held(&ch->lock);
	bool repeatable = message_repeatable(c->request);

	assert(!repeatable || nfds == 0);
	for (size_t i = 0; i < HEADER; i++)
		out->p[i] = (char)(c->id >> (8 * i));
	c->sent = send_or_keep(ch, out->p, out->n, fds, nfds, false);
	if (!c->sent && !repeatable) {
		free_call(ch, c);
		return dead(ch, err);
	}
	if (repeatable) {
		c->bytes = *out;
		*out = (struct buf){0};
	}
	return true;
}

static bool check_request(struct channel *ch, const struct message *req, struct buf *out, int fds[],
			  int *nfds, struct err *err)
{
	assert(message_dir(req->type) == REQUEST);
	assert(message_legal(ch->kind, req->type, ch->side == CHANNEL_CLIENT));
	if (!pack(out, 0, req, fds, nfds))
		return err_set(err, ERR_LIMIT, "value too long");
	return true;
}

static struct call *wait_slot(struct channel *ch, int64_t deadline_us)
{
	struct call *c;

	while (!(c = take_slot(ch))) {
		ch->slot_waiters++;
		bool more = cond_wait_until(&ch->slot_free, &ch->lock, deadline_us);
		ch->slot_waiters--;
		if (!more)
			return take_slot(ch);
	}
	return c;
}

bool channel_call(struct channel *ch, const struct message *req, int64_t ms, struct arena *a,
		  struct message *out_reply, struct err *err)
{
	BUF_SCOPED out = {0};
	int fds[MESSAGE_FDS_MAX], nfds = 0;
	int64_t deadline = clock_mono_us() + ms * 1000;
	struct err failed = {0};
	struct cond cond;
	bool answered = false;

	if (!check_request(ch, req, &out, fds, &nfds, err))
		return false;
	cond_init(&cond);
	lock_take(&ch->lock);
	struct call *c = ch->stop ? NULL : wait_slot(ch, deadline);
	if (!c) {
		err_set(err, ERR_LIMIT, "too busy");
		goto end;
	}
	c->request = req->type;
	c->deadline_us = deadline;
	c->cond = &cond;
	c->arena = a;
	c->reply = out_reply;
	c->err = &failed;
	if (!send_call(ch, c, &out, fds, nfds, err))
		goto end;
	while (!c->done)
		if (!cond_wait_until(&cond, &ch->lock, deadline) && !c->done) {
			err_set(&failed, ERR_TEMP, "service does not answer");
			err_cause(&failed, "channel %s: no answer to %s within %d ms",
				  channel_kind_name(ch->kind), message_name(req->type), (int)ms);
			break;
		}
	free_call(ch, c);
	answered = failed.kind == ERR_NONE;
	if (!answered)
		*err = failed;
end:
	lock_drop(&ch->lock);
	cond_fini(&cond);
	return answered;
}

static void fill_async(struct channel *ch, struct call *c, enum message_type request, int64_t deadline_us,
		       channel_answer *fn, void *ctx)
{
	lock_held(&ch->lock);
	c->request = request;
	c->deadline_us = deadline_us;
	c->fn = fn;
	c->ctx = ctx;
	ch->asyncs++;
}

static void waiting_free(struct waiting *w)
{
	for (int i = 0; i < w->nfds; i++)
		close(w->fds[i]);
	buf_free(&w->bytes);
	free(w);
}

/* Takes the bytes on success. */
static bool keep_waiting(struct channel *ch, const struct waiting *call, const int fds[], int nfds,
			 struct err *err)
{
	lock_held(&ch->lock);
	if (ch->waiting_n >= CHANNEL_WAITING_MAX)
		return err_set(err, ERR_LIMIT, "too busy");
	struct waiting *w = mem_alloc(sizeof(*w));
	*w = *call;
	w->next = NULL;
	w->nfds = 0;
	for (int i = 0; i < nfds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (fd < 0) {
			w->bytes = (struct buf){0};
			waiting_free(w);
			return err_sys(err, "dup");
		}
		w->fds[w->nfds++] = fd;
	}
	*ch->waiting_last = w;
	ch->waiting_last = &w->next;
	ch->waiting_n++;
	return true;
}

static struct waiting *pop_waiting(struct channel *ch)
{
	lock_held(&ch->lock);
	struct waiting *w = ch->waiting_first;

	ch->waiting_first = w->next;
	if (!ch->waiting_first)
		ch->waiting_last = &ch->waiting_first;
	ch->waiting_n--;
	return w;
}

bool channel_call_async(struct channel *ch, const struct message *req, int64_t ms, channel_answer *fn,
			void *ctx, struct err *err)
{
	BUF_SCOPED out = {0};
	int fds[MESSAGE_FDS_MAX], nfds = 0;
	int64_t deadline = clock_mono_us() + ms * 1000;

	if (!check_request(ch, req, &out, fds, &nfds, err))
		return false;
	LOCK_SCOPED(&ch->lock);
	if (ch->stop)
		return err_set(err, ERR_GONE, "shutting down");
	struct call *c = ch->waiting_first ? NULL : take_slot(ch);
	if (!c) {
		struct waiting w = {.request = req->type,
				    .deadline_us = deadline,
				    .fn = fn,
				    .ctx = ctx,
				    .bytes = out};
		if (!keep_waiting(ch, &w, fds, nfds, err))
			return false;
		out = (struct buf){0};
	} else {
		fill_async(ch, c, req->type, deadline, fn, ctx);
		if (!send_call(ch, c, &out, fds, nfds, err))
			return false;
	}
	if (deadline < ch->next_deadline_us) {
		ch->next_deadline_us = deadline;
		wake_reader(ch);
	}
	return true;
}

/* Ends a call: wakes its thread, or moves its callback to the list that runs without the lock. */
struct ended {
	channel_answer *fn;
	void *ctx;
};
static void end_call(struct channel *ch, struct call *c, struct ended list[], unsigned *n,
		     const struct err *why)
{
	lock_held(&ch->lock);
	if (c->fn) {
		list[(*n)++] = (struct ended){c->fn, c->ctx};
		free_call(ch, c);
		return;
	}
	if (c->done)
		return;
	*c->err = *why;
	c->done = true;
	cond_signal(c->cond);
}

static void run_ended(const struct ended list[], unsigned n, const struct err *why)
{
	for (unsigned i = 0; i < n; i++)
		list[i].fn(list[i].ctx, NULL, why);
}

/* Waiting calls take the slots that have become free, or give up when their time is over. */
static void feed_waiting(struct channel *ch)
{
	lock_take(&ch->lock);
	while (ch->waiting_first) {
		struct waiting *w = ch->waiting_first;
		bool late = w->deadline_us <= clock_mono_us();
		struct call *c = late || ch->fd < 0 ? NULL : take_slot(ch);
		struct err err = {0};
		if (!late && !c)
			break;
		(void)pop_waiting(ch);
		bool sent = false;
		if (late) {
			err_set(&err, ERR_TEMP, "too busy");
		} else {
			fill_async(ch, c, w->request, w->deadline_us, w->fn, w->ctx);
			sent = send_call(ch, c, &w->bytes, w->fds, w->nfds, &err);
		}
		if (!sent) {
			lock_drop(&ch->lock);
			w->fn(w->ctx, NULL, &err);
			lock_take(&ch->lock);
		}
		waiting_free(w);
	}
	lock_drop(&ch->lock);
}

static void drop_waiting(struct channel *ch, const struct err *why)
{
	for (;;) {
		lock_take(&ch->lock);
		struct waiting *w = ch->waiting_first ? pop_waiting(ch) : NULL;
		lock_drop(&ch->lock);
		if (!w)
			return;
		w->fn(w->ctx, NULL, why);
		waiting_free(w);
	}
}

/* ---- losing and replacing the other side -------------------------------------------------- */

/* Calls that cannot be asked once more fail; the others wait for the next descriptor. */
static void fail_calls(struct channel *ch, bool all, struct ended list[], unsigned *n, const struct err *why)
{
	lock_held(&ch->lock);
	for (struct call *c = ch->calls; c < ch->calls + CHANNEL_CREDIT; c++) {
		if (c->id == 0 || (c->cond && c->done))
			continue;
		if (!all && message_repeatable(c->request) && !(c->sent && c->repeated))
			c->sent = false;
		else
			end_call(ch, c, list, n, why);
	}
}

static void lose(struct channel *ch)
{
	struct ended list[CHANNEL_CREDIT];
	struct err why = {0};
	unsigned n = 0;

	(void)!dead(ch, &why);
	lock_take(&ch->lock);
	bool was_open = ch->fd >= 0;
	if (was_open)
		close(ch->fd);
	ch->fd = -1;
	drop_output(ch);
	memset(ch->served, 0, sizeof(ch->served));
	ch->served_n = 0;
	fail_calls(ch, false, list, &n, &why);
	lock_drop(&ch->lock);
	run_ended(list, n, &why);
	if (was_open && ch->lost)
		ch->lost(ch->lost_ctx, ch);
}

static void adopt_next(struct channel *ch)
{
	lock_take(&ch->lock);
	int fd = ch->next_fd;
	ch->next_fd = -1;
	lock_drop(&ch->lock);
	if (fd < 0)
		return;
	lose(ch);
	LOCK_SCOPED(&ch->lock);
	ch->fd = fd;
	for (struct call *c = ch->calls; c < ch->calls + CHANNEL_CREDIT; c++) {
		if (c->id == 0 || c->sent || (c->cond && c->done))
			continue;
		c->sent = send_or_keep(ch, c->bytes.p, c->bytes.n, NULL, 0, false);
		c->repeated = true;
	}
}

void channel_replace(struct channel *ch, int fd)
{
	lock_take(&ch->lock);
	if (ch->next_fd >= 0)
		close(ch->next_fd);
	ch->next_fd = fd;
	wake_reader(ch);
	lock_drop(&ch->lock);
	if (!ch->started)
		adopt_next(ch);
}

static void expire_calls(struct channel *ch)
{
	struct ended list[CHANNEL_CREDIT];
	struct err why = {0};
	unsigned n = 0;
	int64_t now = clock_mono_us();

	lock_take(&ch->lock);
	bool none = ch->asyncs == 0 && !ch->waiting_first;
	if (ch->next_deadline_us > now || none) {
		if (none)
			ch->next_deadline_us = INT64_MAX;
		lock_drop(&ch->lock);
		return;
	}
	err_set(&why, ERR_TEMP, "service does not answer");
	ch->next_deadline_us = ch->waiting_first ? ch->waiting_first->deadline_us : INT64_MAX;
	for (struct call *c = ch->calls; c < ch->calls + CHANNEL_CREDIT; c++) {
		if (c->id == 0 || !c->fn)
			continue;
		if (c->deadline_us <= now)
			end_call(ch, c, list, &n, &why);
		else if (c->deadline_us < ch->next_deadline_us)
			ch->next_deadline_us = c->deadline_us;
	}
	lock_drop(&ch->lock);
	run_ended(list, n, &why);
}

/* ---- receiving -------------------------------------------------------------------------- */

static bool bad(struct channel *ch, const char *why)
{
	log_event(LOG_ERROR, "ipc.channel.bad", K_CSTR(channel, channel_kind_name(ch->kind)),
		  K_CSTR(why, why));
	return false;
}

/* All descriptors of a packet; surplus ones are closed. False: more than any message has. */
static bool take_fds(struct msghdr *m, int fds[MESSAGE_FDS_MAX], int *out_n)
{
	bool good = !(m->msg_flags & MSG_CTRUNC);
	int n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t many = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < many; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < MESSAGE_FDS_MAX)
				fds[n++] = fd;
			else
				good = (close(fd), false);
		}
	}
	*out_n = n;
	return good;
}

/* Answer to a call of ours. Its descriptors go to the caller, or are closed. */
static bool on_answer(struct channel *ch, uint64_t id, struct str bytes, const int fds[], int nfds,
		      struct message *m)
{
	lock_take(&ch->lock);
	struct call *c = &ch->calls[id % CHANNEL_CREDIT];
	if (id == 0 || c->id != id || c->done) { /* came too late */
		lock_drop(&ch->lock);
		message_each_fd(m, close_fd);
		return true;
	}
	if (m->type != message_reply(c->request)) {
		lock_drop(&ch->lock);
		message_each_fd(m, close_fd);
		return bad(ch, "answer to another question");
	}
	if (c->fn) {
		channel_answer *fn = c->fn;
		void *ctx = c->ctx;
		free_call(ch, c);
		lock_drop(&ch->lock);
		struct err none = {0};
		fn(ctx, m, &none);
		message_each_fd(m, close_fd);
		return true;
	}
	/* The waiting thread does not touch its arena until it has the lock again. */
	bool decoded = message_decode(bytes, fds, nfds, c->arena, c->reply);
	assert(decoded);
	(void)decoded;
	c->done = true;
	cond_signal(c->cond);
	lock_drop(&ch->lock);
	return true;
}

static bool on_request(struct channel *ch, uint64_t wire_id, struct message *m)
{
	lock_take(&ch->lock);
	if (ch->served_n == CHANNEL_CREDIT) {
		lock_drop(&ch->lock);
		message_each_fd(m, close_fd);
		return bad(ch, "more requests than credit");
	}
	struct served *s;
	uint64_t handle;
	do {
		handle = ++ch->served_serial;
		s = &ch->served[handle % CHANNEL_CREDIT];
	} while (s->handle || handle == 0);
	*s = (struct served){wire_id, handle, m->type};
	ch->served_n++;
	lock_drop(&ch->lock);
	ch->handler(ch->handler_ctx, ch, handle, m);
	message_each_fd(m, close_fd);
	return true;
}

static bool on_packet(struct channel *ch, struct str packet, const int fds[], int nfds)
{
	struct scan in = scan_of(packet);
	struct message m;
	uint64_t id;

	if (!scan_le64(&in, &id) || !message_decode(scan_rest(&in), fds, nfds, ch->arena, &m)) {
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
		return bad(ch, "malformed message");
	}
	bool legal = message_legal(ch->kind, m.type, ch->side == CHANNEL_SERVER);
	enum message_dir dir = message_dir(m.type);
	if (!legal || (dir != REPLY && !ch->handler)) {
		message_each_fd(&m, close_fd);
		return bad(ch, "message not legal here");
	}
	if (dir == REPLY)
		return on_answer(ch, id, scan_rest(&in), fds, nfds, &m);
	if (dir == REQUEST)
		return on_request(ch, id, &m);
	ch->handler(ch->handler_ctx, ch, 0, &m);
	message_each_fd(&m, close_fd);
	return true;
}

/* 1 one packet handled, 0 nothing there, -1 the other side is gone or has lost its rights. */
static int receive(struct channel *ch)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(2 * MESSAGE_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {ch->in, PACKET_MAX};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int fds[MESSAGE_FDS_MAX], nfds = 0;
	ssize_t n;

	do
		n = recvmsg(ch->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	bool good = take_fds(&m, fds, &nfds);
	if (n == 0 || !good || (m.msg_flags & MSG_TRUNC)) {
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
		if (n)
			bad(ch, good ? "packet too long" : "too many descriptors");
		return -1;
	}
	good = on_packet(ch, (struct str){ch->in, (size_t)n}, fds, nfds);
	arena_reset(ch->arena);
	return good ? 1 : -1;
}

/* ---- the reader ------------------------------------------------------------------------- */

static int reader_timeout(struct channel *ch)
{
	lock_held(&ch->lock);
	if (ch->next_deadline_us == INT64_MAX)
		return -1;
	int64_t left = ch->next_deadline_us - clock_mono_us();
	return left <= 0 ? 0 : left > 60000000 ? 60000 : (int)(left / 1000) + 1;
}

static void *reader(void *arg)
{
	struct channel *ch = arg;

	for (;;) {
		lock_take(&ch->lock);
		bool stop = ch->stop;
		struct pollfd p[2] = {
			{.fd = ch->wake, .events = POLLIN},
			{.fd = ch->fd, .events = (short)(POLLIN | (ch->out_first ? POLLOUT : 0))},
		};
		int timeout = reader_timeout(ch);
		lock_drop(&ch->lock);
		if (stop)
			return NULL;
		poll(p, 2, timeout);
		uint64_t count;
		if ((p[0].revents & POLLIN) && read(ch->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return NULL;
		if (p[1].fd >= 0 && p[1].revents && !channel_pump(ch))
			lose(ch);
		adopt_next(ch);
		feed_waiting(ch);
		expire_calls(ch);
	}
}

bool channel_pump(struct channel *ch)
{
	enum { TURNS = 64 }; /* then the caller looks at its other work */

	lock_take(&ch->lock);
	flush_output(ch);
	bool open = ch->fd >= 0;
	lock_drop(&ch->lock);
	if (!open)
		return false;
	for (int i = 0; i < TURNS; i++) {
		int got = receive(ch);
		if (got == 0)
			return true;
		if (got < 0) {
			if (!ch->started)
				lose(ch);
			return false;
		}
	}
	return true;
}

bool channel_start(struct channel *ch, struct err *err)
{
	pthread_attr_t attr;

	ch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ch->wake < 0)
		return err_sys(err, "eventfd");
	ch->started = true;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, READER_STACK);
	int failed = pthread_create(&ch->thread, &attr, reader, ch);
	pthread_attr_destroy(&attr);
	if (failed) {
		ch->started = false;
		errno = failed;
		return err_sys(err, "pthread_create");
	}
	return true;
}

/* ---- life ------------------------------------------------------------------------------- */

bool channel_new(enum channel_kind kind, enum channel_side side, int fd, struct channel **out,
		 struct err *err)
{
	struct channel *ch = mem_new(struct channel);

	(void)err;
	ch->kind = kind;
	ch->side = side;
	lock_init(&ch->lock, LOCK_IPC);
	cond_init(&ch->slot_free);
	ch->fd = fd;
	ch->next_fd = -1;
	ch->wake = -1;
	ch->out_last = &ch->out_first;
	ch->waiting_last = &ch->waiting_first;
	ch->next_deadline_us = INT64_MAX;
	ch->arena = arena_new();
	ch->in = mem_alloc(PACKET_MAX);
	*out = ch;
	return true;
}

void channel_free(struct channel *ch)
{
	struct ended list[CHANNEL_CREDIT];
	struct err why = {0};
	unsigned n = 0;

	if (!ch)
		return;
	err_set(&why, ERR_GONE, "shutting down");
	lock_take(&ch->lock);
	ch->stop = true;
	wake_reader(ch);
	lock_drop(&ch->lock);
	if (ch->started)
		pthread_join(ch->thread, NULL);
	lock_take(&ch->lock);
	fail_calls(ch, true, list, &n, &why);
	/* Threads that were waiting still hold their slots. */
	while (ch->calls_n) {
		lock_drop(&ch->lock);
		sched_yield();
		lock_take(&ch->lock);
	}
	drop_output(ch);
	lock_drop(&ch->lock);
	run_ended(list, n, &why);
	drop_waiting(ch, &why);
	fd_close(&ch->fd);
	fd_close(&ch->next_fd);
	fd_close(&ch->wake);
	arena_free(ch->arena);
	free(ch->in);
	cond_fini(&ch->slot_free);
	lock_fini(&ch->lock);
	free(ch);
}

bool channel_alive(struct channel *ch)
{
	LOCK_SCOPED(&ch->lock);
	return ch->fd >= 0 || ch->next_fd >= 0;
}

enum channel_kind channel_kind(const struct channel *ch)
{
	return ch->kind;
}

void channel_handle(struct channel *ch, channel_handler *fn, void *ctx)
{
	ch->handler = fn;
	ch->handler_ctx = ctx;
}

void channel_on_lost(struct channel *ch, void (*fn)(void *ctx, struct channel *ch), void *ctx)
{
	ch->lost = fn;
	ch->lost_ctx = ctx;
}

int channel_fd(struct channel *ch)
{
	LOCK_SCOPED(&ch->lock);
	return ch->fd;
}

short channel_events(struct channel *ch)
{
	LOCK_SCOPED(&ch->lock);
	return (short)(POLLIN | (ch->out_first ? POLLOUT : 0));
}

bool channel_pair(int out_fds[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out_fds) < 0)
		return err_sys(err, "socketpair");
	return true;
}
