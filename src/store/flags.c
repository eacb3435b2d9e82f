/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/flags.c: keywords and STORE. A flag is a letter of the file's name: each change is a rename,
 * under the flock and the mark, then one index transaction for all.
 */
#include "base/log.h"
#include "store/store_int.h"
#include <errno.h>

bool keyword_bit(struct account *a, struct dir *d, struct str name, bool add, unsigned *flags,
		 uint32_t *keywords, struct err *err)
{
	if (str_eq_nocase(name, STR("$Forwarded"))) {
		*flags |= FLAG_FORWARDED; /* has a letter of its own in Maildir: P */
		return true;
	}
	if (!dir_keywords(a, d, err))
		return false;
	int bit = keywords_find(&d->keywords, name);
	if (bit < 0 && !add)
		return true;
	if (bit < 0) {
		/* On disk before any name has the letter (trap 17). */
		if (!keywords_add(d->fd, d->arena, &d->keywords, name, &bit, err))
			return false;
		d->state.keywords_n = (uint8_t)d->keywords.n;
	}
	*keywords |= UINT32_C(1) << bit;
	return true;
}

struct storing {
	struct view *v;
	struct account *a;
	struct dir *d;
	const struct flag_change *c;
	uint32_t marks; /* of the change */
	struct index_mailbox m;
	struct index_edit edit;
	struct index_reader reader;
	struct dir_change change;
	bool began;
	bool committed; /* the index says what was renamed */
	bool moved;     /* a file was not under its name: look at the directory again */
	struct arena *ar;
	struct uids modified;
};

static uint32_t changed_marks(const struct storing *s, uint32_t marks)
{
	switch (s->c->op) {
	case FLAGS_SET:
		return s->marks;
	case FLAGS_ADD:
		return marks | s->marks;
	case FLAGS_REMOVE:
		return marks & ~s->marks;
	}
	return marks;
}

static bool begin(struct storing *s, struct err *err)
{
	if (s->began)
		return true;
	if (!change_begin(s->d, 0, NULL, &s->change, err))
		return false;
	s->began = true;
	return true;
}

static bool store_one(struct storing *s, const struct hot *h, const struct cold *c, struct err *err)
{
	uint32_t marks = changed_marks(s, h->marks);
	char from[CUR_PATH_MAX], to[CUR_PATH_MAX];

	if (s->c->conditional && h->modseq > s->c->unchanged_since) {
		uids_add(s->ar, &s->modified, h->uid);
		return true;
	}
	if (marks == h->marks)
		return true;

	struct hot after = *h;
	after.marks = marks;
	if (!cur_path(s->d, h, c, from) || !cur_path(s->d, &after, c, to))
		return err_set(err, ERR_LIMIT, "a file name is too long");
	if (!begin(s, err))
		return false;
	if (file_renameat_noreplace(s->d->fd, from, s->d->fd, to) < 0) {
		if (errno != ENOENT)
			return err_sys(err, "rename %s to %s", from, to);
		s->moved = true;
		return true;
	}
	return edit_marks(&s->edit, h->uid, marks, err);
}

static bool store_all(struct storing *s, struct uid_set uids, struct err *err)
{
	struct hot h;
	struct cold c;
	bool found;

	for (size_t i = 0; i < uids.n; i++)
		for (uint32_t uid = uids.r[i].first; uid && uid <= uids.r[i].last; uid = h.uid + 1) {
			if (!index_find_next(&s->reader, uid, &h, &c, &found, err))
				return false;
			if (!found || h.uid > uids.r[i].last)
				break;
			if (!store_one(s, &h, &c, err))
				return false;
		}
	return true;
}

static bool wanted_marks(struct storing *s, struct err *err)
{
	unsigned flags = s->c->flags;
	uint32_t keywords = 0;

	for (size_t i = 0; i < s->c->keywords_n; i++)
		if (!keyword_bit(s->a, s->d, s->c->keywords[i], s->c->op != FLAGS_REMOVE, &flags,
				 &keywords, err))
			return false;
	s->marks = marks_of(flags, keywords);
	return true;
}

/* What was renamed is in the index, whatever stopped the rest. */
static bool in_tx(struct storing *s, struct uid_set uids, struct err *err)
{
	struct err late;

	if (!next_modseq(s->a, s->d, &s->edit.modseq, err))
		return false;
	bool ok = store_all(s, uids, err);
	if (!ok && err->kind == ERR_CORRUPT)
		return false;
	s->committed =
		!s->edit.touched || (edit_end(&s->edit, &late) && index_commit(s->a->hot->index, &late));
	if (!s->committed)
		*err = late;
	return ok && s->committed;
}

static bool run(struct storing *s, struct uid_set uids, struct err *err)
{
	if (!account_index(s->a, err) || !view_dir(s->v, &s->d, err) ||
	    !dir_sync(s->a, s->d, SYNC_IF_NEEDED, &s->m, err) || !wanted_marks(s, err))
		return false;

	struct index *ix = s->a->hot->index;
	s->edit = (struct index_edit){.ix = ix, .mailbox = &s->m};
	s->reader = (struct index_reader){.ix = ix, .row = s->m.row};
	if (!index_begin(ix, err))
		return false;
	bool ok = in_tx(s, uids, err);
	index_reader_end(&s->reader);
	edit_abort(&s->edit);
	index_rollback(ix); /* nothing when it was committed */
	if (!s->began || !s->committed)
		return ok; /* the mark stays when the index could not follow */
	if (s->moved)
		s->change.quiet = false;
	struct err late;
	return change_end(s->a, s->d, &s->change, s->m.modseq, ok ? err : &late) && ok;
}

/* The names are the truth: when the index could not follow, it is brought up to date by a scan. */
static bool recover(struct storing *s, struct err *err)
{
	struct dir *d;

	log_err(LOG_WARN, "store.index.failed", err);
	account_index_failed(s->a, err);
	return account_index(s->a, err) && view_dir(s->v, &d, err) &&
	       dir_sync(s->a, d, SYNC_FORCE, &s->m, err);
}

/* Another program may rename while we do: a few attempts, each after a look at the directory. */
static bool attempts(struct storing *s, struct uid_set uids, bool *out_changed, struct err *err)
{
	const struct storing fresh = *s;

	for (int left = 3;; left--) {
		*s = fresh;
		bool ok = run(s, uids, err);
		*out_changed |= s->began;
		bool behind = s->began && !s->committed;
		if (!left || (ok && !s->moved) || (!ok && !behind))
			return ok;
		if (behind ? !recover(s, err) : !dir_sync(s->a, s->d, SYNC_FORCE, &s->m, err))
			return false;
	}
}

bool view_store_flags(struct view *v, struct uid_set uids, const struct flag_change *c, struct arena *ar,
		      struct uid_set *out_modified, uint64_t *out_modseq, struct err *err)
{
	struct account *a = v->account;
	struct storing s = {.v = v, .a = a, .c = c, .ar = ar};
	bool changed = false;

	if (v->read_only)
		return err_set(err, ERR_DENIED, "the mailbox is open read-only");
	uids = uids_normal(ar, uids);
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = attempts(&s, uids, &changed, err);
	if (changed && s.d)
		house_flags_changed(a, s.d);
	account_unlock(a);
	if (changed) {
		house_index_written(a);
		mailbox_changed(a, v->shared->mailbox_id, v->name, v);
	}
	if (!ok)
		return err_while(err, "storing flags in %.*s", STR_ARG(v->name));
	*out_modified = s.modified.set;
	*out_modseq = s.m.modseq;
	return true;
}
