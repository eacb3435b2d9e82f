/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/buf.h: a growing byte buffer on the heap.
 *
 * Zero-initialised is empty and valid. Growing moves the bytes: keep offsets, not pointers.
 * A limit (buf.max, 0 for none) makes buf_add and friends refuse: buf.failed stays set until
 * buf_clear, so a chain of adds is checked once at its end.
 */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct buf {
	char *p;
	size_t n;   /* bytes in use */
	size_t cap;
	size_t max; /* 0: none */
	bool failed;
};

void buf_free(struct buf *b);  /* frees and makes it empty; accepts NULL */
void buf_clear(struct buf *b); /* keeps the memory */
void buf_shrink(struct buf *b);/* gives memory back if empty */
char *buf_room(struct buf *b, size_t n); /* room for n more at b->p + b->n, or NULL at the limit */
void buf_add(struct buf *b, struct str s);
void buf_add_bytes(struct buf *b, const void *p, size_t n);
void buf_byte(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* decimal */
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */
static inline struct str buf_str(const struct buf *b) { return (struct str){b->p, b->n}; }
#define BUF_SCOPED __attribute__((cleanup(buf_free))) struct buf

/* Little-endian fixed-width integers, for disk and IPC rows. */
void buf_le16(struct buf *b, uint16_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);
/* length (u32) and bytes */
void buf_le_str(struct buf *b, struct str s);
