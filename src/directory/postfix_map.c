/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Three steps: lines of "name = value", the meaning of the names, and the expansion of a query. The
 * expansion knows no SQL: it puts escaped text where a percent sign stands, and trusts the file's
 * author with the quotes around it.
 */
#include "directory/postfix_map.h"
#include "base/file.h"
#include "base/scan.h"
#include "base/secret.h"
#include <fcntl.h>
#include <string.h>

enum { LINES_MAX = 5000, DOMAINS_MAX = 1000, PARTS_MAX = 9 };

/* ---- lines ---------------------------------------------------------------------------------------- */

static bool is_blank_line(struct str s)
{
	s = str_trim(s);
	return s.n == 0 || s.p[0] == '#';
}

bool postfix_logical_line(struct arena *a, struct str *rest, unsigned *number, struct postfix_line *out)
{
	BUF_SCOPED value = {0};
	while (rest->p && rest->n > 0) {
		struct str before = *rest, line = str_cut(rest, '\n');
		bool blank = is_blank_line(line);
		bool continued = !blank && ascii_is((unsigned char)line.p[0], ASCII_SPACE);
		if (value.n > 0 && !blank && !continued) {
			*rest = before; /* the next one begins */
			break;
		}
		++*number;
		if (blank)
			continue;
		if (value.n == 0)
			out->number = *number;
		buf_add(&value, line);
	}
	out->name = STR_NONE;
	out->value = arena_str(a, str_trim(buf_str(&value)));
	return value.n > 0;
}

bool postfix_lines(struct arena *a, struct str text, const struct postfix_line **out, size_t *out_n,
		   struct err *err)
{
	struct postfix_line *v = NULL, line;
	size_t n = 0, cap = 0;
	unsigned number = 0;
	if (text.n && str_has_byte(text, '\0'))
		return err_set(err, ERR_SYNTAX, "the file holds a NUL byte");
	while (postfix_logical_line(a, &text, &number, &line)) {
		struct str value = line.value;
		line.name = str_trim(str_cut(&value, '='));
		if (!value.p || line.name.n == 0)
			return err_set(err, ERR_SYNTAX, "line %u: no \"name = value\"", line.number);
		if (n == LINES_MAX)
			return err_set(err, ERR_LIMIT, "more than %d settings", LINES_MAX);
		line.value = str_trim(value);
		v = arena_grow(a, v, n, &cap, sizeof *v);
		v[n++] = line;
	}
	*out = v;
	*out_n = n;
	return true;
}

/* ---- the file's meaning --------------------------------------------------------------------------- */

struct sketch {
	struct str hosts, user, password, dbname, query, result_format, domain, expansion_limit, tls_ca_file;
	struct str table, select_field, where_field, additional_conditions;
};
static const struct {
	const char *name;
	size_t at; /* in struct sketch; 0 with ignored: known and of no use here */
	bool ignored;
} names[] = {
#define FIELD(x) {#x, offsetof(struct sketch, x), false}
	FIELD(hosts),
	FIELD(user),
	FIELD(password),
	FIELD(dbname),
	FIELD(query),
	FIELD(result_format),
	FIELD(domain),
	FIELD(expansion_limit),
	FIELD(table),
	FIELD(select_field),
	FIELD(where_field),
	FIELD(additional_conditions),
	{"tls_CAfile", offsetof(struct sketch, tls_ca_file), false},
#undef FIELD
	{"option_file", 0, true},
	{"option_group", 0, true},
	{"require_result_set", 0, true},
	{"charset", 0, true},
	{"retry_interval", 0, true},
	{"idle_interval", 0, true},
};

static void take_line(struct sketch *s, const struct postfix_line *line, struct str *unknown)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!str_eq(line->name, str_of(names[i].name)))
			continue;
		if (!names[i].ignored)
			*(struct str *)(void *)((char *)s + names[i].at) = line->value;
		return;
	}
	if (!unknown->p)
		*unknown = line->name;
}

/* "unix:/path", "inet:host:port", "host:port", "host". */
static bool read_host(struct arena *a, struct str s, struct link_host *out)
{
	uint64_t port = 0;
	*out = (struct link_host){0};
	if (str_starts(s, STR("unix:"))) {
		out->socket = arena_cstr(a, str_from(s, 5));
		return true;
	}
	if (str_starts(s, STR("inet:")))
		s = str_from(s, 5);
	size_t colon = str_find_last_byte(s, ':');
	if (colon != STR_NPOS && str_find_byte(s, ':') == colon) {
		if (!str_u64(str_from(s, colon + 1), 65535, &port))
			return false;
		s = str_sub(s, 0, colon);
	}
	out->host = arena_cstr(a, s);
	out->port = (unsigned)port;
	return s.n > 0;
}

static struct str next_word(struct str *rest)
{
	static const char seps[] = ", \t";
	size_t from = 0, to;
	while (from < rest->n && strchr(seps, rest->p[from]))
		from++;
	for (to = from; to < rest->n && !strchr(seps, rest->p[to]); to++)
		;
	struct str word = str_sub(*rest, from, to - from);
	*rest = str_from(*rest, to);
	return word;
}

static bool read_hosts(struct arena *a, struct str list, struct postfix_map *m, struct err *err)
{
	for (struct str w; (w = next_word(&list)).n > 0;) {
		if (m->hosts_n == POSTFIX_MAP_HOSTS_MAX)
			return err_set(err, ERR_LIMIT, "more than %d hosts", POSTFIX_MAP_HOSTS_MAX);
		if (!read_host(a, w, &m->hosts[m->hosts_n++]))
			return err_set(err, ERR_SYNTAX, "hosts: \"%.*s\" is no host",
				       STR_ARG(str_sub(w, 0, 80)));
	}
	if (m->hosts_n == 0)
		m->hosts[m->hosts_n++] = (struct link_host){.host = "localhost"};
	return true;
}

static bool read_domains(struct arena *a, struct str list, struct postfix_map *m, struct err *err)
{
	struct str *v = NULL;
	size_t cap = 0;
	for (struct str w; (w = next_word(&list)).n > 0;) {
		if (str_has_byte(w, '/') || str_has_byte(w, ':'))
			return err_set(err, ERR_SYNTAX, "domain: lists in files or tables are not read here");
		if (m->domains_n == DOMAINS_MAX)
			return err_set(err, ERR_LIMIT, "more than %d domains", DOMAINS_MAX);
		v = arena_grow(a, v, m->domains_n, &cap, sizeof *v);
		v[m->domains_n++] = arena_lower(a, w);
	}
	m->domains = v;
	return true;
}

/* What expands to nothing known is the file's mistake, told when it is read. */
static bool format_ok(struct str s, const char *what, struct err *err)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%')
			continue;
		i++;
		if (i == s.n || !strchr("%sudSUD123456789", s.p[i]) || !s.p[i])
			return err_set(err, ERR_SYNTAX, "%s: a percent sign with no meaning at byte %zu",
				       what, i);
	}
	return true;
}

static bool read_query(struct arena *a, const struct sketch *s, struct postfix_map *m, struct err *err)
{
	m->query = s->query;
	if (!m->query.p) {
		if (!s->table.n || !s->select_field.n || !s->where_field.n)
			return err_set(err, ERR_SYNTAX,
				       "neither query nor table, select_field and where_field");
		m->query = arena_fmt(a, "SELECT %.*s FROM %.*s WHERE %.*s = '%%s' %.*s",
				     STR_ARG(s->select_field), STR_ARG(s->table), STR_ARG(s->where_field),
				     STR_ARG(s->additional_conditions));
	}
	m->result_format = s->result_format.p ? s->result_format : STR("%s");
	return format_ok(m->query, "query", err) && format_ok(m->result_format, "result_format", err);
}

bool postfix_map_parse(struct arena *a, struct str text, struct postfix_map *out, struct err *err)
{
	struct sketch s = {0};
	const struct postfix_line *lines;
	size_t n;
	*out = (struct postfix_map){0};
	if (!postfix_lines(a, text, &lines, &n, err))
		return false;
	for (size_t i = 0; i < n; i++)
		take_line(&s, &lines[i], &out->unknown);
	out->user = arena_cstr(a, s.user);
	out->password = arena_cstr(a, s.password);
	out->dbname = arena_cstr(a, s.dbname);
	out->tls_ca_file = arena_cstr(a, s.tls_ca_file);
	if (s.expansion_limit.p && !str_u64(s.expansion_limit, 1000000, &out->expansion_limit))
		return err_set(err, ERR_SYNTAX, "expansion_limit is no number");
	return read_hosts(a, s.hosts, out, err) && read_domains(a, s.domain, out, err) &&
	       read_query(a, &s, out, err);
}

bool postfix_map_read(struct arena *a, const char *path, struct postfix_map *out, struct err *err)
{
	BUF_SCOPED text = {0};
	bool ok = file_read_whole(AT_FDCWD, path, POSTFIX_MAP_FILE_MAX, &text, err) &&
		  postfix_map_parse(a, arena_str(a, buf_str(&text)), out, err);
	secret_wipe(text.p, text.n);
	return ok || err_while(err, "reading %s", path);
}

void postfix_map_link(const struct postfix_map *m, int timeout_ms, _Atomic int64_t *away_until_ms,
		      struct directory_link *out)
{
	*out = (struct directory_link){
		.options = {.user = m->user,
			    .password = m->password,
			    .database = m->dbname,
			    .tls_ca_file = m->tls_ca_file,
			    .timeout_ms = timeout_ms},
		.hosts = m->hosts,
		.hosts_n = m->hosts_n,
		.away_until_ms = away_until_ms,
	};
}

/* ---- expansion ------------------------------------------------------------------------------------ */

struct parts {
	struct str whole, user, domain; /* domain.p NULL: no "@" */
	struct str label[PARTS_MAX];    /* from the right: %1 is the top-level one */
	size_t labels;
};

static struct parts cut_parts(struct str s)
{
	struct parts p = {.whole = s, .user = s};
	size_t at = str_find_last_byte(s, '@');
	if (at == STR_NPOS)
		return p;
	p.user = str_sub(s, 0, at);
	p.domain = str_from(s, at + 1);
	for (struct str rest = p.domain; rest.p && p.labels < PARTS_MAX;) {
		size_t dot = str_find_last_byte(rest, '.');
		p.label[p.labels++] = dot == STR_NPOS ? rest : str_from(rest, dot + 1);
		rest = dot == STR_NPOS ? STR_NONE : str_sub(rest, 0, dot);
	}
	return p;
}

/* One letter behind a percent sign; false: the key lacks what it stands for. */
static bool part(const struct parts *value, const struct parts *key, char letter, struct str *out)
{
	switch (letter) {
	case '%': *out = STR("%"); return true;
	case 's': *out = value->whole; return true;
	case 'u': *out = value->user; return !value->domain.p || value->user.n > 0;
	case 'd': *out = value->domain; return value->domain.p != NULL;
	case 'S': *out = key->whole; return true;
	case 'U': *out = key->user; return !key->domain.p || key->user.n > 0;
	case 'D': *out = key->domain; return key->domain.p != NULL;
	default: break;
	}
	size_t n = (size_t)(letter - '1');
	if (n >= key->labels)
		return false;
	*out = key->label[n];
	return true;
}

static bool expand(struct str format, const struct parts *value, const struct parts *key,
		   postfix_map_escape *escape, void *ctx, struct buf *out)
{
	for (size_t i = 0; i < format.n; i++) {
		struct str text;
		if (format.p[i] != '%' || i + 1 == format.n) {
			buf_byte(out, format.p[i]);
			continue;
		}
		if (!part(value, key, format.p[++i], &text))
			return false;
		if (escape && format.p[i] != '%')
			escape(ctx, text, out);
		else
			buf_add(out, text);
	}
	return true;
}

/* mysql_table(5) "domain": only keys user@domain of these. */
static bool domain_wanted(const struct postfix_map *m, struct str key)
{
	size_t at = str_find_last_byte(key, '@');
	if (m->domains_n == 0)
		return true;
	for (size_t i = 0; at != STR_NPOS && i < m->domains_n; i++) {
		if (str_eq_nocase(m->domains[i], str_from(key, at + 1)))
			return true;
	}
	return false;
}

bool postfix_map_expand(const struct postfix_map *m, struct str key, postfix_map_escape *escape, void *ctx,
			struct buf *out)
{
	struct parts parts = cut_parts(key);
	size_t start = out->n;
	if (domain_wanted(m, key) && expand(m->query, &parts, &parts, escape, ctx, out))
		return true;
	out->n = start;
	return false;
}

void postfix_map_add(const struct postfix_map *m, struct str key, struct str value, size_t start,
		     struct buf *out)
{
	struct parts k = cut_parts(key), v = cut_parts(value);
	size_t before = out->n;
	if (value.n == 0)
		return;
	if (out->n > start)
		buf_byte(out, ',');
	if (!expand(m->result_format, &v, &k, NULL, NULL, out))
		out->n = before;
}

static void escape_for(void *ctx, struct str s, struct buf *out)
{
	sql_mariadb_escape(ctx, s, out);
}

static bool add_rows(const struct postfix_map *m, struct sql_stmt *st, struct str key, struct buf *out,
		     struct err *err)
{
	size_t start = out->n;
	uint64_t values = 0;
	for (bool row;;) {
		if (!sql_step(st, &row, err))
			return false;
		if (!row)
			return true;
		for (unsigned i = 0; i < sql_column_count(st); i++) {
			struct str value = sql_column_str(st, (int)i);
			postfix_map_add(m, key, value, start, out);
			if (value.n && m->expansion_limit && ++values > m->expansion_limit)
				return err_set(err, ERR_LIMIT, "more results than expansion_limit");
			if (out->n - start > POSTFIX_MAP_RESULT_MAX)
				return err_set(err, ERR_LIMIT, "the result is too long");
		}
	}
}

bool postfix_map_find(const struct postfix_map *m, struct directory_link *link, struct str key,
		      struct buf *out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED sql = {0};
	struct sql_stmt *st;
	key = arena_lower(a, key);
	if (key.n == 0)
		return true;
	if (!link_ready(link, err))
		return false;
	if (!postfix_map_expand(m, key, escape_for, link->db, &sql))
		return true;
	if (!sql_mariadb_query(link->db, buf_str(&sql), &st, err))
		return false;
	size_t start = out->n;
	bool ok = add_rows(m, st, key, out, err);
	if (!ok)
		out->n = start;
	sql_finalize(st);
	return ok;
}

/* ---- text tables ---------------------------------------------------------------------------------- */

bool postfix_text_find(struct str text, struct str key, struct arena *a, struct str *out, struct err *err)
{
	struct postfix_line line;
	unsigned number = 0;
	*out = STR_NONE;
	if (text.n && str_has_byte(text, '\0'))
		return err_set(err, ERR_SYNTAX, "the file holds a NUL byte");
	while (postfix_logical_line(a, &text, &number, &line)) {
		size_t n = 0;
		while (n < line.value.n && !ascii_is((unsigned char)line.value.p[n], ASCII_SPACE))
			n++;
		struct str value = str_trim(str_from(line.value, n));
		if (value.n == 0)
			return err_set(err, ERR_SYNTAX, "line %u: a key without value", line.number);
		if (!out->p && str_eq_nocase(str_sub(line.value, 0, n), key))
			*out = value; /* of two with one key the first counts */
	}
	return true;
}
