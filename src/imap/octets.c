/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/octets.c: see imap/octets.h. */
#include "imap/octets.h"
#include "base/file.h"
#include "store/mailbox.h"
#include <unistd.h>

enum { PIECE = 64 * 1024 };

void octets_init(struct octets *o, struct store *store)
{
	*o = (struct octets){.store = store, .fd = -1};
}

void octets_fini(struct octets *o)
{
	buf_free(&o->memory);
	fd_close(&o->fd);
}

static bool to_file(struct octets *o, struct str s)
{
	struct err err;

	if (o->fd < 0) {
		o->fd = store_scratch_file(o->store, &err);
		if (o->fd < 0 || !file_write_all(o->fd, o->memory.p, o->memory.n, &err))
			return false;
		buf_free(&o->memory);
	}
	return file_write_all(o->fd, s.p, s.n, &err);
}

void octets_add(struct octets *o, struct str s)
{
	o->size += s.n;
	if (o->fd < 0 && s.n <= OCTETS_MEMORY_MAX - o->memory.n)
		buf_add(&o->memory, s);
	else if (!o->failed && !to_file(o, s))
		o->failed = true;
}

bool octets_add_from(struct octets *o, const struct octets *from, uint64_t at, uint64_t n, struct err *err)
{
	BUF_SCOPED piece = {};

	if (from->fd < 0) {
		octets_add(o, str_sub(buf_str(&from->memory), (size_t)at, (size_t)n));
		return true;
	}
	while (n) {
		size_t take = n < PIECE ? (size_t)n : PIECE;
		buf_clear(&piece);
		if (!file_pread_all(from->fd, buf_room(&piece, take), take, (off_t)at, err))
			return false;
		octets_add(o, (struct str){piece.p, take});
		at += take;
		n -= take;
	}
	return true;
}
