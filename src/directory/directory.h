/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/directory.h: domains, accounts, aliases; who a recipient is; who may send as whom.
 *
 * Only the auth role, and the command line while no server runs, open it (DESIGN 5). Objects have
 * headers of their own: domain.h, account.h, alias.h. Every function locks (LOCK_DIRECTORY), may
 * block on disk for milliseconds, and is safe from any thread. Strings that come back live in
 * the arena given.
 *
 * Addresses are compared folded: ASCII lower case, domain in A-label form (RFC 5891). Each write
 * is one transaction and raises the change counter, which tells caches that they are old.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct config;
struct directory;

/* Opens directory_dir/directory.db of the configuration, creates and migrates it. A failed migration
 * leaves it as it was. */
bool directory_open(const struct config *c, struct directory **out, struct err *err) MUST_CHECK;
/* With a database server: connects when first asked, so that a server that is away stops nobody from
 * starting; each answer is then ERR_TEMP, or a remembered one (directory.stale_time). */
bool directory_remote(const struct directory *d); /* it has a database server: answers may take time */
/* Before the sandbox: whatever the setting needs that is loaded late. */
bool directory_preload(const struct config *c, struct err *err) MUST_CHECK;
/* A second handle on the same server, for another thread; what is remembered is shared. */
bool directory_clone(const struct directory *d, struct directory **out, struct err *err) MUST_CHECK;
struct directory_stats {
	uint64_t asked, remembered, stale; /* questions to the server; answers without one; old answers */
	bool away;                         /* the server did not answer when last asked */
};
void directory_stats(const struct directory *d, struct directory_stats *out);
/* The same as directory_open with a database of its own in memory, for tests. */
bool directory_open_memory(const struct config *c, struct directory **out, struct err *err) MUST_CHECK;
void directory_close(struct directory *d); /* accepts NULL */
static inline void directory_close_p(struct directory **d) { directory_close(*d); }
#define DIRECTORY_SCOPED __attribute__((cleanup(directory_close_p))) struct directory *
void directory_reconfigure(struct directory *d, const struct config *c);

/* Ascends with every committed change, also of other processes. Cheap (no disk read if nothing
 * changed). */
bool directory_changes(struct directory *d, int64_t *out, struct err *err) MUST_CHECK;

/* Folding. ERR_SYNTAX: not an address or domain that can be ours (RFC 5321 4.1.2; local-part at
 * most 64 bytes, domain 255). fold_address keeps the local-part's subaddress. Address literals
 * ("user@[192.0.2.1]") fold but are never local. */
bool directory_fold_domain(struct arena *a, struct str domain, struct str *out, struct err *err) MUST_CHECK;
bool directory_fold_address(struct arena *a, struct str address, struct str *out, struct err *err) MUST_CHECK;

enum directory_kind {
	DIRECTORY_LOCAL,    /* a mailbox of an account here */
	DIRECTORY_REMOTE,   /* a domain that is not hosted here */
	DIRECTORY_UNKNOWN,  /* our domain, no such recipient: 550 5.1.1 */
	DIRECTORY_DISABLED, /* account or domain switched off: 550 5.2.1 */
};
struct directory_recipient {
	enum directory_kind kind;
	struct str address;  /* LOCAL: the account's; else the folded address */
	struct str detail;   /* LOCAL: the subaddress (RFC 5233), empty if none */
	int64_t account_id;  /* LOCAL */
	int64_t quota_bytes, quota_messages; /* LOCAL; 0: no limit */
	struct str language; /* LOCAL: "ko" or "en" */
};
struct directory_resolution {
	enum directory_kind kind; /* the whole: LOCAL if any is LOCAL, else REMOTE if any, ... */
	bool by_alias;            /* an alias (catch-all included) was followed */
	const struct directory_recipient *v; /* at least one; no duplicates; alias order */
	size_t n;
};
/* Expands address completely: its alias; else the account; else, without the subaddress, alias
 * and account; else the catch-all "@domain". An alias that names itself means the account. An
 * address without domain is one of myorigin. Bare "postmaster" and
 * postmaster@ each hosted domain always reach someone (RFC 5321 4.5.1) as long as any account
 * exists. Addresses at a name of mydestination are looked up at mydomain. Dangling destinations
 * stay in the list as UNKNOWN. Loops end silently; more than the limit of destinations is
 * ERR_LIMIT. ERR_SYNTAX: not an address. Other errors: try later, never "unknown". */
bool directory_resolve(struct directory *d, struct str address, struct arena *a,
		       struct directory_resolution *out, struct err *err) MUST_CHECK;
/* Whether the domain is hosted here (or is one of mydestination). */
bool directory_is_local_domain(struct directory *d, struct str domain, bool *out, struct err *err) MUST_CHECK;

/* May the account put this address into reverse-path or From: its own, with or without
 * subaddress, and aliases that lead only to it (R79; the postmaster fall-back does not count).
 * Fail closed: any doubt is an error. */
bool directory_may_send_as(struct directory *d, struct str account, struct str sender, bool *out,
			   struct err *err) MUST_CHECK;
