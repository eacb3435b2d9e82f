/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/arena.c: a list of blocks, the newest first, cut from front to back.
 *
 * Blocks double from BLOCK_MIN to BLOCK_MAX. Something large gets a block of its own that goes
 * behind the current one, so that the current one's room is not lost. Under ASan every piece is
 * followed by a poisoned gap.
 */
#include "base/arena.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif

enum {
	ALIGN = 16,
	BLOCK_MIN = 2048,
	BLOCK_MAX = 64 * 1024,
	KEEP_MAX = 8 * 1024, /* largest block that a reset keeps */
};

struct block {
	struct block *older;
	size_t cap;
	size_t used;
	_Alignas(ALIGN) char data[];
};

struct arena {
	struct block *newest;
	size_t total; /* given out since the last reset, padding included */
};

struct arena *arena_new(void)
{
	return mem_new(struct arena);
}

static void block_free(struct block *b)
{
	ASAN_UNPOISON_MEMORY_REGION(b->data, b->cap);
	free(b);
}

void arena_release(struct arena *a)
{
	while (a->newest) {
		struct block *b = a->newest;
		a->newest = b->older;
		block_free(b);
	}
	a->total = 0;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	arena_release(a);
	free(a);
}

void arena_reset(struct arena *a)
{
	struct block *keep = NULL;

	while (a->newest) {
		struct block *b = a->newest;
		a->newest = b->older;
		if (b->cap > KEEP_MAX || (keep && keep->cap >= b->cap)) {
			block_free(b);
			continue;
		}
		if (keep)
			block_free(keep);
		keep = b;
	}
	a->total = 0;
	if (!keep)
		return;
#ifdef PABAL_DEBUG
	ASAN_UNPOISON_MEMORY_REGION(keep->data, keep->cap);
	memset(keep->data, 0xdd, keep->cap);
#endif
	ASAN_POISON_MEMORY_REGION(keep->data, keep->cap);
	keep->used = 0;
	keep->older = NULL;
	a->newest = keep;
}

size_t arena_used(const struct arena *a)
{
	return a->total;
}

static struct block *block_new(size_t cap)
{
	struct block *b = mem_alloc(sizeof(*b) + cap);

	b->older = NULL;
	b->cap = cap;
	b->used = 0;
	ASAN_POISON_MEMORY_REGION(b->data, cap);
	return b;
}

static void *cut(struct arena *a, struct block *b, size_t size, size_t padded)
{
	char *p = b->data + b->used;

	b->used += padded;
	a->total += padded;
	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return p;
}

static void *alloc_slow(struct arena *a, size_t size, size_t padded)
{
	size_t cap = BLOCK_MIN;

	if (a->newest)
		cap = a->newest->cap < BLOCK_MAX / 2 ? a->newest->cap * 2 : BLOCK_MAX;
	if (padded > cap / 2) {
		struct block *own = block_new(padded);
		if (a->newest) {
			own->older = a->newest->older;
			a->newest->older = own;
		} else {
			a->newest = own;
		}
		return cut(a, own, size, padded);
	}
	struct block *b = block_new(cap);
	b->older = a->newest;
	a->newest = b;
	return cut(a, b, size, padded);
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t padded;

	if (__builtin_add_overflow(size, (size_t)ALIGN - 1 + GAP, &padded) || padded > PTRDIFF_MAX)
		mem_exhausted();
	padded &= ~(size_t)(ALIGN - 1);
	if (padded == 0)
		padded = ALIGN;
	if (!a->newest || padded > a->newest->cap - a->newest->used)
		return alloc_slow(a, size, padded);
	return cut(a, a->newest, size, padded);
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		mem_exhausted();
	return arena_alloc(a, total);
}

void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;

	size_t bigger;
	if (__builtin_mul_overflow(n, (size_t)2, &bigger))
		mem_exhausted();
	if (bigger < 8)
		bigger = 8;
	void *p = arena_array(a, bigger, size);
	size_t old = n < *cap ? n : *cap;
	if (old)
		memcpy(p, array, old * size);
	*cap = bigger;
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	if (s.n == 0)
		return (struct str){s.p ? "" : NULL, 0};
	return (struct str){memcpy(arena_alloc(a, s.n), s.p, s.n), s.n};
}

struct str arena_lower(struct arena *a, struct str s)
{
	if (s.n == 0)
		return (struct str){s.p ? "" : NULL, 0};

	char *p = arena_alloc(a, s.n);
	for (size_t i = 0; i < s.n; i++)
		p[i] = ascii_lower(s.p[i]);
	return (struct str){p, s.n};
}

struct str arena_cat(struct arena *a, struct str x, struct str y)
{
	size_t n;

	if (__builtin_add_overflow(x.n, y.n, &n))
		mem_exhausted();
	char *p = arena_alloc(a, n);
	if (x.n)
		memcpy(p, x.p, x.n);
	if (y.n)
		memcpy(p + x.n, y.p, y.n);
	return (struct str){p, n};
}

const char *arena_cstr(struct arena *a, struct str s)
{
	if (str_has_byte(s, '\0'))
		return NULL;

	char *p = arena_alloc(a, s.n + 1);
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str arena_vfmt(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n < 0)
		n = 0;
	char *p = arena_alloc(a, (size_t)n + 1);
	if ((size_t)n < sizeof(small))
		memcpy(p, small, (size_t)n + 1);
	else
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return (struct str){p, (size_t)n};
}

struct str arena_fmt(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct str s = arena_vfmt(a, fmt, ap);
	va_end(ap);
	return s;
}
