/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "directory/dovecot_sql.h"
#include "base/file.h"
#include "base/scan.h"
#include "base/secret.h"
#include <fcntl.h>
#include <string.h>

/* ---- lines ---------------------------------------------------------------------------------------- */

/* Up to a "#" that is not inside quotes. */
static struct str without_comment(struct str s)
{
	char quote = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (quote) {
			if (s.p[i] == '\\' && i + 1 < s.n)
				i++;
			else if (s.p[i] == quote)
				quote = 0;
		} else if (s.p[i] == '"' || s.p[i] == '\'') {
			quote = s.p[i];
		} else if (s.p[i] == '#') {
			return str_sub(s, 0, i);
		}
	}
	return s;
}

bool dovecot_logical_line(struct arena *a, struct str *rest, unsigned *number, struct postfix_line *out)
{
	BUF_SCOPED text = {0};
	bool joined = false;
	while (rest->p && rest->n > 0) {
		struct str line = str_trim(without_comment(str_cut(rest, '\n')));
		++*number;
		if (text.n == 0)
			out->number = *number;
		joined = str_ends(line, STR("\\"));
		if (joined)
			line = str_trim(str_sub(line, 0, line.n - 1));
		if (text.n > 0 && line.n > 0)
			buf_byte(&text, ' ');
		buf_add(&text, line);
		if (text.n > 0 && !joined)
			break;
	}
	out->name = STR_NONE;
	out->value = arena_str(a, buf_str(&text));
	return text.n > 0;
}

struct str dovecot_unquote(struct arena *a, struct str value)
{
	BUF_SCOPED out = {0};
	if (value.n < 2 || (value.p[0] != '"' && value.p[0] != '\'') || value.p[value.n - 1] != value.p[0])
		return value;
	for (size_t i = 1; i + 1 < value.n; i++) {
		if (value.p[i] == '\\' && i + 2 < value.n)
			i++;
		buf_byte(&out, value.p[i]);
	}
	return out.n ? arena_str(a, buf_str(&out)) : STR("");
}

/* ---- variables ------------------------------------------------------------------------------------ */

struct variable {
	bool lower, upper;
	struct str value;
};

static bool letter_value(const struct dovecot_vars *v, char letter, struct str *out)
{
	size_t at = str_find_byte(v->user, '@');
	switch (letter) {
	case 'u': *out = v->user; return true;
	case 'n': *out = at == STR_NPOS ? v->user : str_sub(v->user, 0, at); return true;
	case 'd': *out = at == STR_NPOS ? STR("") : str_from(v->user, at + 1); return true;
	case 'h': *out = v->home; return true;
	case 's': *out = v->service; return true;
	default: return false;
	}
}

static bool long_value(const struct dovecot_vars *v, struct str name, struct str *out)
{
	static const struct { struct str name; char letter; } names[] = {
		{STR("user"), 'u'}, {STR("username"), 'n'}, {STR("domain"), 'd'}, {STR("home"), 'h'},
		{STR("service"), 's'},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (str_eq(name, names[i].name))
			return letter_value(v, names[i].letter, out);
	}
	return false;
}

/* variable = "%" *modifier ( letter / "{" name "}" ); the modifiers L and U, E is what escaping does */
static bool scan_variable(struct scan *s, const struct dovecot_vars *v, struct variable *out)
{
	for (;;) {
		if (scan_byte(s, 'L'))
			out->lower = true;
		else if (scan_byte(s, 'U'))
			out->upper = true;
		else if (!scan_byte(s, 'E'))
			break;
	}
	if (scan_byte(s, '{')) {
		struct str name = scan_until_byte(s, '}');
		return scan_byte(s, '}') && long_value(v, name, &out->value);
	}
	int letter = scan_peek(s);
	return letter > 0 && letter_value(v, (char)letter, &out->value) && scan_skip(s, 1);
}

static void add_value(const struct variable *x, postfix_map_escape *escape, void *ctx, struct buf *out)
{
	BUF_SCOPED text = {0};
	for (size_t i = 0; i < x->value.n; i++) {
		char c = x->value.p[i];
		buf_byte(&text, x->lower ? ascii_lower(c) : x->upper ? ascii_upper(c) : c);
	}
	if (escape)
		escape(ctx, buf_str(&text), out);
	else
		buf_add(out, buf_str(&text));
}

bool dovecot_expand(struct str format, const struct dovecot_vars *v, postfix_map_escape *escape, void *ctx,
		    struct buf *out, struct err *err)
{
	struct scan s = scan_of(format);
	while (!scan_end(&s)) {
		struct variable x = {0};
		buf_add(out, scan_until_byte(&s, '%'));
		if (scan_end(&s))
			break;
		const char *at = s.p++;
		if (scan_byte(&s, '%')) {
			buf_byte(out, '%');
			continue;
		}
		if (!scan_variable(&s, v, &x))
			return err_set(err, ERR_SYNTAX, "the variable at \"%.*s\" cannot be given here",
				       STR_ARG(str_sub(str_from(format, (size_t)(at - format.p)), 0, 20)));
		add_value(&x, escape, ctx, out);
	}
	return true;
}

/* ---- the file ------------------------------------------------------------------------------------- */

/* "host=localhost dbname=postfix_accounts user=x password=y", mysql driver: several hosts may be named. */
static bool read_connect(struct arena *a, struct str s, struct dovecot_sql *out, struct err *err)
{
	uint64_t port = 0;
	while (s.p) {
		struct str word = str_trim(str_cut(&s, ' ')), value = word;
		struct str name = str_cut(&value, '=');
		if (word.n == 0)
			continue;
		if (!value.p)
			return err_set(err, ERR_SYNTAX, "connect: \"%.*s\" is no name=value",
				       STR_ARG(str_sub(name, 0, 40)));
		const char *text = arena_cstr(a, value);
		if (str_eq(name, STR("host")) || str_eq(name, STR("hostaddr"))) {
			if (out->hosts_n == POSTFIX_MAP_HOSTS_MAX)
				return err_set(err, ERR_LIMIT, "connect: more than %d hosts",
					       POSTFIX_MAP_HOSTS_MAX);
			struct link_host *h = &out->hosts[out->hosts_n++];
			*h = (struct link_host){0};
			*(str_starts(value, STR("/")) ? &h->socket : &h->host) = text;
		} else if (str_eq(name, STR("user"))) {
			out->user = text;
		} else if (str_eq(name, STR("password"))) {
			out->password = text;
		} else if (str_eq(name, STR("dbname"))) {
			out->dbname = text;
		} else if (str_eq(name, STR("ssl_ca"))) {
			out->tls_ca_file = text;
		} else if (str_eq(name, STR("port")) && !str_u64(value, 65535, &port)) {
			return err_set(err, ERR_SYNTAX, "connect: port is no number");
		}
	}
	if (out->hosts_n == 0)
		out->hosts[out->hosts_n++] = (struct link_host){.host = "localhost"};
	for (size_t i = 0; i < out->hosts_n; i++)
		out->hosts[i].port = (unsigned)port;
	return true;
}

static bool query_ok(struct str query, const char *what, struct err *err)
{
	const struct dovecot_vars none = {.user = STR("u@d"), .home = STR(""), .service = STR("")};
	BUF_SCOPED ignored = {0};
	return !query.p || dovecot_expand(query, &none, NULL, NULL, &ignored, err) ||
	       err_while(err, "%s", what);
}

static bool take_line(struct arena *a, struct str name, struct str value, struct dovecot_sql *out,
		      struct err *err)
{
	static const char *const ignored[] = {"sqlite_journal_mode", "iterate_query"};
	struct str *const fields[] = {&out->driver, &out->default_pass_scheme, &out->password_query,
				      &out->user_query, &out->iterate_query};
	static const char *const names[] = {"driver", "default_pass_scheme", "password_query", "user_query",
					    "iterate_query"};
	if (str_eq(name, STR("connect")))
		return read_connect(a, value, out, err);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (str_eq(name, str_of(names[i]))) {
			*fields[i] = value;
			return true;
		}
	}
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
		if (str_eq(name, str_of(ignored[i])))
			return true;
	}
	if (!out->unknown.p)
		out->unknown = name;
	return true;
}

bool dovecot_sql_parse(struct arena *a, struct str text, struct dovecot_sql *out, struct err *err)
{
	struct postfix_line line;
	unsigned number = 0;
	*out = (struct dovecot_sql){0};
	if (text.n && str_has_byte(text, '\0'))
		return err_set(err, ERR_SYNTAX, "the file holds a NUL byte");
	while (dovecot_logical_line(a, &text, &number, &line)) {
		struct str value = line.value, name = str_trim(str_cut(&value, '='));
		if (!value.p || name.n == 0)
			return err_set(err, ERR_SYNTAX, "line %u: no \"name = value\"", line.number);
		if (!take_line(a, name, dovecot_unquote(a, str_trim(value)), out, err))
			return err_while(err, "line %u", line.number);
	}
	if (out->hosts_n == 0 && !read_connect(a, STR(""), out, err))
		return false;
	if (out->driver.p && !str_eq(out->driver, STR("mysql")))
		return err_set(err, ERR_SYNTAX, "driver = %.*s: only mysql is read",
			       STR_ARG(str_sub(out->driver, 0, 20)));
	return query_ok(out->password_query, "password_query", err) &&
	       query_ok(out->user_query, "user_query", err);
}

bool dovecot_sql_read(struct arena *a, const char *path, struct dovecot_sql *out, struct err *err)
{
	BUF_SCOPED text = {0};
	bool ok = file_read_whole(AT_FDCWD, path, POSTFIX_MAP_FILE_MAX, &text, err) &&
		  dovecot_sql_parse(a, arena_str(a, buf_str(&text)), out, err);
	secret_wipe(text.p, text.n);
	return ok || err_while(err, "reading %s", path);
}

void dovecot_sql_link(const struct dovecot_sql *s, int timeout_ms, _Atomic int64_t *away_until_ms,
		      struct directory_link *out)
{
	*out = (struct directory_link){
		.options = {.user = s->user,
			    .password = s->password,
			    .database = s->dbname,
			    .tls_ca_file = s->tls_ca_file,
			    .timeout_ms = timeout_ms},
		.hosts = s->hosts,
		.hosts_n = s->hosts_n,
		.away_until_ms = away_until_ms,
	};
}
