/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/dkim/keyring.h: the keys that mail is signed with, as they stand on disk: a file for each
 * below dkim.dir, "<domain>/<selector>.pem", and those that setting dkim.keys names where they are.
 * Read by the child of the master that reads the configuration, and by `pabal dkim`; the roles get
 * rows: keys with the private half, queue without.
 *
 * In front of the key a file may have lines of ours, "# sign: auto", so that each change of a key is the
 * replacement of one file. A file that somebody put there without them is good too.
 */
#pragma once
#include "base/buf.h"
#include "base/scan.h"
#include "sender_auth/dkim/dkim.h"

struct arena;
struct config;
struct key;

enum dkim_use {
	DKIM_USE_AUTO,   /* as soon as the DNS has it */
	DKIM_USE_ALWAYS, /* whatever the DNS says */
	DKIM_USE_NEVER,  /* retired */
};
const char *dkim_use_name(enum dkim_use u); /* "auto", "always", "never" */
bool dkim_use_parse(struct str s, enum dkim_use *out);

enum { DKIM_KEYS_MAX = 20000, DKIM_KEY_FILE_MAX = 65536 };

struct dkim_key_file {
	struct str domain, selector; /* folded */
	enum dkim_use use;
	struct str identity;         /* i=: "@domain", an address in it, "from": the author's; empty: none */
	int64_t created_unix;        /* the newest that may be used signs */
	struct str path;
	bool own;                    /* below dkim.dir: ours to change */
	bool encrypted;
	struct str passphrase_file;  /* of this key alone; empty: none */
	struct key *key;             /* NULL: see problem */
	struct str problem;
};
struct dkim_keyring {
	struct dkim_key_file *at; /* by domain, then newest first */
	size_t n;
};
/* What cannot be read is in the list with its problem. ERR_SYNTAX: a row of dkim.keys; ERR_IO. */
bool dkim_keyring_read(const struct config *c, struct arena *a, struct dkim_keyring *out,
		       struct err *err) MUST_CHECK;
void dkim_keyring_free(struct dkim_keyring *k); /* its keys */

/* Writes f's file anew, durably; pem is the key as it shall stand there, with or without passphrase.
 * f->path is set. The directory of the domain is made when it is missing. */
bool dkim_keyring_put(const struct config *c, struct arena *a, struct dkim_key_file *f, struct str pem,
		      struct err *err) MUST_CHECK;
/* The file's key as it stands there, without our lines. */
bool dkim_keyring_pem(const struct dkim_key_file *f, struct buf *out, struct err *err) MUST_CHECK;
bool dkim_keyring_remove(const struct config *c, const struct dkim_key_file *f, struct err *err) MUST_CHECK;
/* May be the name of a file: a folded DNS name. */
bool dkim_keyring_names(struct str domain, struct str selector);

/* ---- what roles get ---- */

struct dkim_row {
	struct str domain, selector, identity;
	enum dkim_use use;
	enum dkim_algorithm algorithm;
	int64_t created_unix;
	struct str id;  /* KEY_ID_SIZE octets */
	struct str der; /* SubjectPublicKeyInfo */
	struct str pem; /* private, without passphrase; empty but for keys */
};
bool dkim_row_make(struct arena *a, const struct dkim_key_file *f, struct dkim_row *out,
		   struct err *err) MUST_CHECK;
void dkim_row_encode(struct buf *out, const struct dkim_row *r);
/* Views of what is scanned. False: the end, or damage (scan_end tells). */
bool dkim_row_decode(struct scan *s, struct dkim_row *out);
