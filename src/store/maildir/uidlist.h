/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/uidlist.h: lists of UIDs by file name, for files whose names do not carry their UID:
 * what Dovecot and Courier kept of a Maildir that is taken over, and our own for files that other
 * programs left in cur/ in numbers (renaming each would take longer than everything else).
 *
 *   dovecot-uidlist     version 3: "3 V<uidvalidity> N<uidnext> G<guid>", then
 *                       "<uid> [<letter><value> ...] :<name>"; S and W are sizes, P a POP3 UIDL
 *                       version 1: "1 <uidvalidity> <uidnext>", then "<uid> <name>"
 *   courierimapuiddb    as version 1
 *   pabal-uids          as version 3, S and W always there
 *
 * A name is that of the file up to ':'. Pure functions but for uidlist_read.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

#define UIDS_FILE "pabal-uids"
#define DOVECOT_UIDS_FILE "dovecot-uidlist"
#define COURIER_UIDS_FILE "courierimapuiddb"

struct uidlist_entry {
	uint32_t uid;
	bool has_size, has_wire_size;
	uint64_t size, wire_size;
	struct str pop3_uidl; /* empty: none */
	struct str name;
};
struct map;
struct buf;
struct uidlist {
	uint32_t uidvalidity; /* 0: there is no list */
	uint32_t uidnext;     /* above all UIDs of the list, too */
	struct uidlist_entry *at;
	size_t n, cap;
	struct map *by_name;
};

/* A missing file, or one that is no list: uidvalidity 0. Strings come from the arena. */
bool uidlist_read(int dirfd, const char *file, struct arena *a, struct uidlist *out,
		  struct err *err) MUST_CHECK;
/* Text lives as long as out. */
void uidlist_parse(struct arena *a, struct str text, struct uidlist *out);
void uidlist_fini(struct uidlist *l); /* the map; accepts a zeroed one */
const struct uidlist_entry *uidlist_find(const struct uidlist *l, struct str name); /* NULL: none */
/* Version 3. */
void uidlist_write_head(struct buf *out, uint32_t uidvalidity, uint32_t uidnext, struct str guid);
void uidlist_write_entry(struct buf *out, const struct uidlist_entry *e);
/* Of a file's name: what lists hold of it. */
struct str uidlist_name(struct str file);
