/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* directory/directory_int.h: for this folder alone. */
#pragma once
#include "base/lock.h"
#include "directory/directory.h"
#include "mail/address.h"
#include "directory/link.h"
#include "sql/sql.h"

struct account;
struct alias;
struct classic;
struct facts;

enum query {
#define QUERY(name) QUERY_##name,
#include "directory/queries.def"
#undef QUERY
	QUERY_COUNT
};

enum {
	DESCRIPTION_MAX = 1000,
	DISPLAY_NAME_MAX = 255,
	PASSWORD_HASH_MAX = 1024,
};

/* With a database server each thread that asks has a handle of its own (directory_clone): the lock is
 * then held while the server answers, and keeps nobody waiting. */
struct directory {
	struct lock lock;
	struct sql_db *db;                     /* guarded by lock, and so are the rest */
	struct directory_link link;            /* mariadb: owns db */
	struct classic *classic;               /* classic: there is no db */
	struct facts *facts;                   /* mariadb and classic */
	struct arena *arena;                   /* strings of link */
	bool in_change;
	char touched[400];                     /* key of the one answer that the change makes old; "": all */
	struct sql_stmt *statements[QUERY_COUNT];
	struct config *config;
	struct config *kept;                   /* of the opening */
	int64_t changes, data_version;         /* as of the last look */
	bool changes_known;
};

/* The statement of a name, reset; prepared at first use. The caller holds the lock. */
bool directory_query(struct directory *d, enum query q, struct sql_stmt **out, struct err *err) MUST_CHECK;
/* One value from one row; *out_found false without a row. The statement is reset. */
bool directory_query_int(struct sql_stmt *st, int64_t *out, bool *out_found, struct err *err) MUST_CHECK;

/* A change: one transaction that also raises the counter. end returns ok, unless the commit
 * fails; not ok rolls back and keeps err. The caller holds the lock. */
bool directory_change_begin(struct directory *d, struct err *err) MUST_CHECK;
bool directory_change_end(struct directory *d, bool ok, struct err *err) MUST_CHECK;

/* Folded local-part and domain of an address with a domain. */
bool directory_fold(struct arena *a, struct str address, struct address *out, struct err *err) MUST_CHECK;
/* What cannot be done in a foreign database that is only read. False: err says so. */
bool directory_own(const struct directory *d, struct err *err) MUST_CHECK;

/* The three questions (ask.c). The id of a living domain by its folded name; 0 when there is none. */
bool domain_id_find(struct directory *d, struct str name, int64_t *out_id, bool *out_enabled,
		    struct err *err) MUST_CHECK;
/* As above, and ERR_NOT_FOUND when there is none. */
bool domain_id_need(struct directory *d, struct str name, int64_t *out_id, struct err *err) MUST_CHECK;
/* Within a change: it makes old only what is remembered of this account ('A') or alias ('L'). */
void directory_touch(struct directory *d, char kind, struct str name);
/* Deletes what was removed longer ago than can be restored. Within a change. */
bool directory_purge(struct directory *d, struct err *err) MUST_CHECK;
/* account_find and alias_find of a folded address, with the lock held. */
bool domain_id_read(struct directory *d, struct str name, int64_t *out_id, bool *out_enabled,
		    struct err *err) MUST_CHECK; /* the same from pabal's own tables, as the two below */
bool account_read(struct directory *d, struct str address, struct arena *a, struct account *out,
		  struct err *err) MUST_CHECK;
bool alias_read(struct directory *d, struct str source, struct arena *a, struct alias *out,
		struct err *err) MUST_CHECK;
bool account_find_locked(struct directory *d, struct str address, struct arena *a, struct account *out,
			 struct err *err) MUST_CHECK;
bool alias_find_locked(struct directory *d, struct str source, struct arena *a, struct alias *out,
		       struct err *err) MUST_CHECK;
