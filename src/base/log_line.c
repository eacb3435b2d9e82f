/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/log_line.h"

bool log_line_read(struct str line, struct log_line *out)
{
	struct str rest = line;
	out->time = str_cut(&rest, ' ');
	out->level = str_cut(&rest, ' ');
	out->event = str_cut(&rest, ' ');
	out->fields = rest.p ? rest : STR("");
	return out->time.n && out->level.n && out->event.n;
}

/* Where the closing quote is, or the end. */
static size_t quoted_end(struct str s)
{
	size_t n = 0;
	while (n < s.n && s.p[n] != '"')
		n += s.p[n] == '\\' && n + 1 < s.n ? 2 : 1;
	return n;
}

bool log_line_next(struct str *rest, struct log_value *out)
{
	*rest = str_trim(*rest);
	if (!rest->n)
		return false;
	size_t equals = str_find_byte(*rest, '='), blank = str_find_byte(*rest, ' ');
	if (equals == STR_NPOS ||
	    (blank != STR_NPOS && blank < equals)) { /* a word alone: of no use, but no end */
		*out = (struct log_value){str_cut(rest, ' '), STR(""), false};
		return true;
	}
	out->key = str_sub(*rest, 0, equals);
	*rest = str_from(*rest, equals + 1);
	out->quoted = rest->n && rest->p[0] == '"';
	if (out->quoted) {
		*rest = str_from(*rest, 1);
		size_t n = quoted_end(*rest);
		out->raw = str_sub(*rest, 0, n);
		*rest = str_from(*rest, n + 1);
	} else {
		out->raw = str_cut(rest, ' ');
	}
	if (!rest->p)
		*rest = STR("");
	return true;
}

struct log_value log_line_find(const struct log_line *l, struct str key)
{
	struct str rest = l->fields;
	struct log_value v;
	while (log_line_next(&rest, &v))
		if (str_eq(v.key, key))
			return v;
	return (struct log_value){0};
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape at raw[0]; how many bytes it takes. */
static size_t unescape(struct buf *out, struct str raw)
{
	char c = raw.n > 1 ? raw.p[1] : 0;
	int high = raw.n > 3 ? digit_of(raw.p[2]) : -1, low = raw.n > 3 ? digit_of(raw.p[3]) : -1;
	if (c == 'x' && high >= 0 && low >= 0 && high < 8) {
		buf_byte(out, (char)(high * 16 + low));
		return 4;
	}
	if (c == 'n' || c == 'r' || c == 't') {
		buf_byte(out, c == 'n' ? '\n' : c == 'r' ? '\r' : '\t');
		return 2;
	}
	if (c == '"' || c == '\\') {
		buf_byte(out, c);
		return 2;
	}
	buf_byte(out, '\\');
	return 1;
}

void log_value_text(struct buf *out, const struct log_value *v)
{
	struct str rest = v->raw;
	if (!v->quoted) {
		buf_add(out, rest);
		return;
	}
	while (rest.n) {
		size_t n = str_find_byte(rest, '\\');
		buf_add(out, str_sub(rest, 0, n == STR_NPOS ? rest.n : n));
		rest = str_from(rest, n == STR_NPOS ? rest.n : n);
		if (rest.n)
			rest = str_from(rest, unescape(out, rest));
	}
}
