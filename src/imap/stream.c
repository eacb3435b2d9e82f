/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/stream.c: see imap/stream.h. Raw deflate (RFC 1951) both ways. A packed stream is cut at octet
 * boundaries where it is flushed, and what follows need not refer to what was before: so the packer
 * can be thrown away there and made anew.
 */
#include "imap/stream.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum {
	PIECE = 16 * 1024,
	FILE_MIN = 1 << 20, /* longer files are packed into a file */
	INPUT_DEFAULT = 16 * 1024,
};

struct zip {
	z_stream in, out;
	bool packing;     /* out is made */
	bool unsent;      /* something was packed since the last flush */
	bool ended;       /* the peer's stream is over, or broken */
	bool more;        /* in may have output that there was no room for */
	size_t limit;
	struct buf unpacked, to_pack;
};

bool imap_compressed(const struct imap *s) { return s->zip; }

void imap_compress(struct imap *s)
{
	struct zip *z = mem_new(struct zip);

	if (inflateInit2(&z->in, -MAX_WBITS) != Z_OK)
		abort(); /* no memory (STYLE 5) */
	z->limit = INPUT_DEFAULT;
	s->zip = z;
}

static void end_packing(struct zip *z)
{
	if (z->packing)
		deflateEnd(&z->out);
	z->packing = false;
}

void imap_zip_free(struct imap *s)
{
	struct zip *z = s->zip;

	if (!z)
		return;
	inflateEnd(&z->in);
	end_packing(z);
	buf_free(&z->unpacked);
	buf_free(&z->to_pack);
	free(z);
	s->zip = NULL;
}

/* ---- input -------------------------------------------------------------------------------- */

static void unpack(struct imap *s, struct zip *z)
{
	while (!z->ended && z->unpacked.n < z->limit) {
		struct str packed = conn_input(s->conn);
		size_t room = z->limit - z->unpacked.n;
		if (!packed.n && !z->more)
			return;
		z->in.next_in = (Bytef *)(uintptr_t)packed.p;
		z->in.avail_in = (uInt)packed.n;
		z->in.next_out = (Bytef *)buf_room(&z->unpacked, room);
		z->in.avail_out = (uInt)room;
		int status = inflate(&z->in, Z_SYNC_FLUSH);
		z->unpacked.n += room - z->in.avail_out;
		z->more = !z->in.avail_out;
		conn_consume(s->conn, packed.n - z->in.avail_in);
		if (status == Z_OK || status == Z_BUF_ERROR)
			continue;
		z->ended = true;
		if (status != Z_STREAM_END)
			log_event(LOG_INFO, "imap.compress.broken", K_STR(account, s->served->address));
	}
}

struct str imap_in(struct imap *s)
{
	if (!s->zip)
		return conn_input(s->conn);
	unpack(s, s->zip);
	return str_sub(buf_str(&s->zip->unpacked), 0, s->zip->limit);
}

void imap_consume(struct imap *s, size_t n)
{
	if (s->zip)
		buf_consume(&s->zip->unpacked, n);
	else
		conn_consume(s->conn, n);
}

void imap_input_limit(struct imap *s, size_t max)
{
	if (s->zip)
		s->zip->limit = max;
	else
		conn_input_limit(s->conn, max);
}

bool imap_eof(struct imap *s)
{
	if (s->zip && s->zip->ended)
		return true;
	return conn_eof(s->conn);
}

/* ---- output ------------------------------------------------------------------------------- */

struct buf *imap_out(struct imap *s) { return s->zip ? &s->zip->to_pack : conn_out(s->conn); }

size_t imap_out_pending(const struct imap *s)
{
	return conn_out_pending(s->conn) + (s->zip ? s->zip->to_pack.n : 0);
}

static void pack(struct zip *z, struct str octets, int flush, struct buf *to)
{
	if (!z->packing) {
		z->out = (z_stream){};
		if (deflateInit2(&z->out, Z_BEST_SPEED, Z_DEFLATED, -13, 6, Z_DEFAULT_STRATEGY) != Z_OK)
			abort(); /* no memory */
		z->packing = true;
	}
	z->out.next_in = (Bytef *)(uintptr_t)octets.p;
	z->out.avail_in = (uInt)octets.n;
	do {
		z->out.next_out = (Bytef *)buf_room(to, PIECE);
		z->out.avail_out = PIECE;
		deflate(&z->out, flush);
		to->n += PIECE - z->out.avail_out;
	} while (!z->out.avail_out);
}

static void pack_written(struct imap *s, struct zip *z, int flush)
{
	struct str rest = buf_str(&z->to_pack);

	do {
		struct str part = str_sub(rest, 0, 1 << 30);
		rest = str_from(rest, part.n);
		pack(z, part, rest.n ? Z_NO_FLUSH : flush, conn_out(s->conn));
	} while (rest.n);
	z->unsent = flush == Z_NO_FLUSH;
	buf_clear(&z->to_pack);
}

void imap_flush(struct imap *s, bool idle)
{
	struct zip *z = s->zip;

	if (!z)
		return;
	if (z->to_pack.n || z->unsent)
		pack_written(s, z, Z_SYNC_FLUSH);
	if (!idle)
		return;
	end_packing(z);
	buf_free(&z->to_pack);
	if (!z->unpacked.n)
		buf_free(&z->unpacked);
}

/* Packed pieces go into the output, or, when there are many, into a file that is sent. */
static bool pack_file(struct imap *s, struct zip *z, int fd, off_t at, uint64_t n, int to, uint64_t *out_n,
		      struct err *err)
{
	BUF_SCOPED plain = {};
	BUF_SCOPED packed = {};

	while (n) {
		size_t take = n < PIECE ? (size_t)n : PIECE;
		buf_clear(&plain);
		buf_clear(&packed);
		if (!file_pread_all(fd, buf_room(&plain, take), take, at, err))
			return false;
		pack(z, (struct str){plain.p, take}, Z_NO_FLUSH, to < 0 ? conn_out(s->conn) : &packed);
		if (packed.n && !file_write_all(to, packed.p, packed.n, err))
			return false;
		*out_n += packed.n;
		at += (off_t)take;
		n -= take;
	}
	z->unsent = true;
	return true;
}

bool imap_out_file(struct imap *s, int fd, off_t at, uint64_t n, struct err *err)
{
	struct zip *z = s->zip;
	uint64_t packed = 0;

	if (!z) {
		conn_out_file(s->conn, fd, at, n);
		return true;
	}
	FD_SCOPED from = fd;
	FD_SCOPED to = -1;
	pack_written(s, z, Z_NO_FLUSH);
	if (n > FILE_MIN && (to = store_scratch_file(s->served->store, err)) < 0)
		return false;
	if (!pack_file(s, z, from, at, n, to, &packed, err))
		return false;
	if (packed)
		conn_out_file(s->conn, fd_take(&to), 0, packed);
	return true;
}
