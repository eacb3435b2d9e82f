/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/name.h: file names of messages, base[,S=size][,W=size][,U=uid][,M=tag]:2,flags
 * (DESIGN section 4). Pure functions.
 *
 * S is the size of the file, W the size with every line ending in CRLF (RFC822.SIZE, as Dovecot
 * writes them). U and M belong together: the UID counts only in the mailbox whose tag it names, so
 * a file carried in from elsewhere has none.
 */
#pragma once
#include "base/str.h"

enum {
	NAME_MAX_LEN = 255,
	NAME_BASE_MAX = 168, /* so that the fields and flags fit behind it */
	TAG_LEN = 8,
};

struct file_name {
	struct str base; /* before the first field of ours, or before ':' */
	bool has_size, has_wire_size, has_uid, has_info;
	uint64_t size, wire_size;
	uint32_t uid;
	struct str tag;    /* empty: none */
	unsigned flags;    /* enum msg_flag */
	uint32_t keywords; /* bit i: letter 'a' + i */
};

/* false: not a message (dot files, nothing before the fields). Views of file. */
bool name_parse(struct str file, struct file_name *out);

/* All fields and flags; out has room for NAME_MAX_LEN + 1. The length, or 0 when it would be longer. */
size_t name_format(char out[NAME_MAX_LEN + 1], const struct file_name *n);
