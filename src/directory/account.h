/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* directory/account.h: accounts: one mailbox tree and one login each. */
#pragma once
#include "directory/directory.h"

enum account_role { ACCOUNT_ROLE_USER, ACCOUNT_ROLE_ADMIN };

/* Bits of account.protocols: how the account may be used. */
enum account_protocol {
	ACCOUNT_IMAP = 1, ACCOUNT_POP3 = 2, ACCOUNT_SUBMISSION = 4, ACCOUNT_SIEVE = 8, ACCOUNT_WEB = 16,
	ACCOUNT_PROTOCOLS_ALL = 31,
};

struct account {
	int64_t id;               /* never reused */
	struct str address;       /* folded */
	struct str password;      /* hash, with or without {SCHEME}; at most 1024 bytes; empty: none */
	struct str scram_sha1;    /* verifiers as auth/ writes them; empty: none */
	struct str scram_sha256;
	bool enabled;             /* the account's own flag */
	bool domain_enabled;      /* read only: a login needs both */
	int64_t quota_bytes;      /* as set: -1 the server's default, 0 no limit */
	int64_t quota_messages;
	enum account_role role;
	struct str language;      /* "ko", "en", or empty: the server's default */
	struct str display_name;
	unsigned protocols;       /* enum account_protocol */
	bool intranet_only;       /* log in from the networks of `intranet` only (R84) */
	int64_t created_unix, password_changed_unix;
};
struct account_list {
	struct account *v;
	size_t n;
};
enum account_field {
	ACCOUNT_SET_PASSWORD = 1, /* password and both verifiers together */
	ACCOUNT_SET_ENABLED = 2, ACCOUNT_SET_QUOTA_BYTES = 4, ACCOUNT_SET_QUOTA_MESSAGES = 8,
	ACCOUNT_SET_ROLE = 16, ACCOUNT_SET_LANGUAGE = 32, ACCOUNT_SET_DISPLAY_NAME = 64,
	ACCOUNT_SET_PROTOCOLS = 128, ACCOUNT_SET_INTRANET_ONLY = 256,
};

/* Values for a new account before the caller fills in address and password. */
void account_init(struct account *out);
/* The domain must exist (ERR_NOT_FOUND); ERR_EXISTS for a second account of that address;
 * ERR_SYNTAX for an address that cannot be a mailbox here. */
bool account_add(struct directory *d, const struct account *value, struct err *err) MUST_CHECK;
/* out->id is 0 when there is none. Subaddresses are not stripped: see directory_resolve. */
bool account_find(struct directory *d, struct str address, struct arena *a, struct account *out,
		  struct err *err) MUST_CHECK;
bool account_find_id(struct directory *d, int64_t id, struct arena *a, struct account *out,
		     struct err *err) MUST_CHECK;
/* domain empty: all. Sorted by domain, then local-part. */
bool account_list(struct directory *d, struct str domain, struct arena *a, struct account_list *out,
		  struct err *err) MUST_CHECK;
bool account_set(struct directory *d, struct str address, unsigned fields, const struct account *value,
		 struct err *err) MUST_CHECK;
/* The same password in stronger forms (R21): value's password and verifiers in place of the former
 * hash, unless that
 * was changed meanwhile. When the password was set stays as it is. */
bool account_rehash(struct directory *d, struct str address, struct str former, const struct account *value,
		    struct err *err) MUST_CHECK;
/* Restorable like a domain; its aliases stay (and dangle, which `check` tells). */
bool account_remove(struct directory *d, struct str address, struct err *err) MUST_CHECK;
bool account_restore(struct directory *d, struct str address, struct err *err) MUST_CHECK;
/* What the account really has: defaults of the server put in. */
void account_effective_quota(const struct config *c, const struct account *account, int64_t *out_bytes,
			     int64_t *out_messages);
