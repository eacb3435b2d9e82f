/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/store.c: the store itself: options, power losses counted, checkpoints, notices.
 *
 * The file "pabal-run" in the mail directory holds the number of power losses (the epoch) and the
 * boot in which it was counted last: whichever process starts first after one counts it. A mailbox
 * whose state has another epoch is looked at closely when it is opened.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/scan.h"
#include "journal/journal.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define RUN_FILE "pabal-run"
#define BOOT_FORCED "forced"
enum { RUN_FILE_MAX = 4096, BOOT_ID_MAX = 64 };

/* ---- power losses ----------------------------------------------------------------------- */
/* PABAL_BOOT_ID: for tests that make a power loss within one boot. */
static struct str boot_id(struct arena *ar)
{
	const char *set = getenv("PABAL_BOOT_ID");
	BUF_SCOPED file = {0};
	struct err err;

	if (set)
		return arena_str(ar, str_of(set));
	if (!file_read_whole(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &file, &err))
		return STR("unknown");
	return arena_str(ar, str_trim(buf_str(&file)));
}

static void parse_run(struct str file, uint64_t *out_epoch, struct str *out_boot)
{
	while (file.p) {
		struct str line = str_cut(&file, '\n');
		struct str key = str_cut(&line, ' ');
		uint64_t v;
		if (str_eq(key, STR("epoch")) && str_u64(line, UINT64_MAX, &v))
			*out_epoch = v;
		else if (str_eq(key, STR("boot")))
			*out_boot = line;
	}
}

static bool count_epoch(struct store *s, bool cold, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	BUF_SCOPED file = {0};
	struct str now = boot_id(ar), then = STR_NONE;

	if (!file_read_whole(s->root_fd, RUN_FILE, RUN_FILE_MAX, &file, err) &&
	    err->kind != ERR_NOT_FOUND)
		return false;
	s->epoch = 1;
	parse_run(buf_str(&file), &s->epoch, &then);
	bool known = !str_eq(now, STR("unknown")); /* else every process counts: UIDs leap more often */
	if (then.p && str_eq(then, now) && (known || !cold))
		return true;
	/* What another process found about the disk holds for us too, until all begin cold. */
	if (str_eq(then, STR(BOOT_FORCED)) && !cold) {
		s->sync_failed = true;
		return true;
	}
	if (cold && then.p)
		s->epoch++;
	struct str text =
		arena_fmt(ar, "epoch %llu\nboot %.*s\n", (unsigned long long)s->epoch, STR_ARG(now));
	return file_replace_whole(s->root_fd, RUN_FILE, text, 0600, err);
}

/* Processes start together: one counts. */
static bool read_epoch(struct store *s, bool cold, struct err *err)
{
	while (flock(s->root_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock the mail directory");
	bool ok = count_epoch(s, cold, err);
	flock(s->root_fd, LOCK_UN);
	return ok;
}

bool store_force_cold(int root_fd, struct err *err)
{
	BUF_SCOPED file = {0};
	if (!file_read_whole(root_fd, RUN_FILE, RUN_FILE_MAX, &file, err))
		return err->kind == ERR_NOT_FOUND;
	ARENA_SCOPED ar = arena_new();
	uint64_t epoch = 1;
	struct str boot = STR_NONE;
	parse_run(buf_str(&file), &epoch, &boot);
	struct str text = arena_fmt(ar, "epoch %llu\nboot " BOOT_FORCED "\n", (unsigned long long)epoch);
	return file_replace_whole(root_fd, RUN_FILE, text, 0600, err);
}

bool store_is_forced_cold(int root_fd)
{
	BUF_SCOPED file = {0};
	uint64_t epoch;
	struct str boot = STR_NONE;
	struct err none;

	if (!file_read_whole(root_fd, RUN_FILE, RUN_FILE_MAX, &file, &none))
		return false;
	parse_run(buf_str(&file), &epoch, &boot);
	return str_eq(boot, STR(BOOT_FORCED));
}

/* ---- new and free ----------------------------------------------------------------------- */
static char *cstr_dup(const char *p)
{
	size_t n = p ? strlen(p) : 0;
	char *copy = mem_alloc(n + 1);

	if (n)
		memcpy(copy, p, n);
	copy[n] = 0;
	return copy;
}

bool store_new(const struct store_options *o, struct store **out, struct err *err)
{
	struct store *s = mem_new(struct store);

	s->o = *o;
	s->root_path = cstr_dup(o->root_path);
	s->template = cstr_dup(o->template ? o->template : "%d/%n/Maildir");
	char *name = cstr_dup(o->journal_name);
	s->journal_name = str_of(name);
	lock_init(&s->lock, LOCK_STORE);
	lock_init(&s->pool, LOCK_INDEX);
	cond_init(&s->checkpoint_done);
	slab_init(&s->slab);
	s->started = id_new();
	s->root_fd = file_openat(o->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (s->root_fd < 0)
		err_sys(err, "open the mail directory");
	if (s->root_fd < 0 || !read_epoch(s, o->cold, err)) {
		store_free(s);
		return false;
	}
	*out = s;
	return true;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	house_stop(s);
	replay_end(s);
	accounts_sweep(s, true);
	free(s->accounts);
	slab_fini(&s->slab);
	fd_close(&s->root_fd);
	cond_fini(&s->checkpoint_done);
	lock_fini(&s->pool);
	lock_fini(&s->lock);
	free((char *)s->journal_name.p);
	free((char *)s->template);
	free((char *)s->root_path);
	free(s);
}

/* Some file systems have no O_TMPFILE: then a name for an instant. */
int store_scratch_file(struct store *s, struct err *err)
{
	int fd = file_openat(s->root_fd, ".", O_RDWR | O_TMPFILE, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
		if (fd < 0)
			err_sys(err, "create a scratch file");
		return fd;
	}
	struct id id = id_new();
	char name[ID_LEN + 16];
	snprintf(name, sizeof(name), ".scratch-%.*s", ID_LEN, id.c);
	fd = file_openat(s->root_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		err_sys(err, "create a scratch file");
	else
		file_unlinkat(s->root_fd, name, 0);
	return fd;
}

/* ---- checkpoints ------------------------------------------------------------------------ */
/* After a failure nothing more is released: the kernel reports it once and forgets the pages, so a
 * later success proves nothing. A restart that recovers as after power loss makes the files again. */
bool store_syncfs(struct store *s, struct err *err)
{
	if (__atomic_load_n(&s->sync_failed, __ATOMIC_ACQUIRE))
		return err_set(err, ERR_IO,
			       "the disk failed before; nothing is released until a restart");
	if (file_syncfs(s->root_fd) == 0)
		return true;
	err_sys(err, "syncfs of the mail directory");
	store_distrust(s, err);
	return false;
}

void store_distrust(struct store *s, const struct err *why)
{
	struct err marker;

	__atomic_store_n(&s->sync_failed, true, __ATOMIC_RELEASE);
	if (!store_force_cold(s->root_fd, &marker))
		log_err(LOG_ERROR, "store.cold.unmarked", &marker);
	log_err(LOG_ERROR, "store.syncfs.failed", why);
}

static void begin_checkpoint(struct store *s)
{
	LOCK_SCOPED(&s->lock);

	while (s->checkpointing)
		cond_wait(&s->checkpoint_done, &s->lock);
	s->checkpointing = true;
}

static void end_checkpoint(struct store *s)
{
	LOCK_SCOPED(&s->lock);

	s->checkpointing = false;
	cond_broadcast(&s->checkpoint_done);
}

/* Files were renamed before their records were queued: what is committed now is in the page cache,
 * and after syncfs on disk. */
static bool checkpoint(struct store *s, uint64_t keep_from, struct str extra, struct err *err)
{
	struct journal *j = s->o.journal;

	if (!j)
		return store_syncfs(s, err);
	/* Lazy records too, so that what was just placed is covered; without them it is the next time. */
	struct err late;
	if (!journal_flush(j, &late))
		log_err(LOG_WARN, "store.checkpoint.partial", &late);
	uint64_t p = journal_committed(j) + 1;
	if (keep_from && keep_from < p)
		p = keep_from;
	if (!store_syncfs(s, err))
		return false;
	if (p < journal_watermark(j))
		p = journal_watermark(j);
	return journal_checkpoint(j, p, extra, err);
}

bool store_checkpoint(struct store *s, uint64_t keep_from, struct str extra, struct err *err)
{
	begin_checkpoint(s);
	bool ok = checkpoint(s, keep_from, extra, err);
	end_checkpoint(s);
	return ok;
}

/* For stores whose role has no settle(): one journal, whose checkpoints carry nothing else. */
bool store_settle_own(struct store *s, uint64_t seq, struct err *err)
{
	struct journal *j = s->o.journal;

	if (!store_checkpoint(s, 0, STR_NONE, err))
		return false;
	return !j || seq == UINT64_MAX || journal_watermark(j) > seq ||
	       err_set(err, ERR_TEMP, "the journal is behind");
}

/* ---- notices ---------------------------------------------------------------------------- */
void store_notice(struct store *s, struct str account, struct str mailbox)
{
	lock_take(&s->lock);
	struct account *a = account_open_already(s, account);
	if (a)
		account_ref(a);
	lock_drop(&s->lock);
	if (!a)
		return;
	shared_tell_name(a, mailbox);
	account_close(a);
}
