/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The rows behind the query files. A look-up query names its table and columns, "SELECT this FROM there
 * WHERE key = '%s'": what it would find for every key is "SELECT key, this FROM there". Queries of
 * another form are used in place all the same, but their rows cannot be listed.
 */
#include "auth/password.h"
#include "base/file.h"
#include "base/map.h"
#include "base/scan.h"
#include "directory/directory.h"
#include "directory/dovecot_sql.h"
#include "import/mysqldump.h"
#include "import/takeover.h"
#include <fcntl.h>
#include <string.h>

enum { DUMP_MAX = 1 << 30, ROWS_MAX = 5000000, TIMEOUT_MS = 10000 };

struct listing {
	struct str key, value, table, rest; /* value: a column, "" for a constant */
};

/* ---- the form of a query -------------------------------------------------------------------------- */

static bool is_name(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '_' || c == '.' || c == '`' ||
	       c == '$';
}

static struct str bare(struct arena *a, struct str s)
{
	BUF_SCOPED out = {0};
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '`')
			buf_byte(&out, s.p[i]);
	}
	return arena_str(a, buf_str(&out));
}

static bool keyword(struct scan *s, struct str w)
{
	struct scan at = *s;
	scan_blanks(&at);
	if (!str_eq_nocase(scan_while(&at, is_name), w))
		return false;
	*s = at;
	return true;
}

static bool symbol(struct scan *s, char c)
{
	scan_blanks(s);
	return scan_byte(s, c);
}

/* The item wanted of a select list: the one called so, or the only one. */
static bool select_list(struct scan *s, struct arena *a, struct str wanted, struct str *out)
{
	size_t n = 0;
	bool found = false;
	do {
		scan_blanks(s);
		struct str column = scan_while(s, is_name), alias = column;
		if (column.n == 0)
			return false;
		if (keyword(s, STR("AS"))) {
			scan_blanks(s);
			alias = scan_while(s, is_name);
		}
		if (wanted.n == 0 || str_eq_nocase(bare(a, alias), wanted)) {
			*out = bare(a, column);
			found = true;
		}
		n++;
	} while (symbol(s, ','));
	return found && (wanted.n > 0 || n == 1);
}

/* '%s' or "%u": the key as it stands */
static bool key_value(struct scan *s)
{
	char quote;
	scan_blanks(s);
	if (scan_byte(s, '\''))
		quote = '\'';
	else if (scan_byte(s, '"'))
		quote = '"';
	else
		return false;
	return scan_byte(s, '%') && (scan_byte(s, 's') || scan_byte(s, 'u') || scan_lit(s, STR("Lu"))) &&
	       scan_byte(s, quote);
}

static bool read_query(struct arena *a, struct str query, struct str wanted, struct listing *out)
{
	struct scan s = scan_of(query);
	*out = (struct listing){0};
	if (!keyword(&s, STR("SELECT")) || !select_list(&s, a, wanted, &out->value) ||
	    !keyword(&s, STR("FROM")))
		return false;
	scan_blanks(&s);
	out->table = bare(a, scan_while(&s, is_name));
	if (!keyword(&s, STR("WHERE")))
		return false;
	scan_blanks(&s);
	out->key = bare(a, scan_while(&s, is_name));
	if (out->table.n == 0 || out->key.n == 0 || !symbol(&s, '=') || !key_value(&s))
		return false;
	struct str rest = str_trim(scan_rest(&s));
	if (str_ends(rest, STR(";")))
		rest = str_trim(str_sub(rest, 0, rest.n - 1));
	out->rest = rest;
	if (ascii_is((unsigned char)out->value.p[0], ASCII_DIGIT))
		out->value = STR("");
	return !str_has_byte(rest, '%') && (rest.n == 0 || str_starts_nocase(rest, STR("AND ")));
}

/* ---- rows ----------------------------------------------------------------------------------------- */

typedef void take_row(struct takeover *t, struct str key, struct str value);

static void take_domain(struct takeover *t, struct str key, struct str value)
{
	(void)value;
	t->domains = arena_grow(t->arena, t->domains, t->domains_n, &t->domains_cap, sizeof *t->domains);
	t->domains[t->domains_n++] = key;
}

static void take_account(struct takeover *t, struct str key, struct str value)
{
	t->accounts = arena_grow(t->arena, t->accounts, t->accounts_n, &t->accounts_cap, sizeof *t->accounts);
	t->accounts[t->accounts_n++] = (struct takeover_account){key, value};
	t->weak += password_is_weak(value);
}

static void take_alias(struct takeover *t, struct str key, struct str value)
{
	t->aliases = arena_grow(t->arena, t->aliases, t->aliases_n, &t->aliases_cap, sizeof *t->aliases);
	t->aliases[t->aliases_n++] = (struct takeover_alias){key, value};
}

static bool from_dump(struct takeover *t, const struct mysqldump *d, const struct listing *l, take_row *take,
		      struct err *err)
{
	const struct dump_table *table = mysqldump_table(d, l->table);
	if (!table)
		return err_set(err, ERR_NOT_FOUND, "the dump has no table %.*s", STR_ARG(l->table));
	size_t key = dump_column(table, l->key), value = l->value.n ? dump_column(table, l->value) : 0;
	if (key == SIZE_MAX || value == SIZE_MAX)
		return err_set(err, ERR_NOT_FOUND, "the dump's table %.*s has no column %.*s",
			       STR_ARG(l->table), STR_ARG(key == SIZE_MAX ? l->key : l->value));
	for (size_t i = 0; i < table->rows_n; i++) {
		if (table->rows[i][key].n > 0)
			take(t, table->rows[i][key], l->value.n ? table->rows[i][value] : STR("1"));
	}
	return true;
}

static bool from_server(struct takeover *t, struct directory_link *link, const struct listing *l,
			take_row *take, struct err *err)
{
	struct sql_stmt *st;
	struct str sql = arena_fmt(t->arena, "SELECT %.*s, %.*s FROM %.*s%s%.*s ORDER BY 1", STR_ARG(l->key),
				   STR_ARG(l->value.n ? l->value : STR("1")), STR_ARG(l->table),
				   l->rest.n ? " WHERE " : "", STR_ARG(str_from(l->rest, l->rest.n ? 4 : 0)));
	if (!link_ready(link, err) || !sql_mariadb_query(link->db, sql, &st, err))
		return false;
	bool ok, row = true;
	size_t n = 0;
	while ((ok = sql_step(st, &row, err)) && row && n++ < ROWS_MAX) {
		struct str key = sql_column_str(st, 0);
		if (key.n > 0)
			take(t, arena_str(t->arena, key), arena_str(t->arena, sql_column_str(st, 1)));
	}
	sql_finalize(st);
	return ok;
}

/* ---- the three ------------------------------------------------------------------------------------ */

struct source {
	const struct mysqldump *dump; /* NULL: the server */
	_Atomic int64_t away_until_ms;
};

static bool rows_of(struct takeover *t, struct source *from, struct directory_link *link, const char *file,
		    struct str query, struct str wanted, take_row *take, bool *out_known, struct err *err)
{
	struct listing l;
	*out_known = read_query(t->arena, query, wanted, &l);
	if (!*out_known) {
		takeover_say(t, TAKEOVER_WARN, file, 0, query, STR_NONE,
			     "used as it is; its rows cannot be listed", "그대로 씁니다. 행 목록은 만들 수 없습니다");
		return true;
	}
	if (from->dump)
		return from_dump(t, from->dump, &l, take, err);
	bool ok = from_server(t, link, &l, take, err);
	link_close(link);
	return ok || err_while(err, "reading %.*s", STR_ARG(l.table));
}

static bool map_rows(struct takeover *t, struct source *from, struct str map, take_row *take, bool *known,
		     struct err *err)
{
	struct postfix_map m;
	struct directory_link link;
	bool this_known;
	if (!map.p)
		return true;
	const char *path = arena_cstr(t->arena, str_from(map, 6));
	if (!postfix_map_read(t->arena, path, &m, err))
		return false;
	postfix_map_link(&m, TIMEOUT_MS, &from->away_until_ms, &link);
	if (take) {
		if (!rows_of(t, from, &link, path, m.query, STR_NONE, take, &this_known, err))
			return false;
		*known &= this_known;
	}
	takeover_say(t, TAKEOVER_TAKEN, path, 0, m.query, STR("used as it is"), "", "");
	return true;
}

static bool password_rows(struct takeover *t, struct source *from, bool *known, struct err *err)
{
	struct dovecot_sql s;
	struct directory_link link;
	bool this_known;
	if (!t->dovecot_sql)
		return true;
	if (!dovecot_sql_read(t->arena, t->dovecot_sql, &s, err))
		return false;
	dovecot_sql_link(&s, TIMEOUT_MS, &from->away_until_ms, &link);
	if (!rows_of(t, from, &link, t->dovecot_sql, s.password_query, STR("password"), take_account,
		     &this_known, err))
		return false;
	*known &= this_known;
	takeover_say(t, TAKEOVER_TAKEN, t->dovecot_sql, 0, s.password_query, STR("used as it is"), "", "");
	struct str scheme = s.default_pass_scheme;
	for (size_t i = 0; i < t->accounts_n; i++) {
		struct str *hash = &t->accounts[i].hash;
		if (hash->n && hash->p[0] != '{' && scheme.n && !str_ends_nocase(scheme, STR("CRYPT")))
			*hash = arena_fmt(t->arena, "{%.*s}%.*s", STR_ARG(scheme), STR_ARG(*hash));
	}
	return true;
}

static bool is_ours(const struct takeover *t, struct str address)
{
	struct str domain = str_from(address, str_find_last_byte(address, '@') + 1);
	for (size_t i = 0; i < t->domains_n; i++) {
		if (str_eq_nocase(t->domains[i], domain))
			return true;
	}
	return false;
}

static void make_names(struct takeover *t)
{
	t->account_names = map_new();
	t->alias_names = map_new();
	for (size_t i = 0; i < t->accounts_n; i++)
		map_put(t->account_names, arena_lower(t->arena, t->accounts[i].address), t);
	for (size_t i = 0; i < t->aliases_n; i++)
		map_put(t->alias_names, arena_lower(t->arena, t->aliases[i].source), t);
}

/* An account or an alias, or what the alias of the whole domain catches. */
static bool has_name(const struct takeover *t, struct str address)
{
	struct str domain = str_from(address, str_find_last_byte(address, '@'));
	return takeover_has_account(t, address) ||
	       map_get(t->alias_names, arena_lower(t->arena, address)) ||
	       map_get(t->alias_names, arena_lower(t->arena, domain));
}

/* Aliases that lead to nobody (R22), and accounts of domains that are not there. */
static void look_for_loose_ends(struct takeover *t)
{
	for (size_t i = 0; i < t->aliases_n; i++) {
		const struct takeover_alias *x = &t->aliases[i];
		struct str *to;
		size_t n = takeover_words(t, x->destination, &to);
		for (size_t k = 0; k < n; k++) {
			if (is_ours(t, to[k]) && !has_name(t, to[k]))
				takeover_say(t, TAKEOVER_WARN, "database", 0, x->source, to[k],
					     "leads to nobody: mail comes back with 550 5.1.1",
					     "받는 사람이 없는 별칭입니다. 메일은 550 5.1.1로 반송됩니다");
		}
	}
	for (size_t i = 0; i < t->accounts_n; i++) {
		if (!is_ours(t, t->accounts[i].address))
			takeover_say(t, TAKEOVER_WARN, "database", 0, t->accounts[i].address, STR_NONE,
				     "its domain is not in the table of domains", "도메인 표에 없는 도메인입니다");
	}
}

static void summary(struct takeover *t, const char *dump)
{
	const char *file = dump ? dump : "database";
	takeover_say(t, TAKEOVER_TAKEN, file, 0,
		     arena_fmt(t->arena, "%zu domains, %zu accounts, %zu alias rows", t->domains_n,
			       t->accounts_n, t->aliases_n),
		     STR_NONE, "", "");
	if (t->weak)
		takeover_say(t, TAKEOVER_WARN, file, 0, arena_fmt(t->arena, "%zu weak hashes", t->weak),
			     STR_NONE, "they log in; new passwords should be set",
			     "로그인은 됩니다. 새 암호를 정하는 것이 좋습니다");
}

bool takeover_read_rows(struct takeover *t, const char *dump, struct err *err)
{
	struct source from = {0};
	struct mysqldump d;
	BUF_SCOPED text = {0};
	bool known = t->domain_maps.p && t->dovecot_sql;
	if (dump && (!file_read_whole(AT_FDCWD, dump, DUMP_MAX, &text, err) ||
		     !mysqldump_parse(t->arena, buf_str(&text), &d, err)))
		return err_while(err, "reading %s", dump);
	from.dump = dump ? &d : NULL;
	if (!map_rows(t, &from, t->domain_maps, take_domain, &known, err) ||
	    !map_rows(t, &from, t->account_maps, NULL, &known, err) ||
	    !map_rows(t, &from, t->alias_maps, take_alias, &known, err) ||
	    !password_rows(t, &from, &known, err))
		return false;
	t->rows_known = known;
	make_names(t);
	if (known)
		look_for_loose_ends(t);
	summary(t, dump);
	return true;
}
