/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/keywords.h: which keyword a letter of file names stands for (one file per mailbox;
 * DURABILITY trap 17). A letter is on disk before it is used and never given to another keyword.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "store/mailbox.h"

#define KEYWORDS_FILE "pabal-keywords"
enum { KEYWORD_MAX = 128 }; /* octets of one */

struct keywords {
	struct str name[KEYWORDS_MAX]; /* empty: letter not given; only at the end */
	unsigned n;
};

/* A missing file is none; that of Dovecot (dovecot-keywords) is read when ours is missing. */
bool keywords_read(int dirfd, struct arena *a, struct keywords *out, struct err *err) MUST_CHECK;
/* Bit number, without regard to case (RFC 9051 2.3.2); -1: none. */
int keywords_find(const struct keywords *k, struct str name);
/* Adds at the end, synced. ERR_LIMIT when all letters are given, ERR_SYNTAX for a bad name. */
bool keywords_add(int dirfd, struct arena *a, struct keywords *k, struct str name, int *out_bit,
		  struct err *err) MUST_CHECK;
/* Letters that files have and the map has not get a name of their own ("keyword-c"). */
bool keywords_cover(int dirfd, struct arena *a, struct keywords *k, uint32_t used,
		    struct err *err) MUST_CHECK;
/* For the fuzz target. */
void keywords_parse(struct arena *a, struct str file, struct keywords *out);
