/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/octets.h: a message that is put together: in memory up to OCTETS_MEMORY_MAX, beyond that in
 * a file without a name on the disk where mail is, so that many large ones cost no memory.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct store;
struct octets {
	struct store *store;
	struct buf memory;
	int fd;          /* -1: all is in memory */
	uint64_t size;
	bool failed;     /* the file could not be written */
};
enum { OCTETS_MEMORY_MAX = 256 << 10 };

void octets_init(struct octets *o, struct store *store);
void octets_fini(struct octets *o);
void octets_add(struct octets *o, struct str s);
/* Appends n octets from at on of another one. */
bool octets_add_from(struct octets *o, const struct octets *from, uint64_t at, uint64_t n,
		     struct err *err) MUST_CHECK;
