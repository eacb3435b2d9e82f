/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/change.c: what every change to a mailbox begins and ends with (DESIGN section 3): UIDs are
 * taken and the mark is set in the state file before the first rename; the mark goes after the
 * index agrees. Whoever finds the mark scans.
 */
#include "base/clock.h"
#include "store/maildir/listing.h"
#include "store/store_int.h"

enum { UID_MAX = UINT32_MAX - UID_BLOCK };

/* First a promise on disk, then the ceiling: another process may use what it reads there. */
bool ceiling_extend(struct dir *d, uint32_t uids, struct err *err)
{
	uint32_t wanted = d->state.uidnext + uids + UID_BLOCK;

	if (wanted > d->state.promise) {
		d->state.promise = wanted;
		if (!state_write(d->state_fd, &d->state, err))
			return false;
	}
	if (file_fdatasync(d->state_fd) < 0)
		return err_sys(err, "fdatasync " STATE_FILE);
	d->state.ceiling = d->state.promise;
	return state_write(d->state_fd, &d->state, err);
}

bool change_begin(struct dir *d, uint32_t n, uint32_t *out_first, struct dir_change *c, struct err *err)
{
	if (d->state.uidnext > UID_MAX || n > UID_MAX - d->state.uidnext)
		return err_set(err, ERR_LIMIT, "the mailbox has no UIDs left");
	if (d->state.uidnext + n > d->state.ceiling && !ceiling_extend(d, n, err))
		return false;

	struct state before = d->state;
	d->state.uidnext += n;
	d->state.marked = true;
	c->quiet = d->state.cur_ns && dir_mtime_ns(d->fd, "cur") == d->state.cur_ns;
	if (!state_write(d->state_fd, &d->state, err)) {
		d->state = before;
		d->fresh = false;
		return false;
	}
	if (out_first)
		*out_first = before.uidnext;
	return true;
}

bool change_end(struct account *a, struct dir *d, const struct dir_change *c, uint64_t modseq,
		struct err *err)
{
	if (c->quiet)
		d->state.cur_ns = dir_mtime_ns(d->fd, "cur");
	if (modseq > d->state.modseq)
		d->state.modseq = modseq;
	d->state.index = a->hot->index->identity;
	d->state.epoch = a->store->epoch;
	d->state.marked = false;
	if (state_write(d->state_fd, &d->state, err))
		return true;
	d->fresh = false;
	return false;
}

bool next_modseq(struct account *a, struct dir *d, uint64_t *out, struct err *err)
{
	uint64_t now = (uint64_t)clock_wall_us(), last;

	if (!index_max_modseq(a->hot->index, &last, err))
		return false;
	if (d->state.modseq > last)
		last = d->state.modseq;
	*out = last >= now ? last + 1 : now;
	return true;
}
