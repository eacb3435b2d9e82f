/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/esearch.h: arguments of ESEARCH (MULTISEARCH, RFC 7377). */
#pragma once
#include "imap/search.h"

enum esearch_kind {
	SOURCE_SELECTED,
	SOURCE_INBOXES,
	SOURCE_PERSONAL,
	SOURCE_SUBSCRIBED,
	SOURCE_SUBTREE,
	SOURCE_SUBTREE_ONE,
	SOURCE_MAILBOXES,
};
struct esearch_source {
	enum esearch_kind kind;
	struct str *names;
	size_t names_n;
};
struct esearch_args {
	struct esearch_source *sources; /* none: the selected mailbox */
	size_t sources_n;
	struct search_args search;
};
enum { ESEARCH_SOURCES_MAX = 50, ESEARCH_NAMES_MAX = 1000 };
bool parse_esearch(struct parse *p, struct esearch_args *out, enum search_problem *out_problem);
