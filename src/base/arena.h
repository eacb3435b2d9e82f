/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/arena.h: memory that is freed all at once.
 *
 * Used for the session, the command (IMAP, POP3, HTTP), the transaction (SMTP) and scratch work.
 * What a function returns lives as long as the arena it was given. Not shared between threads.
 * Exhaustion of memory ends the process (STYLE 5). Debug builds and ASan poison on reset.
 */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct arena;

struct arena *arena_new(void);      /* holds no block until first used */
void arena_free(struct arena *a);   /* accepts NULL */
void arena_reset(struct arena *a);  /* all is gone; keeps at most one small block */
void arena_release(struct arena *a);/* as reset, and gives every block back: for parked sessions */
size_t arena_used(const struct arena *a);

void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
void *arena_zalloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
/* n * size, overflow ends the process: check outside numbers against a limit first. */
void *arena_array(struct arena *a, size_t n, size_t size) __attribute__((malloc, returns_nonnull));
#define arena_new_of(a, type) ((type *)arena_zalloc((a), sizeof(type)))
/* Makes room for one more than the n elements in use (n < *cap afterwards), amortised; the old
 * array stays until reset. Start with NULL and *cap 0. */
void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size);

struct str arena_str(struct arena *a, struct str s);   /* a copy */
struct str arena_lower(struct arena *a, struct str s); /* a copy in ASCII lower case */
struct str arena_cat(struct arena *a, struct str x, struct str y);
/* NUL-terminated copy for system calls; NULL when s holds a NUL byte. */
const char *arena_cstr(struct arena *a, struct str s);
struct str arena_fmt(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str arena_vfmt(struct arena *a, const char *fmt, va_list ap);

static inline void arena_free_p(struct arena **a) { arena_free(*a); }
#define ARENA_SCOPED __attribute__((cleanup(arena_free_p))) struct arena *
