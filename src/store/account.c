/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/account.c: open accounts, their lock, and the pool of what is kept open for them.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { TRIM_AFTER = 8 };

/* ---- the pool --------------------------------------------------------------------------- */
static void pool_unlink(struct store *s, struct hot_account *h)
{
	*(h->prev ? &h->prev->next : &s->hot_first) = h->next;
	*(h->next ? &h->next->prev : &s->hot_last) = h->prev;
	h->prev = h->next = NULL;
}

static void pool_push(struct store *s, struct hot_account *h)
{
	h->next = s->hot_first;
	*(h->next ? &h->next->prev : &s->hot_last) = h;
	s->hot_first = h;
}

static void flush_held(struct hot_account *h)
{
	struct err err;

	/* Only a cache: what cannot be stored is made again. */
	if (h->held_n && h->index && index_begin(h->index, &err)) {
		bool ok = true;
		for (unsigned i = 0; ok && i < h->held_n; i++)
			ok = index_summary_put(h->index, h->held[i].row, h->held[i].uid, h->held[i].data,
					       &err);
		if (!ok || !index_commit(h->index, &err))
			index_rollback(h->index);
	}
	h->held_n = 0;
	arena_release(h->held_arena);
}

void account_flush_summaries(struct account *a)
{
	flush_held(a->hot);
}

static void close_index(struct hot_account *h)
{
	flush_held(h);
	index_reader_end(&h->reader);
	h->reader = (struct index_reader){0};
	index_close(h->index);
	h->index = NULL;
}

void hot_close(struct hot_account *h)
{
	if (!h)
		return;
	close_index(h);
	while (h->dirs) {
		struct dir *d = h->dirs;
		h->dirs = d->next;
		dir_close(d);
	}
	fd_close(&h->fd);
	arena_free(h->held_arena);
	free(h);
}

/* Takes the least recently used one out, or NULL. With store->pool. */
static struct hot_account *pool_victim(struct store *s, int64_t used_before_ms)
{
	for (struct hot_account *h = s->hot_last; h; h = h->prev) {
		if (h->busy || h->used_ms > used_before_ms)
			continue;
		pool_unlink(s, h);
		s->hot_n--;
		h->account->hot = NULL;
		return h;
	}
	return NULL;
}

static struct hot_account *hot_new(struct account *a)
{
	struct hot_account *h = mem_new(struct hot_account);

	h->account = a;
	h->fd = -1;
	h->held_arena = arena_new();
	return h;
}

static void pool_take(struct account *a)
{
	struct store *s = a->store;
	unsigned max = s->o.handles_max ? s->o.handles_max : HANDLES_DEFAULT;
	struct hot_account *victim = NULL;
	bool first = false;

	lock_take(&s->pool);
	if (!a->hot) {
		a->hot = hot_new(a);
		pool_push(s, a->hot);
		first = ++s->hot_n == 1;
		if (s->hot_n > max)
			victim = pool_victim(s, INT64_MAX);
	}
	a->hot->busy = true;
	lock_drop(&s->pool);
	hot_close(victim);
	if (first)
		house_wake(s); /* to close it when it lies idle */
}

static void pool_give(struct account *a)
{
	struct store *s = a->store;

	lock_take(&s->pool);
	a->hot->busy = false;
	a->hot->used_ms = clock_mono_ms();
	if (s->hot_first != a->hot) {
		pool_unlink(s, a->hot);
		pool_push(s, a->hot);
	}
	lock_drop(&s->pool);
}

void pool_close_idle(struct store *s, int64_t older_than_ms)
{
	unsigned closed = 0;

	for (;; closed++) {
		lock_take(&s->pool);
		struct hot_account *h = pool_victim(s, clock_mono_ms() - older_than_ms);
		lock_drop(&s->pool);
		if (!h)
			break;
		hot_close(h);
	}
	/* A handle is 100 KiB and more in many pieces: the heap keeps them unless told. */
	if (closed >= TRIM_AFTER)
		malloc_trim(0);
}

static void pool_drop(struct account *a)
{
	struct store *s = a->store;

	lock_take(&s->pool);
	struct hot_account *h = a->hot;
	if (h) {
		pool_unlink(s, h);
		s->hot_n--;
		a->hot = NULL;
	}
	lock_drop(&s->pool);
	hot_close(h);
}

/* ---- the lock --------------------------------------------------------------------------- */
static bool open_dir(struct account *a, struct err *err)
{
	struct hot_account *h = a->hot;
	struct stat st;

	/* The directory may have been taken away and put back (restore from a backup). */
	if (h->fd >= 0 && (fstat(h->fd, &st) < 0 || st.st_nlink == 0)) {
		while (h->dirs)
			dir_forget(a, h->dirs);
		close_index(h);
		fd_close(&h->fd);
	}
	if (h->fd >= 0)
		return true;
	h->fd = file_openat(a->store->root_fd, a->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	return h->fd >= 0 || err_sys(err, "open %s", a->path);
}

bool account_flock(struct account *a, struct err *err)
{
	if (a->flocked)
		return true;
	while (flock(a->hot->fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock %s", a->path);
	a->flocked = true;
	/* What another process changed before we got it. */
	for (struct dir *d = a->hot->dirs; d; d = d->next)
		d->fresh = false;
	return true;
}

bool account_lock(struct account *a, enum account_use use, struct err *err)
{
	lock_take(&a->lock);
	pool_take(a);
	if (open_dir(a, err)) {
		for (struct dir *d = a->hot->dirs; d; d = d->next)
			d->fresh = false;
		if (use == USE_READ || account_flock(a, err))
			return true;
	}
	account_unlock(a);
	return false;
}

void account_unlock(struct account *a)
{
	if (a->flocked)
		flock(a->hot->fd, LOCK_UN);
	a->flocked = false;
	pool_give(a);
	lock_drop(&a->lock);
}

/* ---- the index -------------------------------------------------------------------------- */
bool index_path(const struct account *a, struct arena *ar, const char **out)
{
	*out = arena_cstr(ar, arena_fmt(ar, "%s/%s/%s", a->store->root_path, a->path, INDEX_FILE));
	return true;
}

/* A new index has no rows: every mailbox is taken in, so that sums (quota) hold. */
static bool take_in_all(struct account *a, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct mailbox_dir *list;
	size_t n;

	if (!dirs_list(a, ar, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct dir *d;
		struct index_mailbox m;
		if (!dir_open(a, list[i].dir, &d, err) || (d && !dir_sync(a, d, SYNC_IF_BROKEN, &m, err)))
			return false;
	}
	return index_set_complete(a->hot->index, err);
}

static bool make_index(struct account *a, const char *path, struct err *err)
{
	if (!account_flock(a, err))
		return false;
	/* Somebody may have made it while we waited. */
	if (index_open(path, &a->hot->index, err))
		return true;
	if (err->kind != ERR_NOT_FOUND && err->kind != ERR_CORRUPT)
		return false;
	if (err->kind == ERR_CORRUPT)
		log_err(LOG_WARN, "store.index.rebuild", err);
	return index_create(a->hot->fd, path, &a->hot->index, err);
}

bool account_index(struct account *a, struct err *err)
{
	struct hot_account *h = a->hot;

	if (h->index && h->index->complete && index_is_current(h->index, h->fd))
		return true;
	close_index(h);

	ARENA_SCOPED ar = arena_new();
	const char *path;
	if (!index_path(a, ar, &path))
		return false;
	if (!index_open(path, &h->index, err)) {
		if (err->kind != ERR_NOT_FOUND && err->kind != ERR_CORRUPT)
			return err_while(err, "opening the index of %.*s", STR_ARG(a->address));
		if (!make_index(a, path, err))
			return err_while(err, "making the index of %.*s", STR_ARG(a->address));
	}
	h->index->slab = &a->store->slab;
	if (h->index->complete)
		return true;
	if (account_flock(a, err) && take_in_all(a, err))
		return true;
	close_index(h);
	return err_while(err, "filling the index of %.*s", STR_ARG(a->address));
}

/* With the flock; other processes notice by the inode. */
bool account_index_remove(struct account *a, struct err *err)
{
	static const char *const names[] = {INDEX_FILE "-wal", INDEX_FILE "-shm", INDEX_FILE};

	a->hot->held_n = 0;
	close_index(a->hot);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (file_unlinkat(a->hot->fd, names[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, "remove %s", names[i]);
	return true;
}

void account_index_failed(struct account *a, const struct err *err)
{
	struct hot_account *h = a->hot;
	struct err late;

	if (!h->index)
		return;
	index_rollback(h->index);
	h->held_n = 0;
	close_index(h);
	if (err->kind != ERR_CORRUPT)
		return;
	log_err(LOG_WARN, "store.index.corrupt", err);
	/* Its name goes, so that every process makes or finds a new one. */
	if (!account_flock(a, &late) || !account_index_remove(a, &late))
		log_err(LOG_WARN, "store.index.corrupt", &late);
}

/* ---- open and close --------------------------------------------------------------------- */
struct str slab_str(struct slab *s, struct str text)
{
	char *p = slab_alloc(s, text.n + 1);

	if (text.n)
		memcpy(p, text.p, text.n);
	p[text.n] = 0;
	return (struct str){p, text.n};
}

void slab_str_free(struct str text)
{
	slab_free((void *)(uintptr_t)text.p, text.n + 1);
}

/* A part of an address as a file name: what a shell or a path could take amiss is written %XX. */
static void put_part(struct buf *out, struct str part)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < part.n; i++) {
		unsigned char c = (unsigned char)part.p[i];
		bool plain = c >= 0x80 || ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) ||
			     (c && strchr("_-+=@", c)) || (c == '.' && i > 0);
		if (plain) {
			buf_byte(out, (char)c);
			continue;
		}
		buf_byte(out, '%');
		buf_byte(out, hex[c >> 4]);
		buf_byte(out, hex[c & 15]);
	}
}

/* %d domain, %n local-part, %u the whole address. */
bool account_path(const char *template, struct str address, struct buf *out, struct err *err)
{
	size_t at = str_find_last_byte(address, '@');

	if (at == STR_NPOS || at == 0 || at + 1 == address.n)
		return err_set(err, ERR_SYNTAX, "account address has no domain");
	for (const char *p = template; *p; p++) {
		if (*p != '%' || !p[1]) {
			buf_byte(out, *p);
			continue;
		}
		p++;
		if (*p == 'd')
			put_part(out, str_from(address, at + 1));
		else if (*p == 'n')
			put_part(out, str_sub(address, 0, at));
		else if (*p == 'u')
			put_part(out, address);
		else if (*p == '%')
			buf_byte(out, '%');
		else
			return err_set(err, ERR_SYNTAX, "mail path template has an unknown %%%c", *p);
	}
	return true;
}

static void account_free(struct account *a)
{
	pool_drop(a);
	lock_fini(&a->lock);
	lock_fini(&a->shelf);
	slab_str_free(a->address);
	slab_str_free(a->language);
	slab_str_free(str_of(a->path));
	slab_free(a, sizeof(*a));
}

static struct account *account_new(struct store *s, const struct account_facts *f, struct str path)
{
	struct account *a = slab_alloc(&s->slab, sizeof(*a));

	a->store = s;
	a->refs = 1;
	a->id = f->id;
	a->address = slab_str(&s->slab, f->address);
	a->language = slab_str(&s->slab, f->language);
	a->path = slab_str(&s->slab, path).p;
	lock_init(&a->lock, LOCK_ACCOUNT);
	lock_init(&a->shelf, LOCK_MAILBOX);
	return a;
}

static struct account **bucket(struct store *s, struct str address)
{
	return &s->accounts[str_hash(address) & (s->accounts_cap - 1)];
}

struct account *account_open_already(struct store *s, struct str address)
{
	struct account *a = s->accounts_cap ? *bucket(s, address) : NULL;

	while (a && !str_eq(a->address, address))
		a = a->next_hashed;
	return a;
}

static void grow(struct store *s)
{
	struct account **old = s->accounts;
	size_t old_cap = s->accounts_cap;

	s->accounts_cap = old_cap ? 2 * old_cap : 64;
	s->accounts = mem_zalloc(s->accounts_cap * sizeof(struct account *));
	for (size_t i = 0; i < old_cap; i++)
		while (old[i]) {
			struct account *a = old[i];
			old[i] = a->next_hashed;
			struct account **at = bucket(s, a->address);
			a->next_hashed = *at;
			*at = a;
		}
	free(old);
}

static void add(struct store *s, struct account *a)
{
	if (s->accounts_n >= s->accounts_cap)
		grow(s);
	struct account **at = bucket(s, a->address);
	a->next_hashed = *at;
	*at = a;
	s->accounts_n++;
}

/* Found by its path: only its address is known, until somebody opens it who knows more. */
struct account *account_of_path(struct store *s, struct str address, struct str path)
{
	const struct account_facts f = {.address = address, .language = STR("en")};

	LOCK_SCOPED(&s->lock);
	struct account *a = account_open_already(s, address);
	if (a)
		return account_ref(a);
	a = account_new(s, &f, path);
	a->made = true;
	a->no_facts = true;
	add(s, a);
	return a;
}

/* With store->lock. The scan that has it does not ask for its language. */
static void learn_facts(struct account *a, const struct account_facts *f)
{
	if (!a->no_facts)
		return;
	slab_str_free(a->language);
	a->language = slab_str(&a->store->slab, f->language);
	a->id = f->id;
	__atomic_store_n(&a->made, false, __ATOMIC_RELEASE); /* tidied at the first opening, as others are */
	a->no_facts = false;
}

bool account_open(struct store *s, const struct account_facts *f, struct account **out, struct err *err)
{
	BUF_SCOPED path = {0};

	if (!account_path(s->template, f->address, &path, err) || !house_start(s, err))
		return false;

	lock_take(&s->lock);
	replay_end(s);
	struct account *a = account_open_already(s, f->address);
	if (a) {
		account_ref(a);
		learn_facts(a, f);
	} else {
		a = account_new(s, f, buf_str(&path));
		add(s, a);
	}
	__atomic_store_n(&a->quota_bytes, f->quota_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&a->quota_messages, f->quota_messages, __ATOMIC_RELAXED);
	lock_drop(&s->lock);

	if (!account_make(a, err)) {
		account_close(a);
		return err_while(err, "opening account %.*s", STR_ARG(f->address));
	}
	*out = a;
	return true;
}

struct account *account_ref(struct account *a)
{
	__atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
	return a;
}

/* The object stays while its files are open in the pool: deliveries open and close all the time. */
void account_close(struct account *a)
{
	if (a)
		__atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL);
}

bool account_maildrop_lock(struct account *a)
{
	return !__atomic_exchange_n(&a->maildrop, true, __ATOMIC_ACQ_REL);
}

void account_maildrop_unlock(struct account *a)
{
	__atomic_store_n(&a->maildrop, false, __ATOMIC_RELEASE);
}

static bool is_cold(struct account *a)
{
	lock_take(&a->store->pool);
	bool cold = !a->hot;
	lock_drop(&a->store->pool);
	return cold;
}

void accounts_sweep(struct store *s, bool all)
{
	lock_take(&s->lock);
	for (size_t i = 0; i < s->accounts_cap; i++)
		for (struct account **at = &s->accounts[i]; *at;) {
			struct account *a = *at;
			if (__atomic_load_n(&a->refs, __ATOMIC_ACQUIRE) || (!all && !is_cold(a))) {
				at = &a->next_hashed;
				continue;
			}
			*at = a->next_hashed;
			s->accounts_n--;
			account_free(a);
		}
	lock_drop(&s->lock);
}

bool account_is_limited(const struct account *a)
{
	return __atomic_load_n(&a->quota_bytes, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&a->quota_messages, __ATOMIC_RELAXED);
}

bool account_quota(struct account *a, struct quota_use *out, struct err *err)
{
	if (!account_lock(a, USE_READ, err))
		return false;
	bool ok = account_index(a, err);
	uint64_t bytes = 0, messages = 0;
	if (ok && !index_usage(a->hot->index, &bytes, &messages, err)) {
		account_index_failed(a, err);
		ok = false;
	}
	account_unlock(a);
	if (ok)
		*out = (struct quota_use){bytes, messages,
					  __atomic_load_n(&a->quota_bytes, __ATOMIC_RELAXED),
					  __atomic_load_n(&a->quota_messages, __ATOMIC_RELAXED)};
	return ok;
}
