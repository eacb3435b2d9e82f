/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/served_fake.h: for tests and fuzz targets alone: a real store in a temporary directory, an
 * account in it, and sessions after login on fake connections.
 */
#pragma once
#include "base/file.h"
#include "config/config.h"
#include "imap/conn_fake.h"
#include "journal/journal.h"
#include "store/mailbox.h"
#include "store/served.h"
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct fake_server {
	char path[64];
	int root, journal_dir;
	struct journal *journal;
	struct store *store;
	struct config *config;
};

static inline bool fake_settle_journal(void *ctx, struct str journal, uint64_t seq, struct err *err)
{
	struct fake_server *f = ctx;

	(void)journal;
	(void)seq;
	return store_checkpoint(f->store, 0, STR_NONE, err);
}

static inline uint64_t fake_watermark(void *ctx, struct str journal)
{
	struct fake_server *f = ctx;

	(void)journal;
	return journal_watermark(f->journal);
}

static inline void fake_must(bool ok, const struct err *err)
{
	if (ok)
		return;
	fprintf(stderr, "%s (%s) %s\n", err->text, err->cause, err->where ? err->where : "");
	abort();
}

static inline struct fake_server *fake_server_new(const char *settings)
{
	struct fake_server *f = mem_new(struct fake_server);
	BUF_SCOPED problems = {};
	struct err err;

	snprintf(f->path, sizeof(f->path), "/tmp/pabal-test-XXXXXX");
	if (!mkdtemp(f->path))
		abort();
	f->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(f->root, "journal", 0700) || mkdirat(f->root, "mail", 0700))
		abort();
	f->journal_dir = openat(f->root, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FD_SCOPED mail = openat(f->root, "mail", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ARENA_SCOPED a = arena_new();
	const char *mail_path = arena_cstr(a, arena_fmt(a, "%s/mail", f->path));
	struct journal_options jo = {.dirfd = f->journal_dir, .name = "mailbox-0", .segment_bytes = 4 << 20};
	fake_must(journal_open(&jo, NULL, NULL, &f->journal, &err), &err);
	fake_must(journal_start(f->journal, &err), &err);
	struct store_options so = {
		.root_fd = mail,
		.root_path = mail_path,
		.template = "%d/%n/Maildir",
		.journal = f->journal,
		.journal_name = "mailbox-0",
		.settle = fake_settle_journal,
		.watermark = fake_watermark,
		.ctx = f,
	};
	fake_must(store_new(&so, &f->store, &err), &err);
	fake_must(config_parse("/tmp/test.conf", str_of(settings), &problems, &f->config, &err), &err);
	return f;
}

static inline void fake_server_free(struct fake_server *f)
{
	char command[128];

	store_free(f->store);
	journal_close(f->journal);
	config_unref(f->config);
	close(f->journal_dir);
	close(f->root);
	snprintf(command, sizeof(command), "rm -rf %s", f->path);
	if (system(command))
		abort();
	free(f);
}

static inline void fake_release(struct served *s)
{
	account_close(s->account);
	arena_free(s->arena);
}

/* A session of the account, as after a login with that tag. */
static inline struct conn *fake_login(struct fake_server *f, const struct protocol *p,
				      const char *address, const char *tag)
{
	struct arena *a = arena_new();
	struct served *s = arena_new_of(a, struct served);
	const struct account_facts facts = {
		.id = 1, .address = str_of(address), .language = STR("en"), .quota_bytes = 50 << 20};
	struct err err;

	*s = (struct served){.arena = a, .store = f->store, .config = f->config, .release = fake_release};
	s->address = arena_str(a, str_of(address));
	s->tag = arena_str(a, str_of(tag));
	fake_must(account_open(f->store, &facts, &s->account, &err), &err);
	return fake_new(p, f, s);
}
