/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/append.h: the arguments of APPEND and REPLACE (RFC 9051 6.3.12; MULTIAPPEND RFC 3502;
 * CATENATE RFC 4469; UTF8 RFC 6855 4; REPLACE RFC 8508).
 *
 * The octets of messages never stand in the command's text: of their literals only the headers do.
 * The same grammar reads a text that is complete, and one that ends where such a literal begins.
 */
#pragma once
#include "imap/parse.h"

struct append_part {
	struct str url;   /* p NULL: a literal */
};
struct append_item {
	struct flag_list flags;
	bool has_date, utf8, catenate;
	int64_t date;
	struct append_part *parts;
	size_t parts_n, parts_cap;
};
struct append_args {
	bool replace;
	struct sequence_set set;   /* of REPLACE */
	struct str mailbox;
	struct append_item *items;
	size_t items_n, items_cap;
	size_t literals, urls;     /* in all of them */
	bool at_literal;           /* the text ended where the next literal of a message begins */
};
enum { APPEND_MESSAGES_MAX = 1000, APPEND_PARTS_MAX = 2000 };

/* [sequence-set SP] mailbox 1*append-message. false also when it stopped at a literal: at_literal. */
bool parse_append(struct parse *p, bool replace, struct append_args *out);
