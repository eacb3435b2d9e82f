/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/testing.h: for tests of this folder: a mail directory and a journal below /tmp, and short
 * forms of what tests do all the time. Everything asserts.
 */
#pragma once
#include "base/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "journal/journal.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct bed {
	char path[64]; /* mail/, journal/ below it */
	int root_fd, journal_fd;
	struct journal *journal;
	struct store *store;
	struct account *account;
	struct arena *ar;
	struct store_options o;
	const char *journal_name; /* NULL: "test" */
};

#define assert_done(call, err)                                                                           \
	do {                                                                                             \
		if (!(call)) {                                                                           \
			print_error("%s: %s\n", #call, (err).cause);                                     \
			fail();                                                                          \
		}                                                                                        \
	} while (0)

static inline void bed_journal_open(struct bed *b, journal_replay *replay, void *ctx)
{
	struct err err;
	struct journal_options jo = {.dirfd = b->journal_fd, .name = "test", .segment_bytes = 4 << 20,
		.numbers_by_clock = true};

	assert_done(journal_open(&jo, replay, ctx, &b->journal, &err), err);
}

static inline void bed_store_open(struct bed *b)
{
	struct err err;

	b->o.root_fd = b->root_fd;
	char root[128];
	snprintf(root, sizeof(root), "%s/mail", b->path);
	b->o.root_path = root;
	b->o.template = "%d/%n/Maildir";
	b->o.journal = b->journal;
	b->o.journal_name = b->journal_name ? b->journal_name : "test";
	assert_done(store_new(&b->o, &b->store, &err), err);
}

static inline struct account *bed_account(struct bed *b, const char *address)
{
	struct account_facts f = {.id = 1, .address = str_of(address), .language = STR("ko")};
	struct account *a;
	struct err err;

	assert_done(account_open(b->store, &f, &a, &err), err);
	return a;
}

static inline void bed_open(struct bed *b)
{
	struct err err;

	bed_journal_open(b, NULL, NULL);
	assert_done(journal_start(b->journal, &err), err);
	bed_store_open(b);
	b->account = bed_account(b, "test1@example.org");
}

static inline void bed_close(struct bed *b)
{
	account_close(b->account);
	b->account = NULL;
	store_free(b->store);
	b->store = NULL;
	journal_close(b->journal);
	b->journal = NULL;
}

static inline void bed_make(struct bed *b)
{
	char sub[128];

	*b = (struct bed){.root_fd = -1};
	strcpy(b->path, "/tmp/pabal-store-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	snprintf(sub, sizeof(sub), "%s/mail", b->path);
	assert_int_equal(mkdir(sub, 0700), 0);
	b->root_fd = open(sub, O_RDONLY | O_DIRECTORY);
	snprintf(sub, sizeof(sub), "%s/journal", b->path);
	assert_int_equal(mkdir(sub, 0700), 0);
	b->journal_fd = open(sub, O_RDONLY | O_DIRECTORY);
	b->ar = arena_new();
}

static inline int bed_setup(void **state)
{
	struct bed *b = malloc(sizeof(*b));

	bed_make(b);
	bed_open(b);
	*state = b;
	return 0;
}

static inline int bed_teardown(void **state)
{
	struct bed *b = *state;
	char command[128];

	bed_close(b);
	close(b->root_fd);
	close(b->journal_fd);
	arena_free(b->ar);
	snprintf(command, sizeof(command), "rm -rf %s", b->path);
	assert_int_equal(system(command), 0);
	free(b);
	return 0;
}

/* A shell command in the account's Maildir. */
static inline void bed_shell(struct bed *b, const char *command)
{
	char all[4096];

	snprintf(all, sizeof(all), "cd %s/mail/example.org/test1/Maildir && (%s)", b->path, command);
	if (system(all) != 0) {
		print_error("failed: %s\n", command);
		fail();
	}
}

static inline struct new_message message_of(const struct str *content)
{
	return (struct new_message){.id = id_new(),
				    .action = 1,
				    .parts = content,
				    .parts_n = 1,
				    .file_fd = -1,
				    .internaldate = 1700000000};
}

static inline uint32_t bed_place(struct bed *b, const char *mailbox, struct str content)
{
	struct new_message m = message_of(&content);
	struct err err;

	assert_done(mailbox_place(b->account, str_of(mailbox), &m, 1, false, &err), err);
	return m.uid;
}

static inline struct view *bed_view(struct bed *b, const char *mailbox)
{
	struct view *v;
	struct err err;

	assert_done(view_open(b->account, str_of(mailbox), false, &v, &err), err);
	return v;
}

static inline struct view_changes bed_refresh(struct bed *b, struct view *v, bool hold)
{
	struct view_changes c;
	struct err err;

	assert_done(view_refresh(v, hold, b->ar, &c, &err), err);
	return c;
}

static inline uint64_t bed_flag(struct bed *b, struct view *v, uint32_t first, uint32_t last,
				enum flag_op op, unsigned flags)
{
	struct uid_range r = {first, last};
	struct flag_change c = {.op = op, .flags = flags};
	struct uid_set modified;
	uint64_t modseq;
	struct err err;

	assert_done(view_store_flags(v, (struct uid_set){&r, 1}, &c, b->ar, &modified, &modseq, &err),
		    err);
	assert_int_equal(modified.n, 0);
	return modseq;
}

static inline void bed_expunge(struct view *v, uint32_t first, uint32_t last)
{
	struct uid_range r = {first, last};
	uint64_t modseq;
	struct err err;

	assert_done(view_expunge(v, (struct uid_set){&r, 1}, false, &modseq, &err), err);
}

static inline void bed_check(struct bed *b)
{
	BUF_SCOPED report = {0};
	size_t n;
	struct err err;

	assert_done(account_check(b->account, &report, &n, &err), err);
	if (n)
		print_error("%.*s", STR_ARG(buf_str(&report)));
	assert_int_equal(n, 0);
}
