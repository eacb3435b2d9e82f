/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/stream.h: the octets of a session: those of its connection, or, after COMPRESS (RFC 4978),
 * what is inside them.
 *
 * However much a few octets stand for, no more than the input limit is unpacked at once. The packing
 * side has memory only while a command runs; a session that waits keeps what unpacking needs
 * (40 KiB).
 */
#pragma once
#include "imap/imap_int.h"

struct str imap_in(struct imap *s);
void imap_consume(struct imap *s, size_t n);
void imap_input_limit(struct imap *s, size_t max);
/* All that came is taken, and no more will come. */
bool imap_eof(struct imap *s);
size_t imap_out_pending(const struct imap *s);
/* n octets of the file follow what was written; takes fd. */
bool imap_out_file(struct imap *s, int fd, off_t at, uint64_t n, struct err *err) MUST_CHECK;

bool imap_compressed(const struct imap *s);
void imap_compress(struct imap *s); /* from now on */
/* Packs what was written, for net to send; idle: the session is going to wait. */
void imap_flush(struct imap *s, bool idle);
void imap_zip_free(struct imap *s);
