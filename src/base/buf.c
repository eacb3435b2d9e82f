/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/buf.c: room doubles; the limit is checked in one place, buf_room(). */
#include "base/buf.h"
#include "base/mem.h"
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b)
{
	if (!b)
		return;
	free(b->p);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

void buf_shrink(struct buf *b)
{
	if (b->n == 0) {
		free(b->p);
		b->p = NULL;
		b->cap = 0;
	}
}

static void grow(struct buf *b, size_t need)
{
	size_t cap = b->cap < 32 ? 64 : b->cap * 2;

	if (cap < need)
		cap = need;
	if (b->max && cap > b->max && need <= b->max)
		cap = b->max;
	b->p = mem_resize(b->p, cap);
	b->cap = cap;
}

char *buf_room(struct buf *b, size_t n)
{
	size_t need;

	if (b->failed)
		return NULL;
	if (__builtin_add_overflow(b->n, n, &need) || (b->max && need > b->max)) {
		b->failed = true;
		return NULL;
	}
	if (need > b->cap || !b->p)
		grow(b, need);
	return b->p + b->n;
}

void buf_add_bytes(struct buf *b, const void *p, size_t n)
{
	char *room;

	if (n == 0 || !(room = buf_room(b, n)))
		return;
	memcpy(room, p, n);
	b->n += n;
}

void buf_add(struct buf *b, struct str s)
{
	buf_add_bytes(b, s.p, s.n);
}

void buf_byte(struct buf *b, char c)
{
	char *room = buf_room(b, 1);

	if (!room)
		return;
	*room = c;
	b->n++;
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_add_bytes(b, digits + at, sizeof(digits) - at);
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t left = b->cap - b->n;

	if (b->failed)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(left ? b->p + b->n : NULL, left, fmt, ap);
	va_end(ap);
	if (n < 0 || (b->max && (b->n > b->max || (size_t)n > b->max - b->n))) {
		b->failed = true;
		return;
	}
	if ((size_t)n >= left) {
		grow(b, b->n + (size_t)n + 1); /* vsnprintf's NUL is not content: max does not count it */
		va_start(ap, fmt);
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->n += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	if (n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void buf_le16(struct buf *b, uint16_t v)
{
	v = htole16(v);
	buf_add_bytes(b, &v, sizeof(v));
}

void buf_le32(struct buf *b, uint32_t v)
{
	v = htole32(v);
	buf_add_bytes(b, &v, sizeof(v));
}

void buf_le64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add_bytes(b, &v, sizeof(v));
}

void buf_le_str(struct buf *b, struct str s)
{
	if (s.n > UINT32_MAX) {
		b->failed = true;
		return;
	}
	buf_le32(b, (uint32_t)s.n);
	buf_add(b, s);
}
