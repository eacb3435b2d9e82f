/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A mailbox that stays in memory between sessions equals the one that is read anew, whatever
 * happened meanwhile: changes of this process, of another one, of foreign programs, a new index.
 */
#include "store/testing.h"

enum { MESSAGES = 1200, ROUNDS = 40 };

static unsigned pick(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % n;
}

static void place_many(struct account *a, unsigned n)
{
	struct str content = STR("Subject: x\r\n\r\nbody\r\n");
	struct new_message *m = calloc(n, sizeof(*m));
	struct err err;

	for (unsigned i = 0; i < n; i++) {
		m[i] = message_of(&content);
		m[i].flags = i % 3 ? FLAG_SEEN : 0;
	}
	assert_done(mailbox_place(a, STR("INBOX"), m, n, false, &err), err);
	free(m);
}

/* As another process: all of it is read from the index. */
static void same_as_index(struct bed *b, struct view *v)
{
	struct account *a = b->account;
	struct index_mailbox m;
	struct snapshot *anew;
	struct view_facts f;
	struct err err;
	bool found;

	view_facts(v, &f);
	assert_done(account_lock(a, USE_READ, &err) && account_index(a, &err), err);
	assert_done(index_mailbox(a->hot->index, str_of(f.mailbox_id), &m, &found, &err), err);
	assert_true(found);
	assert_done(index_load(a->hot->index, m.row, NULL, &anew, &err), err);
	account_unlock(a);

	uint32_t first_unseen = 0;
	assert_int_equal(view_count(v), anew->count);
	assert_int_equal(m.messages, anew->count);
	assert_int_equal(f.highestmodseq, anew->modseq);
	for (uint32_t seq = 1; seq <= anew->count; seq++) {
		const struct hot *h = snapshot_at(anew, seq);
		struct msg msg;
		assert_true(view_msg(v, seq, &msg));
		assert_int_equal(msg.uid, h->uid);
		assert_int_equal(msg.modseq, h->modseq);
		assert_int_equal(marks_of(msg.flags & ~(unsigned)FLAG_RECENT, msg.keywords), h->marks);
		if (!first_unseen && !(h->marks & FLAG_SEEN))
			first_unseen = seq;
	}
	assert_int_equal(f.first_unseen, first_unseen);
	snapshot_unref(anew);
}

static void flag_some(struct account *a, unsigned *seed)
{
	struct view *v;
	struct err err;
	struct msg m;
	struct uid_set refused;
	uint64_t modseq;
	ARENA_SCOPED ar = arena_new();

	assert_done(view_open(a, STR("INBOX"), false, &v, &err), err);
	assert_true(view_msg(v, 1 + pick(seed, view_count(v) - 20), &m));
	struct uid_range r = {m.uid, m.uid + pick(seed, 20)};
	struct flag_change c = {.op = (enum flag_op)(1 + pick(seed, 2)), .flags = 1u << pick(seed, 5)};
	assert_done(view_store_flags(v, (struct uid_set){&r, 1}, &c, ar, &refused, &modseq, &err), err);
	if (pick(seed, 3) == 0)
		bed_expunge(v, m.uid, m.uid + pick(seed, 4));
	view_close(v);
}

static void happen(struct bed *b, struct account *other, unsigned *seed)
{
	struct err err;

	switch (pick(seed, 8)) {
	case 0:
		place_many(b->account, 1 + pick(seed, 30));
		break;
	case 1:
		place_many(other, 1 + pick(seed, 30));
		break;
	case 2:
		flag_some(b->account, seed);
		break;
	case 3:
	case 4:
		flag_some(other, seed);
		break;
	case 5:
		bed_shell(b, "set -- $(ls cur | head -7) && rm \"cur/$1\" && mv \"cur/$7\" "
			     "\"cur/${7%%:2,*}:2,FS\"");
		break;
	case 6:
		assert_done(account_lock(other, USE_CHANGE, &err) && account_index_remove(other, &err), err);
		account_unlock(other);
		break;
	case 7:
		break;
	}
}

static bool settle_first(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	struct bed *b = ctx;

	(void)journal;
	(void)seq;
	return store_checkpoint(b->store, 0, STR_NONE, err);
}

static uint64_t first_watermark(void *ctx, struct str journal)
{
	struct bed *b = ctx;

	(void)journal;
	return journal_watermark(b->journal);
}

static void test_exact(void **state)
{
	struct bed *b = *state;
	struct store_options o = b->o;
	struct account_facts facts = {.id = 1, .address = STR("test1@example.org"), .language = STR("ko")};
	struct store *second;
	struct account *other;
	struct err err;
	char root[128];
	unsigned seed = 11;

	snprintf(root, sizeof(root), "%s/mail", b->path);
	o.root_path = root;
	o.journal = NULL;
	o.journal_name = "other";
	o.settle = settle_first;
	o.watermark = first_watermark;
	o.ctx = b;
	assert_done(store_new(&o, &second, &err) && account_open(second, &facts, &other, &err), err);
	place_many(b->account, MESSAGES);
	for (int round = 0; round < ROUNDS; round++) {
		struct view *v = bed_view(b, "INBOX");
		same_as_index(b, v);
		view_close(v);
		assert_true(b->store->kept_first && b->store->kept_bytes > MESSAGES * sizeof(struct hot));
		for (unsigned n = pick(&seed, 3); n; n--)
			happen(b, other, &seed);
	}
	bed_check(b);
	account_close(other);
	store_free(second);
}

static void test_goes(void **state)
{
	struct bed *b = *state;

	bed_place(b, "INBOX", STR("Subject: a\r\n\r\n"));
	view_close(bed_view(b, "INBOX"));
	assert_null(b->store->kept_first); /* too small to be worth it */
	assert_null(b->account->shared);
	place_many(b->account, MESSAGES);
	struct view *v = bed_view(b, "INBOX"), *w = bed_view(b, "INBOX");
	view_close(v);
	assert_null(b->store->kept_first);
	view_close(w);
	assert_non_null(b->store->kept_first);
	v = bed_view(b, "INBOX");
	assert_null(b->store->kept_first);
	assert_int_equal(b->store->kept_bytes, 0);
	view_close(v);
	assert_int_equal(kept_sweep(b->store, true), INT64_MAX);
	assert_int_equal(b->store->kept_bytes, 0);
	assert_null(b->account->shared);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {T(test_exact), T(test_goes)};
	return RUN_TESTS(tests);
}
