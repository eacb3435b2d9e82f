/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_esearch.c: see imap/esearch.h. */
#include "imap/esearch.h"

static const struct {
	const char *word;
	enum esearch_kind kind;
	bool names;
} kinds[] = {
	{"selected", SOURCE_SELECTED},        {"inboxes", SOURCE_INBOXES},
	{"personal", SOURCE_PERSONAL},        {"subscribed", SOURCE_SUBSCRIBED},
	{"subtree", SOURCE_SUBTREE, true},    {"subtree-one", SOURCE_SUBTREE_ONE, true},
	{"mailboxes", SOURCE_MAILBOXES, true},
};

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static bool names(struct parse *p, struct esearch_source *out)
{
	bool list = scan_byte(&p->s, '(');
	size_t cap = 0;

	do {
		if (out->names_n == ESEARCH_NAMES_MAX)
			return parse_fail(p, "Too many mailboxes");
		out->names = arena_grow(p->a, out->names, out->names_n, &cap, sizeof(*out->names));
		if (!parse_mailbox(p, &out->names[out->names_n]))
			return false;
		out->names_n++;
	} while (list && scan_byte(&p->s, ' '));
	return !list || parse_char(p, ')');
}

static bool source(struct parse *p, struct esearch_source *out)
{
	size_t i = 0, n = sizeof(kinds) / sizeof(*kinds);

	*out = (struct esearch_source){};
	while (i < n && !parse_word(p, str_of(kinds[i].word)))
		i++;
	if (i == n)
		return parse_fail(p, "Unknown source of mailboxes");
	out->kind = kinds[i].kind;
	return !kinds[i].names || (parse_sp(p) && names(p, out));
}

/* "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"; there are no scope options yet */
static bool sources(struct parse *p, struct esearch_args *out)
{
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	out->sources = arena_array(p->a, ESEARCH_SOURCES_MAX, sizeof(*out->sources));
	do {
		if (out->sources_n == ESEARCH_SOURCES_MAX)
			return parse_fail(p, "Too many sources");
		if (!source(p, &out->sources[out->sources_n]))
			return false;
		out->sources_n++;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')') && parse_sp(p);
}

/* "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program */
bool parse_esearch(struct parse *p, struct esearch_args *out, enum search_problem *out_problem)
{
	*out = (struct esearch_args){};
	*out_problem = SEARCH_BAD;
	if (parse_word(p, STR("IN")) && !sources(p, out))
		return false;
	return parse_search(p, &out->search, out_problem);
}
