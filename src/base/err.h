/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/err.h: why something could not be done (STYLE 8).
 *
 * A fallible function returns bool and fills the err of its caller, its last parameter, never
 * NULL. Fixed size: reporting needs no memory. One table per protocol turns the kind into its
 * reply; "text" is fit for the client (no paths, SQL or causes), "cause" is for the log.
 */
#pragma once
#include "base/str.h"

enum err_kind {
	ERR_NONE,
	ERR_SYNTAX,    /* the peer wrote what the grammar does not have */
	ERR_LIMIT,     /* a named limit was reached; again later or smaller */
	ERR_DENIED,    /* not allowed */
	ERR_NOT_FOUND,
	ERR_EXISTS,
	ERR_CONFLICT,  /* state forbids it: wrong order, in use */
	ERR_QUOTA,     /* no room left for this account */
	ERR_TEMP,      /* try again later */
	ERR_IO,        /* disk or system; normally temporary for the client */
	ERR_CORRUPT,   /* data of ours does not check */
	ERR_GONE,      /* the peer went away, or a deadline passed */
};

struct err {
	enum err_kind kind;
	int sys;            /* errno, or 0 */
	char text[160];     /* for the client, NUL-terminated, no CR LF */
	char cause[320];    /* for the log, NUL-terminated; err_while() appends "while ..." */
	const char *where;  /* "file:line", static */
};

#define ERR_WHERE_(l) __FILE__ ":" #l
#define ERR_WHERE(l) ERR_WHERE_(l)
/* All return false, so that "return err_set(err, ...)" is the pattern. text is a format for the
 * client's sentence and, unless err_cause() follows, for the log. */
#define err_set(err, kind, ...) err_set_at((err), ERR_WHERE(__LINE__), (kind), __VA_ARGS__)
/* errno is kept and named in the cause; the client is told only "temporary failure". */
#define err_sys(err, ...) err_sys_at((err), ERR_WHERE(__LINE__), __VA_ARGS__)
bool err_set_at(struct err *err, const char *where, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), nonnull(1)));
bool err_sys_at(struct err *err, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), nonnull(1)));
/* Replaces the cause, keeps the text. */
bool err_cause(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(1)));
/* Adds what was going on: "... while opening mailbox INBOX". */
bool err_while(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(1)));
void err_clear(struct err *err);
const char *err_kind_name(enum err_kind kind);
#define MUST_CHECK __attribute__((warn_unused_result))
