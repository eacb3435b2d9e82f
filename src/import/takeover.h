/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * import/takeover.h: what a Postfix/Dovecot host is, and what it becomes here (pabal import classic).
 *
 * Each function reads a part, adds lines that say of every setting what becomes of it, and settings for
 * pabal.conf. Nothing is written but by takeover_copy(). Read only, by the command line; everything
 * lives in the arena.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "import/dovecot_config.h"
#include "import/postfix_config.h"

struct directory;
struct map;

enum takeover_kind {
	TAKEOVER_TAKEN,   /* a setting of pabal's says the same */
	TAKEOVER_BUILTIN, /* pabal does it without a setting, or has no need of it */
	TAKEOVER_CANNOT,  /* pabal does not do it, or it has to be done by hand */
	TAKEOVER_WARN,    /* taken, but look at it */
};
struct takeover_line {
	enum takeover_kind kind;
	const char *file;
	unsigned line; /* 0: the whole file */
	struct str what, becomes;
	const char *en, *ko; /* why; may be "" */
};
struct takeover_setting {
	const char *section, *name; /* section "listener submission", or "" */
	struct str value;           /* as it stands in the file */
};
struct takeover_account {
	struct str address, hash;
};
struct takeover_alias {
	struct str source, destination;
};

struct takeover {
	struct arena *arena;
	struct takeover_line *lines;
	size_t lines_n, lines_cap;
	struct takeover_setting *settings;
	size_t settings_n, settings_cap;
	/* of Postfix */
	const char *main_cf, *master_cf;
	struct postfix_config postfix;
	struct str domain_maps, account_maps, alias_maps; /* values of the three, expanded */
	/* of Dovecot */
	struct dovecot_config dovecot;
	const char *dovecot_sql;    /* path; NULL: none */
	struct str mail_dir;        /* where the mail is; p NULL: not found out */
	/* of the database */
	bool rows_known;
	struct str *domains;
	size_t domains_n, domains_cap;
	struct takeover_account *accounts;
	size_t accounts_n, accounts_cap;
	struct takeover_alias *aliases;
	size_t aliases_n, aliases_cap;
	size_t weak;                /* accounts with a weak hash */
	struct map *account_names, *alias_names; /* in lower case; of takeover_read_rows */
};

void takeover_say(struct takeover *t, enum takeover_kind kind, const char *file, unsigned line,
		  struct str what, struct str becomes, const char *en, const char *ko);
/* A string, quoted; a list of strings; or a word (number, yes, a name). The last of one name counts. */
void takeover_set_str(struct takeover *t, const char *section, const char *name, struct str value);
void takeover_set_list(struct takeover *t, const char *section, const char *name, const struct str *v,
		       size_t n);
void takeover_set_word(struct takeover *t, const char *section, const char *name, struct str value);
struct str takeover_value(const struct takeover *t, const char *section,
			  const char *name); /* p NULL: unset */

/* Cuts at commas and blanks, as Postfix's lists. */
size_t takeover_words(struct takeover *t, struct str list, struct str **out);

bool takeover_read_postfix(struct takeover *t, const char *dir, struct err *err) MUST_CHECK;
bool takeover_read_dovecot(struct takeover *t, const char *dir, struct err *err) MUST_CHECK;
/* The rows: from the dump, or (dump NULL) from the live database through the query files. A database
 * that does not answer is ERR_TEMP. */
bool takeover_read_rows(struct takeover *t, const char *dump, struct err *err) MUST_CHECK;
void takeover_look_at_mail(struct takeover *t);
/* backend classic, or for a copy the embedded one. */
void takeover_choose_directory(struct takeover *t, bool copy);
/* The text of pabal.conf. */
void takeover_config(const struct takeover *t, struct buf *out);
/* Rows into an open directory of pabal's; those that are there already stay. Refused ones become lines. */
/* In these tables, whatever the case. */
bool takeover_has_account(const struct takeover *t, struct str address);
void takeover_free(struct takeover *t); /* what is not in the arena */
bool takeover_copy(struct takeover *t, struct directory *d, struct err *err) MUST_CHECK;
