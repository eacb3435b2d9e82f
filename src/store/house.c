/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/house.c: the store's own thread: what nobody should wait for. Directories whose flags
 * changed are fsynced, ceilings of UIDs are extended, WALs are moved into their files, accounts that
 * lie idle are closed, and foreign changes to watched mailboxes (inotify) are told to their views.
 *
 * Started with the first account, so after the sandbox. Sleeps without a deadline when there is
 * nothing to do.
 */
#include "base/clock.h"
#include "base/log.h"
#include "sql/sql.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
	CHECKPOINT_WRITES = 1000,   /* transactions after which a WAL is moved at once, */
	CHECKPOINT_IDLE_MS = 30000, /* or after this */
	CHECK_AGAIN_MS = 15,        /* longer than the tick of mtime */
	POLL_MS = 5000,             /* mailboxes that inotify does not watch */
	EVENT_ROOM = 64 << 10,
	SUMMARIES_MS = 400,     /* after a delivery, and as long as there are more */
};

enum job_kind { JOB_FSYNC, JOB_CEILING, JOB_CHECKPOINT, JOB_CHECK, JOB_SUMMARIES };
struct job {
	struct job *next;
	enum job_kind kind;
	int64_t due_ms;
	struct account *account; /* counted */
	struct str dir_name;     /* NUL-terminated; empty for JOB_CHECKPOINT */
	char mailbox_id[MAILBOX_ID_LEN];
	uint32_t from_uid; /* JOB_SUMMARIES */
};

/* Open addressing; no piece of memory for each. */
struct watch {
	int wd; /* 0: never used, -1: removed */
	struct shared *owner;
};

struct housekeeper {
	struct store *store;
	pthread_t thread;
	int event_fd, inotify_fd;
	struct lock lock; /* class LEAF: guards what follows */
	struct job *jobs;
	struct watch *watches;
	size_t watches_cap, watches_filled; /* filled: used or removed */
	unsigned polled_n;                  /* shared mailboxes without inotify */
	bool stopping;
	bool overflow; /* the thread's own, */
	struct scan *scan;
};

/* ---- jobs ------------------------------------------------------------------------------- */
static void wake(struct housekeeper *k)
{
	uint64_t one = 1;

	if (write(k->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return; /* the counter is full: it is awake */
}

static bool same_job(const struct job *j, enum job_kind kind, const struct account *a,
		     struct str dir_name, const char *id)
{
	return j->kind == kind && j->account == a && str_eq(j->dir_name, dir_name) &&
	       memcmp(j->mailbox_id, id, MAILBOX_ID_LEN) == 0;
}

static struct job *job_new(enum job_kind kind, struct account *a, struct str dir_name, const char *id)
{
	struct job *j = slab_alloc(&a->store->slab, sizeof(*j) + dir_name.n + 1);
	char *copy = (char *)(j + 1);

	if (dir_name.n)
		memcpy(copy, dir_name.p, dir_name.n);
	j->kind = kind;
	j->dir_name = (struct str){copy, dir_name.n};
	j->account = a;
	memcpy(j->mailbox_id, id, MAILBOX_ID_LEN);
	return j;
}

static void job_free(struct job *j)
{
	slab_free(j, sizeof(*j) + j->dir_name.n + 1);
}

/* Once, however often it is asked for; the earlier time counts. With k->lock. */
static bool is_asked(struct housekeeper *k, const struct job *fresh, bool *out_sooner)
{
	for (struct job *j = k->jobs; j; j = j->next)
		if (same_job(j, fresh->kind, fresh->account, fresh->dir_name, fresh->mailbox_id)) {
			*out_sooner = fresh->due_ms < j->due_ms;
			if (*out_sooner)
				j->due_ms = fresh->due_ms;
			if (fresh->from_uid < j->from_uid)
				j->from_uid = fresh->from_uid;
			return true;
		}
	return false;
}

/* The account is counted by the caller's own reference until the job has its own. */
static void add_job_from(struct housekeeper *k, enum job_kind kind, struct account *a, struct str dir_name,
			 const char *id, int64_t in_ms, uint32_t from_uid)
{
	static const char none[MAILBOX_ID_LEN];
	struct job *j = job_new(kind, a, dir_name, id ? id : none);
	bool sooner = true;

	j->from_uid = from_uid;
	j->due_ms = clock_mono_ms() + in_ms;
	lock_take(&k->lock);
	bool known = is_asked(k, j, &sooner);
	if (!known) {
		account_ref(a);
		j->next = k->jobs;
		k->jobs = j;
	}
	lock_drop(&k->lock);
	if (known)
		job_free(j);
	if (sooner)
		wake(k);
}

static void add_job(struct housekeeper *k, enum job_kind kind, struct account *a, struct str dir_name,
		    const char *id, int64_t in_ms)
{
	add_job_from(k, kind, a, dir_name, id, in_ms, 0);
}

void house_summarize(struct account *a, const struct dir *d, uint32_t from)
{
	bool inbox = str_eq(d->name, STR("."));

	__atomic_store_n(&a->placed_ms, clock_mono_ms(), __ATOMIC_RELAXED);
	/* Most are of INBOX: the list of jobs is not searched for each of them. */
	if (inbox && __atomic_exchange_n(&a->summaries_asked, true, __ATOMIC_RELAXED))
		return;
	add_job_from(a->store->housekeeper, JOB_SUMMARIES, a, d->name, NULL, SUMMARIES_MS, from);
}

void house_flags_changed(struct account *a, const struct dir *d)
{
	add_job(a->store->housekeeper, JOB_FSYNC, a, d->name, NULL, FLAG_SYNC_MS);
}

void house_extend_ceiling(struct account *a, const struct dir *d)
{
	add_job(a->store->housekeeper, JOB_CEILING, a, d->name, NULL, 0);
}

void house_index_written(struct account *a)
{
	unsigned n = __atomic_add_fetch(&a->index_writes, 1, __ATOMIC_RELAXED);

	if (n == 1)
		add_job(a->store->housekeeper, JOB_CHECKPOINT, a, STR_NONE, NULL, CHECKPOINT_IDLE_MS);
	else if (n == CHECKPOINT_WRITES)
		add_job(a->store->housekeeper, JOB_CHECKPOINT, a, STR_NONE, NULL, 0);
}

/* ---- doing them ------------------------------------------------------------------------- */
static bool sync_flags(struct job *j, struct err *err)
{
	FD_SCOPED cur = -1;
	struct dir *d;

	if (!account_lock(j->account, USE_READ, err))
		return false;
	bool ok = dir_open(j->account, j->dir_name, &d, err);
	bool there = ok && d;
	if (there)
		cur = file_openat(d->fd, "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	account_unlock(j->account);
	if (!there)
		return ok; /* deleted meanwhile */
	return (cur >= 0 && file_fsync(cur) == 0) || err_sys(err, "fsync cur");
}

static void do_fsync(struct job *j)
{
	struct err err;

	if (!sync_flags(j, &err))
		log_err(LOG_WARN, "store.flags.unsynced", &err);
}

/* The promise is synced outside the lock; then it becomes the ceiling. */
static bool extend(struct job *j, struct err *err)
{
	struct account *a = j->account;
	struct dir *d;
	FD_SCOPED fd = -1;
	uint32_t promise = 0;

	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = dir_open(a, j->dir_name, &d, err);
	if (ok && d && d->state.uidnext < UINT32_MAX - 2 * UID_BLOCK) {
		if (d->state.promise < d->state.uidnext + UID_BLOCK)
			d->state.promise = d->state.uidnext + UID_BLOCK;
		promise = d->state.promise;
		fd = fcntl(d->state_fd, F_DUPFD_CLOEXEC, 0);
		ok = state_write(d->state_fd, &d->state, err) && (fd >= 0 || err_sys(err, "dup"));
	}
	account_unlock(a);
	if (!ok || fd < 0)
		return ok;
	if (file_fdatasync(fd) < 0)
		return err_sys(err, "fdatasync " STATE_FILE);
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	ok = dir_open(a, j->dir_name, &d, err);
	if (ok && d && d->state.ceiling < promise && d->state.promise >= promise) {
		d->state.ceiling = promise;
		ok = state_write(d->state_fd, &d->state, err);
	}
	account_unlock(a);
	return ok;
}

static void do_ceiling(struct job *j)
{
	struct err err;

	if (!extend(j, &err))
		log_err(LOG_WARN, "store.ceiling.failed", &err);
}

/* A handle of its own, opened under the flock (so that file, -wal and -shm belong together), used
 * without any lock. */
static void do_checkpoint(struct job *j)
{
	ARENA_SCOPED ar = arena_new();
	struct account *a = j->account;
	struct index *own = NULL;
	const char *path;
	struct err err;

	__atomic_store_n(&a->index_writes, 0, __ATOMIC_RELAXED);
	if (!account_lock(a, USE_CHANGE, &err))
		return;
	bool ok = index_path(a, ar, &path) && index_open(path, &own, &err);
	account_unlock(a);
	if (ok && !sql_checkpoint(own->db, false, &err))
		log_err(LOG_WARN, "store.index.checkpoint", &err);
	index_close(own);
}

void house_check(struct account *a, const char mailbox_id[MAILBOX_ID_LEN])
{
	add_job(a->store->housekeeper, JOB_CHECK, a, STR("."), mailbox_id, CHECK_AGAIN_MS);
}

static void tell_behind(struct account *a, const struct job *j, const struct dir *d)
{
	LOCK_SCOPED(&a->shelf);

	for (struct shared *s = a->shared; s; s = s->next) {
		if (memcmp(s->mailbox_id, j->mailbox_id, MAILBOX_ID_LEN) != 0)
			continue;
		for (struct view *v = s->views; v; v = v->next) {
			if (!v->armed || !v->watch || !view_is_behind(v, d))
				continue;
			v->armed = false;
			v->watch(v->watch_ctx);
		}
	}
}

/* A directory of a watched mailbox was touched, by us or by another program: the scan is done here,
 * so that only what changed something is told. */
static void do_check(struct job *j)
{
	struct account *a = j->account;
	struct index_mailbox m;
	struct dir *d;
	struct err err;

	if (!account_lock(a, USE_READ, &err))
		return;
	bool ok = dir_open_id(a, j->mailbox_id, j->dir_name, &d, &err);
	if (ok && d && (d->state.marked || dir_is_foreign(d)))
		ok = account_index(a, &err) && dir_sync(a, d, SYNC_IF_NEEDED, &m, &err);
	if (ok && d)
		tell_behind(a, j, d);
	account_unlock(a);
	if (!ok || !d)
		shared_tell(a, j->mailbox_id, NULL);
}

/* A piece at a time: others wait behind it. Only a cache, so nobody is told of a failure. */
static void do_summaries(struct job *j)
{
	struct account *a = j->account;
	int64_t quiet_ms = clock_mono_ms() - __atomic_load_n(&a->placed_ms, __ATOMIC_RELAXED);
	struct err err;

	if (quiet_ms < SUMMARIES_MS) {
		add_job_from(a->store->housekeeper, JOB_SUMMARIES, a, j->dir_name, NULL,
			     SUMMARIES_MS - quiet_ms, j->from_uid);
		return;
	}
	__atomic_store_n(&a->summaries_asked, false, __ATOMIC_RELAXED);
	if (summaries_catch_up(a, j->dir_name, &j->from_uid, &err) && j->from_uid)
		add_job_from(a->store->housekeeper, JOB_SUMMARIES, a, j->dir_name, NULL, 0, j->from_uid);
}

static void do_job(struct job *j)
{
	switch (j->kind) {
	case JOB_FSYNC:
		do_fsync(j);
		break;
	case JOB_CEILING:
		do_ceiling(j);
		break;
	case JOB_CHECKPOINT:
		do_checkpoint(j);
		break;
	case JOB_CHECK:
		do_check(j);
		break;
	case JOB_SUMMARIES:
		do_summaries(j);
		break;
	}
	account_close(j->account);
	job_free(j);
}

static struct job *next_due(struct housekeeper *k, int64_t now_ms, int64_t *out_next_ms)
{
	LOCK_SCOPED(&k->lock);
	struct job **first = NULL;

	for (struct job **at = &k->jobs; *at; at = &(*at)->next)
		if (!first || (*at)->due_ms < (*first)->due_ms)
			first = at;
	*out_next_ms = first ? (*first)->due_ms : INT64_MAX;
	if (!first || (*first)->due_ms > now_ms)
		return NULL;
	struct job *j = *first;
	*first = j->next;
	return j;
}

/* ---- watching --------------------------------------------------------------------------- */
static struct watch *watch_slot(struct housekeeper *k, int wd)
{
	for (size_t i = (size_t)wd * 0x9e3779b1u;; i++) {
		struct watch *w = &k->watches[i & (k->watches_cap - 1)];
		if (w->wd == wd || w->wd == 0)
			return w;
	}
}

static struct watch *watch_find(struct housekeeper *k, int wd)
{
	struct watch *w = k->watches_cap ? watch_slot(k, wd) : NULL;

	return w && w->wd == wd ? w : NULL;
}

static void watch_put(struct housekeeper *k, int wd, struct shared *owner)
{
	if (2 * (k->watches_filled + 1) > k->watches_cap) {
		struct watch *old = k->watches;
		size_t old_cap = k->watches_cap, used = 0;
		for (size_t i = 0; i < old_cap; i++)
			used += old[i].wd > 0;
		k->watches_cap = 64;
		while (k->watches_cap < 4 * (used + 1))
			k->watches_cap *= 2;
		k->watches = mem_zalloc(k->watches_cap * sizeof(*k->watches));
		k->watches_filled = used;
		for (size_t i = 0; i < old_cap; i++)
			if (old[i].wd > 0)
				*watch_slot(k, old[i].wd) = old[i];
		free(old);
	}
	struct watch *w = watch_slot(k, wd);
	k->watches_filled += w->wd == 0;
	*w = (struct watch){wd, owner};
}

/* By path, as SQLite does: there is no call that takes a descriptor. With k->lock. A directory has one
 * descriptor: who watches it last owns that. */
static int add_watch(struct housekeeper *k, struct shared *s, const char *path)
{
	int wd = inotify_add_watch(k->inotify_fd, path,
				   IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_CLOSE_WRITE |
					   IN_ONLYDIR);

	if (wd > 0)
		watch_put(k, wd, s);
	return wd > 0 ? wd : -1;
}

void house_watch(struct shared *s)
{
	struct account *a = s->account;
	struct housekeeper *k = a->store->housekeeper;
	ARENA_SCOPED ar = arena_new();

	lock_take(&a->shelf);
	struct str dir = arena_fmt(ar, "%s/%s/%.*s", a->store->root_path, a->path, STR_ARG(s->dir_name));
	lock_drop(&a->shelf);
	const char *cur = arena_cstr(ar, arena_cat(ar, dir, STR("/cur")));
	const char *fresh = arena_cstr(ar, arena_cat(ar, dir, STR("/new")));

	lock_take(&k->lock);
	if (s->watch_cur < 0) {
		s->watch_cur = add_watch(k, s, cur);
		s->watch_new = add_watch(k, s, fresh);
	}
	bool polled = s->watch_cur < 0 || s->watch_new < 0;
	if (polled && !s->polled)
		k->polled_n++;
	s->polled |= polled;
	lock_drop(&k->lock);
	if (polled)
		wake(k);
}

static void remove_watch(struct housekeeper *k, const struct shared *s, int wd)
{
	struct watch *w = wd > 0 ? watch_find(k, wd) : NULL;

	if (!w || w->owner != s)
		return;
	inotify_rm_watch(k->inotify_fd, wd);
	*w = (struct watch){-1, NULL};
}

void house_unwatch(struct shared *s)
{
	struct housekeeper *k = s->account->store->housekeeper;

	LOCK_SCOPED(&k->lock);
	remove_watch(k, s, s->watch_cur);
	remove_watch(k, s, s->watch_new);
	s->watch_cur = s->watch_new = -1;
	if (s->polled)
		k->polled_n--;
	s->polled = false;
}

static void on_event(struct housekeeper *k, const struct inotify_event *e)
{
	char id[MAILBOX_ID_LEN];

	lock_take(&k->lock);
	struct watch *w = e->wd > 0 ? watch_find(k, e->wd) : NULL;
	struct account *a = w ? w->owner->account : NULL;
	if (a) {
		memcpy(id, w->owner->mailbox_id, sizeof(id));
		__atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
	}
	lock_drop(&k->lock);
	if (!a)
		return;
	add_job(k, JOB_CHECK, a, STR("."), id, 0);
	account_close(a);
}

static void read_events(struct housekeeper *k)
{
	static const size_t head = sizeof(struct inotify_event);
	char *room = mem_alloc(EVENT_ROOM);
	ssize_t n;

	while ((n = read(k->inotify_fd, room, EVENT_ROOM)) > 0)
		for (size_t at = 0; at + head <= (size_t)n;) {
			const struct inotify_event *e = (const void *)(room + at);
			if (e->mask & IN_Q_OVERFLOW)
				k->overflow = true;
			else
				on_event(k, e);
			at += head + e->len;
		}
	free(room);
}

/* Events were lost, or inotify has no room: everything that is watched is looked at. */
static void check_all(struct housekeeper *k)
{
	struct store *st = k->store;

	lock_take(&st->lock);
	for (size_t i = 0; i < st->accounts_cap; i++)
		for (struct account *a = st->accounts[i]; a; a = a->next_hashed) {
			LOCK_SCOPED(&a->shelf);
			for (struct shared *s = a->shared; s; s = s->next)
				if (k->overflow || s->polled)
					add_job(k, JOB_CHECK, a, STR("."), s->mailbox_id, 0);
		}
	lock_drop(&st->lock);
	k->overflow = false;
}

/* ---- the thread ------------------------------------------------------------------------- */
static int time_to(int64_t due_ms, int64_t now_ms)
{
	if (due_ms == INT64_MAX)
		return -1;
	return due_ms <= now_ms ? 0 : due_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(due_ms - now_ms);
}

static bool anything_open(struct store *s)
{
	lock_take(&s->pool);
	bool open = s->hot_n > 0;
	lock_drop(&s->pool);
	return open;
}

struct round {
	int64_t next_ms; /* of the jobs */
	int64_t sweep_ms, poll_ms, kept_ms, scan_ms;
};

static int64_t scan(struct housekeeper *k, int64_t now_ms)
{
	int64_t interval_ms = __atomic_load_n(&k->store->scan_ms, __ATOMIC_RELAXED);

	if (interval_ms && !k->scan)
		k->scan = scan_new(k->store, interval_ms);
	return k->scan ? scan_step(k->scan, now_ms) : INT64_MAX;
}

static void do_round(struct housekeeper *k, struct round *r)
{
	int64_t now = clock_mono_ms();
	struct job *j;

	while ((j = next_due(k, now, &r->next_ms)))
		do_job(j);
	r->kept_ms = kept_sweep(k->store, false);
	r->scan_ms = scan(k, now);
	if (anything_open(k->store)) {
		if (r->sweep_ms == INT64_MAX) {
			r->sweep_ms = now + IDLE_CLOSE_MS / 2;
		} else if (now >= r->sweep_ms) {
			pool_close_idle(k->store, IDLE_CLOSE_MS);
			accounts_sweep(k->store, false);
			r->sweep_ms = anything_open(k->store) ? now + IDLE_CLOSE_MS / 2 : INT64_MAX;
		}
	}
	lock_take(&k->lock);
	bool polls = k->polled_n > 0;
	lock_drop(&k->lock);
	if (k->overflow || (polls && now >= r->poll_ms)) {
		check_all(k);
		r->poll_ms = now + POLL_MS;
		r->next_ms = now;
	}
	if (!polls)
		r->poll_ms = INT64_MAX;
	else if (r->poll_ms == INT64_MAX)
		r->poll_ms = now + POLL_MS;
}

static bool is_stopping(struct housekeeper *k)
{
	LOCK_SCOPED(&k->lock);

	return k->stopping;
}

static void *run(void *arg)
{
	struct housekeeper *k = arg;
	struct round r = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
	struct pollfd fds[2] = {{k->event_fd, POLLIN, 0}, {k->inotify_fd, POLLIN, 0}};
	uint64_t count;

	while (!is_stopping(k)) {
		do_round(k, &r);
		int64_t due = r.next_ms < r.sweep_ms ? r.next_ms : r.sweep_ms;
		if (r.poll_ms < due)
			due = r.poll_ms;
		if (r.kept_ms < due)
			due = r.kept_ms;
		if (r.scan_ms < due)
			due = r.scan_ms;
		if (poll(fds, k->inotify_fd >= 0 ? 2 : 1, time_to(due, clock_mono_ms())) <= 0)
			continue;
		if (fds[0].revents && read(k->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			break;
		if (fds[1].revents)
			read_events(k);
	}
	return NULL;
}

static void finish_jobs(struct housekeeper *k)
{
	/* Flags become durable; the rest is only tidying. */
	while (k->jobs) {
		struct job *j = k->jobs;
		k->jobs = j->next;
		if (j->kind == JOB_FSYNC)
			do_fsync(j);
		account_close(j->account);
		job_free(j);
	}
}

static void house_free(struct housekeeper *k)
{
	scan_free(k->scan);
	fd_close(&k->event_fd);
	fd_close(&k->inotify_fd);
	free(k->watches);
	lock_fini(&k->lock);
	free(k);
}

static bool start(struct store *s, struct err *err)
{
	struct housekeeper *k = mem_new(struct housekeeper);

	k->store = s;
	lock_init(&k->lock, LOCK_LEAF);
	k->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* -1: polled */
	k->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->event_fd < 0) {
		err_sys(err, "eventfd");
		house_free(k);
		return false;
	}
	__atomic_store_n(&s->housekeeper, k, __ATOMIC_RELEASE);
	int failed = pthread_create(&k->thread, NULL, run, k);
	if (!failed)
		return true;
	__atomic_store_n(&s->housekeeper, NULL, __ATOMIC_RELEASE);
	house_free(k);
	errno = failed;
	return err_sys(err, "start a thread");
}

bool house_start(struct store *s, struct err *err)
{
	if (__atomic_load_n(&s->housekeeper, __ATOMIC_ACQUIRE))
		return true;
	LOCK_SCOPED(&s->lock);
	return s->housekeeper || start(s, err);
}

void house_stop(struct store *s)
{
	struct housekeeper *k = s->housekeeper;

	if (!k)
		return;
	lock_take(&k->lock);
	k->stopping = true;
	lock_drop(&k->lock);
	wake(k);
	pthread_join(k->thread, NULL);
	finish_jobs(k);
	kept_sweep(s, true);
	accounts_sweep(s, true);
	s->housekeeper = NULL;
	house_free(k);
}

void house_wake(struct store *s)
{
	struct housekeeper *k = __atomic_load_n(&s->housekeeper, __ATOMIC_ACQUIRE);

	if (k)
		wake(k);
}

bool store_scan(struct store *s, int64_t interval_ms, struct err *err)
{
	__atomic_store_n(&s->scan_ms, interval_ms, __ATOMIC_RELAXED);
	if (!interval_ms)
		return true;
	if (!house_start(s, err))
		return false;
	house_wake(s);
	return true;
}
