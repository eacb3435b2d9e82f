/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/log_ring.h: lines of one process on their way to the log role, in memory that both map.
 *
 * A socket between two processes holds some hundred lines, less than a burst of mail makes while the
 * reader waits for a processor; this holds LOG_RING_BYTES of them, and a line costs a copy, and a system
 * call only when the reader sleeps. What a process wrote before it crashed is still read, and so is what
 * the reader had not taken when it crashed.
 *
 * One process writes (its threads take turns), one reads. Each treats the other's numbers as hostile: a
 * captured side can lose or invent lines of this ring, never reach memory outside of it.
 */
#pragma once
#include "base/err.h"

enum { LOG_RING_BYTES = 4 << 20, LOG_LINE_MAX = 4096 };
struct log_ring;

/* A memfd of the right size that cannot be shrunk (or -1), and the descriptor that wakes the reader. */
int log_ring_new(void);
int log_ring_wake_new(void);
/* Maps it; the descriptors stay the caller's and must outlive the mapping. */
bool log_ring_open(int fd, int wake, struct log_ring **out, struct err *err) MUST_CHECK;
void log_ring_close(struct log_ring *r); /* accepts NULL */

/* The line and a newline; false: no room. The line has no newline and at most LOG_LINE_MAX bytes. */
bool log_ring_put(struct log_ring *r, struct str line);

/* Copies bytes to out without taking them: whole lines, unless one is longer than max. 0: none there. */
size_t log_ring_peek(struct log_ring *r, char *out, size_t max);
/* They are safe elsewhere: their room is free, their memory goes back to the system by and by. */
void log_ring_take(struct log_ring *r, size_t n);
/* The next line shall make wake readable. False: there is one already. */
bool log_ring_sleep(struct log_ring *r);
