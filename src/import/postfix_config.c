/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "import/postfix_config.h"
#include "base/scan.h"

enum { OPTIONS_MAX = 200, STEPS_MAX = 10000 };

bool postfix_config_parse(struct arena *a, struct str text, struct postfix_config *out, struct err *err)
{
	return postfix_lines(a, text, &out->v, &out->n, err);
}

struct str postfix_config_get(const struct postfix_config *c, struct str name)
{
	for (size_t i = c->n; i > 0; i--) {
		if (str_eq(c->v[i - 1].name, name))
			return c->v[i - 1].value;
	}
	return STR_NONE;
}

/* ---- expansion ------------------------------------------------------------------------------------ */

struct expansion {
	const struct postfix_config *c;
	struct arena *a;
	unsigned depth, steps;
	struct buf out;
};

static bool expand(struct expansion *e, struct str text, struct err *err);

/* postconf(5): mydomain is myhostname without its first label. */
static struct str default_of(const struct postfix_config *c, struct str name)
{
	if (str_eq(name, STR("mydomain"))) {
		struct str host = postfix_config_get(c, STR("myhostname"));
		size_t dot = str_find_byte(host, '.');
		return dot == STR_NPOS ? STR("localdomain") : str_from(host, dot + 1);
	}
	if (str_eq(name, STR("myorigin")))
		return STR("$myhostname");
	if (str_eq(name, STR("mydestination")))
		return STR("$myhostname, localhost.$mydomain, localhost");
	if (str_eq(name, STR("config_directory")))
		return STR("/etc/postfix");
	return STR_NONE;
}

static struct str value_of(const struct postfix_config *c, struct str name)
{
	struct str v = postfix_config_get(c, name);
	return v.p ? v : default_of(c, name);
}

static bool is_name(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '_';
}

static bool expand_name(struct expansion *e, struct str name, struct err *err)
{
	return expand(e, value_of(e->c, name), err);
}

/* What stands between braces: name, name?text (if it is not empty), name:text (if it is). */
static bool expand_braced(struct expansion *e, struct str inner, struct err *err)
{
	struct scan s = scan_of(inner);
	struct str name = scan_while(&s, is_name);
	bool if_set = scan_byte(&s, '?'), if_not = !if_set && scan_byte(&s, ':');
	struct str text = scan_rest(&s);
	if (!if_set && !if_not)
		return text.n == 0 ? expand_name(e, name, err)
				   : err_set(err, ERR_SYNTAX, "${%.*s}: not understood",
					     STR_ARG(str_sub(inner, 0, 60)));
	/* ${name?{text}} of Postfix 3.0 */
	if (text.n >= 2 && text.p[0] == '{' && text.p[text.n - 1] == '}')
		text = str_trim(str_sub(text, 1, text.n - 2));
	bool set = value_of(e->c, name).n > 0;
	return set != if_set || expand(e, text, err);
}

/* Up to the bracket that closes the one before the scan. */
static bool scan_closed(struct scan *s, char open, char close, struct str *out)
{
	const char *begin = s->p;
	for (unsigned depth = 1; !scan_end(s); s->p++) {
		depth += *s->p == open;
		depth -= *s->p == close;
		if (depth == 0) {
			*out = (struct str){begin, (size_t)(s->p++ - begin)};
			return true;
		}
	}
	s->p = begin;
	return false;
}

static bool expand_dollar(struct expansion *e, struct scan *s, struct err *err)
{
	struct str inner;
	if (scan_byte(s, '$')) {
		buf_byte(&e->out, '$');
		return true;
	}
	if (scan_byte(s, '{'))
		return scan_closed(s, '{', '}', &inner) ? expand_braced(e, inner, err)
							: err_set(err, ERR_SYNTAX, "${ without }");
	if (scan_byte(s, '('))
		return scan_closed(s, '(', ')', &inner) ? expand_braced(e, inner, err)
							: err_set(err, ERR_SYNTAX, "$( without )");
	return expand_name(e, scan_while(s, is_name), err);
}

static bool expand(struct expansion *e, struct str text, struct err *err)
{
	if (e->depth == POSTFIX_EXPAND_DEPTH || ++e->steps > STEPS_MAX)
		return err_set(err, ERR_LIMIT, "a setting leads to itself");
	e->depth++;
	bool ok = true;
	for (struct scan s = scan_of(text); ok && !scan_end(&s);) {
		buf_add(&e->out, scan_until_byte(&s, '$'));
		if (scan_byte(&s, '$'))
			ok = expand_dollar(e, &s, err);
		if (e->out.failed)
			ok = err_set(err, ERR_LIMIT, "a setting expands to more than %d bytes",
				     POSTFIX_EXPAND_MAX);
	}
	e->depth--;
	return ok;
}

bool postfix_config_expand(const struct postfix_config *c, struct arena *a, struct str text, struct str *out,
			   struct err *err)
{
	struct expansion e = {.c = c, .a = a, .out = {.max = POSTFIX_EXPAND_MAX}};
	bool ok = expand(&e, text, err);
	if (ok)
		*out = arena_str(a, buf_str(&e.out));
	buf_free(&e.out);
	return ok;
}

/* ---- master.cf ------------------------------------------------------------------------------------ */

static struct str next_field(struct scan *s)
{
	struct str inner;
	scan_blanks(s);
	if (scan_byte(s, '{')) { /* { name = value } with blanks, Postfix 3.0 */
		if (scan_closed(s, '{', '}', &inner))
			return str_trim(inner);
		s->p--;
	}
	const char *begin = s->p;
	while (!scan_end(s) && !ascii_is((unsigned char)*s->p, ASCII_SPACE))
		s->p++;
	return (struct str){begin, (size_t)(s->p - begin)};
}

static bool read_options(struct arena *a, struct scan s, struct postfix_service *out, struct err *err)
{
	struct postfix_line *v = NULL;
	size_t cap = 0;
	for (struct str word; (word = next_field(&s)).n > 0;) {
		if (!str_starts(word, STR("-o")))
			continue;
		struct str value = word.n > 2 ? str_from(word, 2) : next_field(&s);
		struct str name = str_trim(str_cut(&value, '='));
		if (!value.p)
			return err_set(err, ERR_SYNTAX, "line %u: -o without name=value", out->line);
		if (out->options_n == OPTIONS_MAX)
			return err_set(err, ERR_LIMIT, "line %u: too many -o", out->line);
		v = arena_grow(a, v, out->options_n, &cap, sizeof *v);
		v[out->options_n++] = (struct postfix_line){out->line, name, str_trim(value)};
	}
	out->options = v;
	return true;
}

/* service type private unpriv chroot wakeup maxproc command */
static bool read_service(struct arena *a, const struct postfix_line *line, struct postfix_service *out,
			 struct err *err)
{
	struct scan s = scan_of(line->value);
	*out = (struct postfix_service){.line = line->number};
	out->name = next_field(&s);
	out->type = next_field(&s);
	for (int i = 0; i < 5; i++) {
		if (next_field(&s).n == 0)
			return err_set(err, ERR_SYNTAX, "line %u: fewer than 8 fields", line->number);
	}
	scan_blanks(&s);
	out->command = scan_rest(&s);
	return out->command.n > 0 ? read_options(a, s, out, err)
				  : err_set(err, ERR_SYNTAX, "line %u: no command", line->number);
}

bool postfix_master_parse(struct arena *a, struct str text, const struct postfix_service **out, size_t *out_n,
			  struct err *err)
{
	struct postfix_service *v = NULL;
	struct postfix_line line;
	size_t n = 0, cap = 0;
	unsigned number = 0;
	if (text.n && str_has_byte(text, '\0'))
		return err_set(err, ERR_SYNTAX, "the file holds a NUL byte");
	while (postfix_logical_line(a, &text, &number, &line)) {
		if (n == POSTFIX_SERVICES_MAX)
			return err_set(err, ERR_LIMIT, "more than %d services", POSTFIX_SERVICES_MAX);
		v = arena_grow(a, v, n, &cap, sizeof *v);
		if (!read_service(a, &line, &v[n++], err))
			return false;
	}
	*out = v;
	*out_n = n;
	return true;
}

struct str postfix_service_option(const struct postfix_service *s, struct str name)
{
	for (size_t i = s->options_n; i > 0; i--) {
		if (str_eq(s->options[i - 1].name, name))
			return s->options[i - 1].value;
	}
	return STR_NONE;
}
