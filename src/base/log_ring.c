/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/log_ring.c: a page with the two positions, then the bytes. Positions only grow; an offset is a
 * position modulo the size, which is a power of two. The writer publishes a line by storing its position
 * behind the copy, so a writer that dies in the middle leaves nothing half done.
 */
#include "base/log_ring.h"
#include "base/file.h"
#include "base/mem.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, MAPPED = PAGE + LOG_RING_BYTES, FREE_BYTES = 64 * 1024 };
_Static_assert((LOG_RING_BYTES & (LOG_RING_BYTES - 1)) == 0, "offsets are masked");

struct shared {
	_Alignas(64) _Atomic uint64_t head; /* written so far */
	_Alignas(64) _Atomic uint64_t tail; /* read so far: where the next reader goes on */
	_Atomic uint64_t freed;             /* room up to here may be used again; page by page */
	_Atomic uint32_t sleeping;          /* the reader is: wake it */
};
_Static_assert(sizeof(struct shared) <= PAGE, "the data begin at the second page");

struct log_ring {
	struct shared *shared;
	char *data;
	int wake;
	pthread_mutex_t turn; /* not a struct lock: lines are written under locks of every class */
};

int log_ring_new(void)
{
	FD_SCOPED fd = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, MAPPED) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -1;
	return fd_take(&fd);
}

int log_ring_wake_new(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

bool log_ring_open(int fd, int wake, struct log_ring **out, struct err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	/* One that could shrink would be a SIGBUS. */
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 || st.st_size != MAPPED)
		return err_set(err, ERR_CORRUPT, "not a ring of log lines");
	void *p = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(err, "mmap");
	struct log_ring *r = mem_new(struct log_ring);
	*r = (struct log_ring){.shared = p, .data = (char *)p + PAGE, .wake = wake};
	pthread_mutex_init(&r->turn, NULL);
	*out = r;
	return true;
}

void log_ring_close(struct log_ring *r)
{
	if (!r)
		return;
	munmap(r->shared, MAPPED);
	pthread_mutex_destroy(&r->turn);
	free(r);
}

static size_t offset(uint64_t position)
{
	return (size_t)(position & (LOG_RING_BYTES - 1));
}

/* ---- writing -------------------------------------------------------------------------- */

static void copy_in(struct log_ring *r, uint64_t at, const char *p, size_t n)
{
	size_t first = LOG_RING_BYTES - offset(at);

	if (first > n)
		first = n;
	memcpy(r->data + offset(at), p, first);
	memcpy(r->data, p + first, n - first);
}

static void wake_reader(struct log_ring *r)
{
	uint64_t one = 1;

	if (atomic_load(&r->shared->sleeping) && atomic_exchange(&r->shared->sleeping, 0) &&
	    write(r->wake, &one, sizeof(one)) < 0)
		return; /* it is awake already */
}

bool log_ring_put(struct log_ring *r, struct str line)
{
	if (line.n == 0 || line.n > LOG_LINE_MAX)
		return line.n == 0;
	pthread_mutex_lock(&r->turn);
	uint64_t head = atomic_load_explicit(&r->shared->head, memory_order_relaxed);
	uint64_t used = head - atomic_load_explicit(&r->shared->freed, memory_order_acquire);
	bool room = used <= LOG_RING_BYTES && LOG_RING_BYTES - used > line.n;
	if (room) {
		copy_in(r, head, line.p, line.n);
		r->data[offset(head + line.n)] = '\n';
		/* In order with the look at "sleeping", as log_ring_sleep does it the other way round: either
		 * we see the reader asleep, or it sees our line. */
		atomic_store(&r->shared->head, head + line.n + 1);
	}
	pthread_mutex_unlock(&r->turn);
	if (room)
		wake_reader(r);
	return room;
}

/* ---- reading -------------------------------------------------------------------------- */

/* A writer that claims more than fits has lost what it wrote. */
static uint64_t available(struct log_ring *r, uint64_t tail)
{
	uint64_t head = atomic_load(&r->shared->head);

	if (head - tail <= LOG_RING_BYTES)
		return head - tail;
	atomic_store_explicit(&r->shared->tail, head, memory_order_release);
	return 0;
}

size_t log_ring_peek(struct log_ring *r, char *out, size_t max)
{
	uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_relaxed);
	uint64_t there = available(r, tail);
	size_t n = there < max ? (size_t)there : max;
	size_t first = LOG_RING_BYTES - offset(tail);

	if (n == 0)
		return 0;
	if (first > n)
		first = n;
	memcpy(out, r->data + offset(tail), first);
	memcpy(out + first, r->data, n - first);
	size_t end = str_find_last_byte((struct str){out, n}, '\n');
	return end == STR_NPOS ? n : end + 1;
}

static void give_back(char *p, size_t n)
{
	if (n)
		(void)madvise(p, n, MADV_REMOVE);
}

/* Whole pages at a time, and their memory first: a quiet server keeps none. */
static void free_pages(struct log_ring *r, uint64_t tail)
{
	uint64_t from = atomic_load_explicit(&r->shared->freed, memory_order_relaxed) & ~(uint64_t)(PAGE - 1);
	uint64_t to = tail & ~(uint64_t)(PAGE - 1), n = to - from;

	if (n < FREE_BYTES)
		return;
	if (n < LOG_RING_BYTES && offset(from) < offset(to)) {
		give_back(r->data + offset(from), (size_t)n);
	} else if (n < LOG_RING_BYTES) {
		give_back(r->data + offset(from), LOG_RING_BYTES - offset(from));
		give_back(r->data, offset(to));
	}
	atomic_store_explicit(&r->shared->freed, to, memory_order_release);
}

void log_ring_take(struct log_ring *r, size_t n)
{
	uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_relaxed) + n;

	atomic_store_explicit(&r->shared->tail, tail, memory_order_release);
	free_pages(r, tail);
}

bool log_ring_sleep(struct log_ring *r)
{
	atomic_store(&r->shared->sleeping, 1);
	if (available(r, atomic_load_explicit(&r->shared->tail, memory_order_relaxed)) == 0)
		return true;
	atomic_store(&r->shared->sleeping, 0);
	return false;
}
