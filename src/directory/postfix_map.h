/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/postfix_map.h: Postfix's look-up files for MySQL, mysql_table(5): user, password, hosts,
 * dbname, query and the rest, also in the old form of table, select_field, where_field and
 * additional_conditions; and plain text tables (texthash, the source of hash:).
 *
 * A key that a query's conditions exclude (an empty local-part for %u, no domain for %d) finds nothing,
 * as with Postfix. Values are escaped by the connection's rules.
 */
#pragma once
#include "base/buf.h"
#include "directory/link.h"

enum { POSTFIX_MAP_FILE_MAX = 64 * 1024, POSTFIX_MAP_HOSTS_MAX = 8, POSTFIX_MAP_RESULT_MAX = 1 << 20 };

struct postfix_map {
	struct link_host hosts[POSTFIX_MAP_HOSTS_MAX];
	size_t hosts_n;
	const char *user, *password, *dbname, *tls_ca_file;
	struct str query, result_format;
	const struct str *domains; /* "domain": keys of others are not asked for */
	size_t domains_n;
	uint64_t expansion_limit;  /* 0: none */
	struct str unknown;        /* the first parameter that is not known; p NULL: none */
};

/* Strings live in the arena, which may be kept. */
bool postfix_map_parse(struct arena *a, struct str text, struct postfix_map *out, struct err *err) MUST_CHECK;
bool postfix_map_read(struct arena *a, const char *path, struct postfix_map *out, struct err *err) MUST_CHECK;
void postfix_map_link(const struct postfix_map *m, int timeout_ms, _Atomic int64_t *away_until_ms,
		      struct directory_link *out);

/* Appends s as it may stand between quotes. */
typedef void postfix_map_escape(void *ctx, struct str s, struct buf *out);
/* The text of the query for a key (folded already); false: there is none for this key. */
bool postfix_map_expand(const struct postfix_map *m, struct str key, postfix_map_escape *escape, void *ctx,
			struct buf *out);
/* Appends one value as result_format says, behind a comma if out holds others since start. */
void postfix_map_add(const struct postfix_map *m, struct str key, struct str value, size_t start,
		     struct buf *out);
/* As `postmap -q`: the values, joined by commas, appended to out; nothing when nothing is found. The key
 * is folded to lower case. */
bool postfix_map_find(const struct postfix_map *m, struct directory_link *link, struct str key,
		      struct buf *out, struct err *err) MUST_CHECK;

/* postmap(1), "TABLE FORMAT": the value of a key in a text; p NULL when it is not there. */
bool postfix_text_find(struct str text, struct str key, struct arena *a, struct str *out, struct err *err)
	MUST_CHECK;

/* "name = value" lines with comments and continuation, postconf(5); calls each(ctx, ...) in order.
 * Used for main.cf too. */
struct postfix_line {
	unsigned number; /* of the line it begins in */
	struct str name, value;
};
bool postfix_lines(struct arena *a, struct str text, const struct postfix_line **out, size_t *out_n,
		   struct err *err) MUST_CHECK;
/* Logical lines (comments and blank ones left out; continued ones keep their blanks, as Postfix joins
 * them). */
bool postfix_logical_line(struct arena *a, struct str *rest, unsigned *number, struct postfix_line *out);
