/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/dovecot_sql.h: Dovecot's dovecot-sql.conf.ext: connect, default_pass_scheme, password_query,
 * user_query; and the variables %u %n %d %h in it (R59-R61), also as %Lu, %{user}, %{username}, %{domain}.
 *
 * %u is the login name, %n what stands before its first "@" (all without one), %d what follows that
 * (empty without), %h the home, which a query for the password does not know: empty. L, U: in lower or
 * upper case. The variables are escaped by the connection's rules.
 */
#pragma once
#include "base/buf.h"
#include "directory/link.h"
#include "directory/postfix_map.h"

struct dovecot_sql {
	struct str driver, default_pass_scheme;
	struct str password_query, user_query, iterate_query; /* p NULL: not there */
	struct link_host hosts[POSTFIX_MAP_HOSTS_MAX];
	size_t hosts_n;
	const char *user, *password, *dbname, *tls_ca_file;
	struct str unknown; /* the first setting that is not known; p NULL: none */
};

/* Strings live in the arena. A query with a variable that cannot be given (the password in plain text,
 * say) is ERR_SYNTAX. */
bool dovecot_sql_parse(struct arena *a, struct str text, struct dovecot_sql *out, struct err *err) MUST_CHECK;
bool dovecot_sql_read(struct arena *a, const char *path, struct dovecot_sql *out, struct err *err) MUST_CHECK;
void dovecot_sql_link(const struct dovecot_sql *s, int timeout_ms, _Atomic int64_t *away_until_ms,
		      struct directory_link *out);

struct dovecot_vars {
	struct str user, home, service;
};
/* Expands the variables; escape NULL: as they are. ERR_SYNTAX for one that is not known. */
bool dovecot_expand(struct str format, const struct dovecot_vars *v, postfix_map_escape *escape, void *ctx,
		    struct buf *out, struct err *err) MUST_CHECK;

/* A line of Dovecot's settings files without comment, trailing blanks and the backslash that joins it to
 * the next. False: no line is left. Quotes stay. */
bool dovecot_logical_line(struct arena *a, struct str *rest, unsigned *number, struct postfix_line *out);
/* Without the quotes around it, and the backslashes inside those. */
struct str dovecot_unquote(struct arena *a, struct str value);
