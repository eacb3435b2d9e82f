/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Blocks, snapshots and sets, against a plain array that does the same. */
#include "store/testing.h"

enum { MODEL_MAX = 3000 };

struct model {
	struct hot at[MODEL_MAX];
	uint32_t n;
};

static unsigned pick(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % n;
}

static void same(const struct snapshot *s, const struct model *m)
{
	assert_int_equal(s->count, m->n);
	struct snapshot_walk w = snapshot_walk(s);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct hot *h = snapshot_next(&w);
		assert_non_null(h);
		assert_int_equal(h->uid, m->at[i].uid);
		assert_int_equal(h->marks, m->at[i].marks);
		assert_ptr_equal(snapshot_at(s, i + 1), h);
		uint32_t seq;
		assert_ptr_equal(snapshot_uid(s, h->uid, &seq), h);
		assert_int_equal(seq, i + 1);
		uint32_t before = i ? m->at[i - 1].uid : 0;
		assert_int_equal(snapshot_at_least(s, before + 1), i + 1);
	}
	assert_null(snapshot_next(&w));
	assert_null(snapshot_at(s, m->n + 1));
	assert_null(snapshot_at(s, 0));
	assert_int_equal(snapshot_at_least(s, UINT32_MAX), m->n + 1);
}

static void model_insert(struct model *m, const struct hot *h)
{
	uint32_t i = m->n++;

	for (; i > 0 && m->at[i - 1].uid > h->uid; i--)
		m->at[i] = m->at[i - 1];
	m->at[i] = *h;
}

static void model_remove(struct model *m, uint32_t i)
{
	memmove(m->at + i, m->at + i + 1, (--m->n - i) * sizeof(m->at[0]));
}

/* A transaction of random edits in ascending order. */
static void random_edits(struct index *ix, struct index_mailbox *mb, struct model *m, unsigned *seed,
			 uint32_t *next_uid, uint64_t modseq)
{
	struct index_edit e = {.ix = ix, .mailbox = mb, .modseq = modseq};
	struct err err;

	assert_done(index_begin(ix, &err), err);
	for (uint32_t i = 0; i < m->n;) {
		unsigned what = pick(seed, 40);
		if (what == 0) {
			assert_done(edit_remove(&e, m->at[i].uid, &err), err);
			model_remove(m, i);
			continue;
		}
		if (what < 4) {
			m->at[i].marks = pick(seed, 64);
			assert_done(edit_marks(&e, m->at[i].uid, m->at[i].marks, &err), err);
		}
		i++;
	}
	for (unsigned n = pick(seed, 200); n && m->n < MODEL_MAX; n--) {
		char base[32];
		*next_uid += 1 + pick(seed, 3);
		struct hot h = {.uid = *next_uid, .marks = pick(seed, 64), .size = 10, .wire_size = 11};
		snprintf(base, sizeof(base), "base-%u", h.uid);
		struct cold c = {.uid = h.uid, .seq = h.uid, .base = str_of(base)};
		/* Now and then into a gap between others. */
		if (m->n > 2 && modseq <= 30 && pick(seed, 10) == 0) {
			uint32_t i = pick(seed, m->n - 1);
			if (m->at[i].uid + 1 < m->at[i + 1].uid) {
				h.uid = c.uid = m->at[i].uid + 1;
				c.seq = h.uid;
				snprintf(base, sizeof(base), "base-%u", h.uid);
				c.base = str_of(base);
			}
		}
		assert_done(edit_insert(&e, &h, &c, &err), err);
		model_insert(m, &h);
	}
	assert_done(edit_end(&e, &err), err);
	assert_done(index_commit(ix, &err), err);
}

static void check_cold(struct index *ix, const struct index_mailbox *mb, const struct model *m)
{
	struct index_reader r = {.ix = ix, .row = mb->row};
	struct hot h;
	struct cold c;
	struct err err;
	bool found;
	uint32_t i = 0;

	for (uint32_t uid = 1;; uid = h.uid + 1, i++) {
		char base[32];
		assert_done(index_find_next(&r, uid, &h, &c, &found, &err), err);
		if (!found)
			break;
		assert_int_equal(h.uid, m->at[i].uid);
		snprintf(base, sizeof(base), "base-%u", h.uid);
		assert_str("base", c.base, str_of(base));
		assert_int_equal(c.seq, h.uid);
	}
	assert_int_equal(i, m->n);
	index_reader_end(&r);
}

static void test_blocks_and_snapshots(void **state)
{
	struct bed *b = *state;
	static struct model m;
	struct index *ix;
	struct index_mailbox mb = {.uidvalidity = 1};
	struct snapshot *kept = NULL;
	struct err err;
	unsigned seed = 7;
	uint32_t next_uid = 1000;
	char path[128];

	m.n = 0;
	snprintf(path, sizeof(path), "%s/" INDEX_FILE, b->path);
	FD_SCOPED dir = open(b->path, O_RDONLY | O_DIRECTORY);
	assert_done(index_create(dir, path, &ix, &err), err);
	ix->slab = &b->store->slab;
	assert_done(index_mailbox_add(ix, STR("0123456789abcdef"), &mb, &err), err);
	for (uint64_t round = 1; round <= 30; round++) {
		struct snapshot *incremental, *whole;
		random_edits(ix, &mb, &m, &seed, &next_uid, round);
		assert_done(index_load(ix, mb.row, kept, &incremental, &err), err);
		assert_done(index_load(ix, mb.row, NULL, &whole, &err), err);
		same(incremental, &m);
		same(whole, &m);
		snapshot_unref(whole);
		snapshot_unref(kept);
		kept = incremental;
		assert_int_equal(mb.messages, m.n);
		assert_int_equal(mb.size, 10 * m.n);
		check_cold(ix, &mb, &m);
	}
	snapshot_unref(kept);

	/* Gone messages stay where they were while a session holds them. */
	struct snapshot *before, *after;
	assert_done(index_load(ix, mb.row, NULL, &before, &err), err);
	random_edits(ix, &mb, &m, &seed, &next_uid, 31);
	assert_done(index_load(ix, mb.row, before, &after, &err), err);
	struct snapshot *held = snapshot_hold(before, after);
	for (uint32_t seq = 1; seq <= before->count; seq++)
		assert_int_equal(snapshot_at(held, seq)->uid, snapshot_at(before, seq)->uid);
	for (uint32_t seq = 1; seq <= after->count; seq++)
		assert_non_null(snapshot_uid(held, snapshot_at(after, seq)->uid, NULL));
	snapshot_unref(held);
	snapshot_unref(before);
	snapshot_unref(after);

	bool vanished;
	assert_done(index_vanished_has(ix, mb.row, m.at[0].uid, &vanished, &err), err);
	assert_false(vanished);
	index_close(ix);

	/* Another version, and no index at all. */
	assert_done(index_open(path, &ix, &err), err);
	assert_true(index_is_current(ix, dir));
	index_close(ix);
	FD_SCOPED fd = openat(dir, INDEX_FILE, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "no database, but long enough to be read as one", 40), 40);
	unlinkat(dir, INDEX_FILE "-wal", 0);
	assert_false(index_open(path, &ix, &err));
	assert_int_equal(err.kind, ERR_CORRUPT);
	unlinkat(dir, INDEX_FILE, 0);
	assert_false(index_open(path, &ix, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void test_journals(void **state)
{
	struct bed *b = *state;
	struct index *ix;
	struct err err;
	uint8_t id;
	char path[128];

	snprintf(path, sizeof(path), "%s/" INDEX_FILE, b->path);
	FD_SCOPED dir = open(b->path, O_RDONLY | O_DIRECTORY);
	assert_done(index_create(dir, path, &ix, &err), err);
	assert_done(index_journal(ix, STR("queue"), &id, &err), err);
	assert_int_equal(id, JOURNAL_FIRST);
	assert_done(index_journal(ix, STR("mailbox-0"), &id, &err), err);
	assert_int_equal(id, JOURNAL_FIRST + 1);
	assert_done(index_journal(ix, STR("queue"), &id, &err), err);
	assert_int_equal(id, JOURNAL_FIRST);
	assert_str("name", index_journal_name(ix, JOURNAL_FIRST + 1), STR("mailbox-0"));
	assert_int_equal(index_journal_name(ix, JOURNAL_UNKNOWN).n, 0);
	assert_int_equal(index_journal_name(ix, 200).n, 0);
	index_close(ix);
}

static void test_uid_sets(void **state)
{
	struct bed *b = *state;
	struct uid_range raw[] = {{9, 7}, {1, 2}, {3, 3}, {8, 12}, {20, 20}};
	struct uid_set s = uids_normal(b->ar, (struct uid_set){raw, 5});

	assert_int_equal(s.n, 3);
	assert_int_equal(s.r[0].first, 1);
	assert_int_equal(s.r[0].last, 3);
	assert_int_equal(s.r[1].first, 7);
	assert_int_equal(s.r[1].last, 12);
	assert_int_equal(uids_count(s), 10);
	assert_true(uids_has(s, 7) && uids_has(s, 12) && uids_has(s, 20));
	assert_false(uids_has(s, 4) || uids_has(s, 13) || uids_has(s, 21) || uids_has(s, 0));
	struct uid_range other[] = {{2, 8}, {12, UINT32_MAX}};
	struct uid_set both = uids_and(b->ar, s, (struct uid_set){other, 2});
	assert_int_equal(uids_count(both), 2 + 2 + 2);
	assert_int_equal(uids_and(b->ar, s, (struct uid_set){NULL, 0}).n, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {T(test_blocks_and_snapshots), T(test_journals),
					   T(test_uid_sets)};
	return RUN_TESTS(tests);
}
