/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Bytes in and out of a connection, plain or TLS, never waiting. Output is a buffer with file
 * ranges between its bytes, each remembered by the position in the stream that it follows.
 */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { FILE_CHUNK = 16 * 1024, SENDFILE_CHUNK = 256 * 1024 };

/* ---- buffers ---- */

struct io *io_of(struct conn *c)
{
	struct net *n = c->events->net;
	if (c->io)
		return c->io;
	lock_take(&n->cache_lock);
	c->io = n->cache;
	if (c->io) {
		n->cache = c->io->next;
		n->cached--;
	}
	lock_drop(&n->cache_lock);
	if (!c->io)
		c->io = mem_new(struct io);
	c->io->files_end = &c->io->files;
	return c->io;
}

static void io_free(struct io *io)
{
	buf_free(&io->in);
	buf_free(&io->out);
	free(io);
}

void io_count(struct conn *c)
{
	struct io *io = c->io;
	struct net *n = c->events->net;
	size_t now = io ? io->in.cap + io->out.cap : 0;
	if (!io || now == io->counted)
		return;
	atomic_fetch_add_explicit(&n->io_bytes, now - io->counted, memory_order_relaxed); /* may wrap down */
	io->counted = now;
}

/* Back to the cache, or free; its buffers are empty. */
static void io_return(struct conn *c)
{
	struct net *n = c->events->net;
	struct io *io = c->io;
	c->io = NULL;
	atomic_fetch_sub_explicit(&n->io_bytes, io->counted, memory_order_relaxed);
	io->counted = 0;
	buf_clear(&io->in);
	buf_clear(&io->out);
	io->in_at = io->out_at = 0;
	io->out_base = 0;
	bool keep = io->in.cap <= IO_KEEP && io->out.cap <= IO_KEEP;
	if (keep) {
		lock_take(&n->cache_lock);
		keep = n->cached < IO_CACHE;
		if (keep) {
			io->next = n->cache;
			n->cache = io;
			n->cached++;
		}
		lock_drop(&n->cache_lock);
	}
	if (!keep)
		io_free(io);
}

static bool io_idle(const struct io *io)
{
	return io->in.n == io->in_at && io->out.n == io->out_at && !io->files;
}

void io_release(struct conn *c)
{
	if (c->io && io_idle(c->io))
		io_return(c);
	else
		io_count(c);
}

static void file_drop(struct io *io)
{
	struct out_file *f = io->files;
	io->files = f->next;
	if (!io->files)
		io->files_end = &io->files;
	io->file_bytes -= f->left;
	close(f->fd);
	free(f);
}

void io_drop(struct conn *c)
{
	if (!c->io)
		return;
	while (c->io->files)
		file_drop(c->io);
	io_return(c);
}

void io_cache_free(struct net *n)
{
	while (n->cache) {
		struct io *io = n->cache;
		n->cache = io->next;
		io_free(io);
	}
}

/* ---- input ---- */

/* Less and less as the budget is used up; never nothing, so that everybody goes on. */
static size_t room_for_input(struct conn *c, struct io *io)
{
	struct net *n = c->events->net;
	size_t have = io->in.n - io->in_at;
	size_t room = c->in_max > have ? c->in_max - have : 0;
	size_t chunk = IN_CHUNK;
	if (atomic_load_explicit(&n->io_bytes, memory_order_relaxed) > n->options.memory_budget)
		chunk = 4096;
	return room < chunk ? room : chunk;
}

static ssize_t read_plain(struct conn *c, char *p, size_t room)
{
	ssize_t got;
	do
		got = recv(c->fd, p, room, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		c->eof = true;
	else if (got < 0 && errno != EAGAIN)
		c->broken = true;
	/* A short read has emptied the kernel's buffer; epoll tells when there is more. */
	c->more = got == (ssize_t)room;
	return got;
}

static ssize_t read_tls(struct conn *c, char *p, size_t room)
{
	size_t total = 0, got;
	struct err err = {0};
	c->more = true;
	while (total < room && c->more) {
		switch (tls_read(c->tls, p + total, room - total, &got, &err)) {
		case TLS_OK: total += got; break;
		case TLS_WANT_WRITE:
		case TLS_WANT_READ: c->more = false; break;
		case TLS_CLOSED:
			c->eof = true;
			c->more = false;
			break;
		case TLS_FAILED:
			/* An end without goodbye after what it sent: the session may still see that. */
			c->more = false;
			if (err.kind == ERR_GONE && err.sys == 0)
				c->eof = true;
			else
				c->broken = true;
			break;
		}
	}
	return (ssize_t)total;
}

bool stream_read(struct conn *c)
{
	if (c->eof)
		return true;
	struct io *io = io_of(c);
	if (io->in_at == io->in.n) {
		buf_clear(&io->in);
		io->in_at = 0;
	}
	size_t room = room_for_input(c, io);
	if (room == 0)
		return true;
	if (io->in_at > 0 && io->in.cap - io->in.n < room) {
		buf_consume(&io->in, io->in_at);
		io->in_at = 0;
	}
	char *p = buf_room(&io->in, room);
	ssize_t got = c->tls ? read_tls(c, p, room) : read_plain(c, p, room);
	if (got > 0) {
		io->in.n += (size_t)got;
		c->rate_bytes += (uint32_t)got;
		c->in_new = true;
	}
	if (c->eof)
		c->in_new = true;
	return !c->broken;
}

/* ---- output ---- */

size_t stream_pending(const struct conn *c)
{
	return c->io ? c->io->out.n - c->io->out_at + c->io->file_bytes : 0;
}

enum sent { SENT_ALL, SENT_SOME, SENT_FAILED };

static enum sent send_plain(struct conn *c, const char *p, size_t n, bool more, size_t *out_n)
{
	ssize_t put;
	*out_n = 0;
	do
		put = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return errno == EAGAIN || errno == ENOBUFS ? SENT_SOME : SENT_FAILED;
	*out_n = (size_t)put;
	return *out_n == n ? SENT_ALL : SENT_SOME;
}

static enum sent send_tls(struct conn *c, const char *p, size_t n, size_t *out_n)
{
	struct err err = {0};
	size_t put;
	*out_n = 0;
	c->write_wants_read = false;
	while (*out_n < n) {
		switch (tls_write(c->tls, p + *out_n, n - *out_n, &put, &err)) {
		case TLS_OK: *out_n += put; break;
		case TLS_WANT_READ: c->write_wants_read = true; return SENT_SOME;
		case TLS_WANT_WRITE: return SENT_SOME;
		case TLS_CLOSED:
		case TLS_FAILED: return SENT_FAILED;
		}
	}
	return SENT_ALL;
}

static enum sent send_buffered(struct conn *c, struct io *io)
{
	size_t n = io->out.n - io->out_at, put;
	if (io->files)
		n = (size_t)(io->files->at - io->out_base) - io->out_at;
	if (n == 0)
		return SENT_ALL;
	const char *p = io->out.p + io->out_at;
	enum sent sent = c->tls ? send_tls(c, p, n, &put) : send_plain(c, p, n, io->files != NULL, &put);
	io->out_at += put;
	if (put)
		c->stalled = false;
	return sent;
}

/* The file is shorter than was said: the stream cannot be continued. */
static enum sent send_file_tls(struct conn *c, struct out_file *f)
{
	char chunk[FILE_CHUNK];
	size_t want = f->left < sizeof chunk ? f->left : sizeof chunk, put;
	ssize_t got = pread(f->fd, chunk, want, f->offset);
	if (got <= 0)
		return SENT_FAILED;
	enum sent sent = send_tls(c, chunk, (size_t)got, &put);
	f->offset += (off_t)put;
	f->left -= put;
	c->io->file_bytes -= put;
	if (put)
		c->stalled = false;
	return sent;
}

static enum sent send_file_plain(struct conn *c, struct out_file *f)
{
	ssize_t put;
	do
		put = sendfile(c->fd, f->fd, &f->offset, f->left < SENDFILE_CHUNK ? f->left : SENDFILE_CHUNK);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return errno == EAGAIN ? SENT_SOME : SENT_FAILED;
	if (put == 0)
		return SENT_FAILED;
	f->left -= (size_t)put;
	c->io->file_bytes -= (size_t)put;
	c->stalled = false;
	return SENT_ALL;
}

bool stream_flush(struct conn *c)
{
	struct io *io = c->io;
	enum sent sent = SENT_ALL;
	if (!io || c->broken)
		return !c->broken;
	while (sent == SENT_ALL && (io->out.n > io->out_at || io->files)) {
		sent = send_buffered(c, io);
		struct out_file *f = io->files;
		if (sent != SENT_ALL || !f || io->out_base + io->out_at < f->at)
			continue;
		if (f->left)
			sent = c->tls ? send_file_tls(c, f) : send_file_plain(c, f);
		if (f->left == 0)
			file_drop(io);
	}
	if (sent == SENT_FAILED) {
		c->broken = true;
		return false;
	}
	if (io->out_at == io->out.n) {
		io->out_base += io->out_at;
		io->out_at = 0;
		buf_clear(&io->out);
	}
	return true;
}

/* ---- what sessions see ---- */

struct str conn_input(const struct conn *c)
{
	const struct io *io = c->io;
	return io ? (struct str){io->in.p + io->in_at, io->in.n - io->in_at} : STR_NONE;
}

void conn_consume(struct conn *c, size_t n)
{
	if (c->io)
		c->io->in_at += n <= c->io->in.n - c->io->in_at ? n : c->io->in.n - c->io->in_at;
}

struct buf *conn_out(struct conn *c)
{
	return &io_of(c)->out;
}

size_t conn_out_pending(const struct conn *c)
{
	return stream_pending(c);
}

void conn_out_file(struct conn *c, int fd, off_t at, size_t n)
{
	struct io *io = io_of(c);
	struct out_file *f = mem_new(struct out_file);
	*f = (struct out_file){.at = io->out_base + io->out.n, .fd = fd, .offset = at, .left = n};
	*io->files_end = f;
	io->files_end = &f->next;
	io->file_bytes += n;
}
