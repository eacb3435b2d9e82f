/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "import/mysqldump.h"
#include "base/buf.h"
#include "base/codec.h"
#include "base/scan.h"

/* ---- words ---------------------------------------------------------------------------------------- */

/* Blanks, "-- ..." and "# ..." to the end of the line, C comments. The hints that MySQL executes, C comments
 * that begin with an exclamation mark, hold nothing that is looked for. */
static void skip_blanks(struct scan *s)
{
	for (;;) {
		int c = scan_peek(s);
		if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
			s->p++;
		} else if (c == '#' || scan_lit(s, STR("--"))) {
			scan_until_byte(s, '\n');
		} else if (scan_lit(s, STR("/*"))) {
			size_t end = str_find(scan_rest(s), STR("*/"));
			s->p = end == STR_NPOS ? s->end : s->p + end + 2;
		} else {
			return;
		}
	}
}

static bool is_word(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '_' || c == '$' || c >= 0x80;
}

static bool word(struct scan *s, struct str w)
{
	struct scan at = *s;
	skip_blanks(&at);
	if (!str_eq_nocase(scan_while(&at, is_word), w))
		return false;
	*s = at;
	return true;
}

static bool byte(struct scan *s, char c)
{
	skip_blanks(s);
	return scan_byte(s, c);
}

/* A string between quotes c: a backslash escapes (not in `names`), the quote doubled is itself. */
static bool quoted(struct scan *s, char c, struct buf *out)
{
	if (!scan_byte(s, c))
		return false;
	while (!scan_end(s)) {
		char x = *s->p++;
		if (x == c && !scan_byte(s, c))
			return true;
		if (x == '\\' && c != '`' && !scan_end(s)) {
			static const char from[] = "0nrtZb", to[] = "\0\n\r\t\032\b";
			size_t i = 0;
			x = *s->p++;
			while (i < 6 && from[i] != x)
				i++;
			x = i < 6 ? to[i] : x;
		}
		buf_byte(out, x);
	}
	return false;
}

static bool name(struct scan *s, struct arena *a, struct str *out)
{
	BUF_SCOPED text = {0};
	skip_blanks(s);
	if (scan_peek(s) == '`' || scan_peek(s) == '"') {
		if (!quoted(s, *s->p, &text))
			return false;
		*out = arena_str(a, buf_str(&text));
		return true;
	}
	*out = scan_while(s, is_word);
	return out->n > 0;
}

/* database.table: the last part counts */
static bool table_name(struct scan *s, struct arena *a, struct str *out)
{
	if (!name(s, a, out))
		return false;
	while (byte(s, '.')) {
		if (!name(s, a, out))
			return false;
	}
	return true;
}

/* Behind the next ";" that stands in no string. */
static void skip_statement(struct scan *s)
{
	BUF_SCOPED ignored = {0};
	for (skip_blanks(s); !scan_end(s); skip_blanks(s)) {
		if (*s->p == '\'' || *s->p == '"' || *s->p == '`') {
			buf_clear(&ignored);
			(void)!quoted(s, *s->p, &ignored);
		} else if (*s->p++ == ';') {
			return;
		}
	}
}

/* ---- tables --------------------------------------------------------------------------------------- */

const struct dump_table *mysqldump_table(const struct mysqldump *d, struct str wanted)
{
	for (size_t i = 0; i < d->n; i++) {
		if (str_eq_nocase(d->v[i].name, wanted))
			return &d->v[i];
	}
	return NULL;
}

size_t dump_column(const struct dump_table *t, struct str wanted)
{
	for (size_t i = 0; i < t->columns_n; i++) {
		if (str_eq_nocase(t->columns[i], wanted))
			return i;
	}
	return SIZE_MAX;
}

static struct dump_table *table(struct arena *a, struct mysqldump *d, struct str wanted, struct err *err)
{
	struct dump_table *t = (struct dump_table *)(uintptr_t)mysqldump_table(d, wanted);
	if (t)
		return t;
	if (d->n == MYSQLDUMP_TABLES_MAX) {
		err_set(err, ERR_LIMIT, "more than %d tables", MYSQLDUMP_TABLES_MAX);
		return NULL;
	}
	d->v = arena_grow(a, d->v, d->n, &d->cap, sizeof *d->v);
	d->v[d->n] = (struct dump_table){.name = wanted};
	return &d->v[d->n++];
}

static bool add_column(struct arena *a, struct dump_table *t, struct str column, size_t *cap, struct err *err)
{
	struct str *v = (struct str *)(uintptr_t)t->columns;
	if (t->columns_n == MYSQLDUMP_COLUMNS_MAX)
		return err_set(err, ERR_LIMIT, "a table has more than %d columns", MYSQLDUMP_COLUMNS_MAX);
	v = arena_grow(a, v, t->columns_n, cap, sizeof *v);
	v[t->columns_n++] = column;
	t->columns = v;
	return true;
}

/* Behind the "," or ")" that ends an item of CREATE TABLE; *out_last: it was ")". */
static void skip_item(struct scan *s, bool *out_last)
{
	BUF_SCOPED ignored = {0};
	*out_last = true;
	unsigned depth = 0;
	for (skip_blanks(s); !scan_end(s); skip_blanks(s)) {
		char c = *s->p;
		if (c == '\'' || c == '"' || c == '`') {
			buf_clear(&ignored);
			if (!quoted(s, c, &ignored))
				return;
			continue;
		}
		s->p++;
		if (depth == 0 && (c == ',' || c == ')')) {
			*out_last = c == ')';
			return;
		}
		depth += c == '(';
		depth -= c == ')';
	}
}

static bool is_key(struct scan s)
{
	static const char *const words[] = {"PRIMARY", "UNIQUE", "KEY",	     "INDEX", "CONSTRAINT",
					    "FOREIGN", "CHECK",	 "FULLTEXT", "SPATIAL"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (word(&s, str_of(words[i])))
			return true;
	}
	return false;
}

/* CREATE TABLE [IF NOT EXISTS] name ( column type ..., KEY ... ) */
static bool create(struct scan *s, struct arena *a, struct mysqldump *d, struct err *err)
{
	struct str wanted, column;
	size_t cap = 0;
	if (word(s, STR("IF")) && !(word(s, STR("NOT")) && word(s, STR("EXISTS"))))
		return true;
	if (!table_name(s, a, &wanted) || !byte(s, '('))
		return true; /* CREATE TABLE ... LIKE and the like */
	struct dump_table *t = table(a, d, wanted, err);
	if (!t)
		return false;
	if (t->rows_n > 0)
		return true;
	t->columns = NULL;
	t->columns_n = 0;
	for (bool last = false; !last && !scan_end(s);) {
		skip_blanks(s);
		if (!is_key(*s)) {
			if (!name(s, a, &column) || !add_column(a, t, column, &cap, err))
				return err->kind == ERR_LIMIT ? false : true;
		}
		skip_item(s, &last);
	}
	return true;
}

/* NULL, a number, 'text', 0x6162, _binary 'text' */
static bool value(struct scan *s, struct arena *a, struct str *out)
{
	BUF_SCOPED text = {0};
	skip_blanks(s);
	if (word(s, STR("NULL"))) {
		*out = STR_NONE;
		return true;
	}
	(void)word(s, STR("_binary"));
	(void)word(s, STR("_utf8mb4"));
	skip_blanks(s);
	if (scan_peek(s) == '\'' || scan_peek(s) == '"') {
		if (!quoted(s, *s->p, &text))
			return false;
	} else if (scan_lit(s, STR("0x"))) {
		if (!hex_decode(&text, scan_while_class(s, ASCII_XDIGIT)))
			return false;
	} else {
		const char *begin = s->p;
		while (!scan_end(s) &&
		       (is_word((unsigned char)*s->p) || *s->p == '.' || *s->p == '-' || *s->p == '+'))
			s->p++;
		if (s->p == begin)
			return false;
		buf_add_bytes(&text, begin, (size_t)(s->p - begin));
	}
	*out = text.n ? arena_str(a, buf_str(&text)) : STR("");
	return true;
}

/* ( value, ... ) in the order given; order NULL: the table's. */
static bool row(struct scan *s, struct arena *a, struct dump_table *t, const size_t *order, size_t order_n,
		struct err *err)
{
	size_t n = 0, wanted = order ? order_n : t->columns_n;
	if (!byte(s, '('))
		return err_set(err, ERR_SYNTAX, "INSERT without ( ... )");
	struct str *v = arena_zalloc(a, (t->columns_n + 1) * sizeof *v);
	do {
		struct str x;
		if (n == wanted || !value(s, a, &x))
			return err_set(err, ERR_SYNTAX, "a row of %.*s does not fit its columns",
				       STR_ARG(str_sub(t->name, 0, 60)));
		v[order ? order[n] : n] = x;
		n++;
	} while (byte(s, ','));
	if (!byte(s, ')') || n != wanted)
		return err_set(err, ERR_SYNTAX, "a row of %.*s does not fit its columns",
			       STR_ARG(str_sub(t->name, 0, 60)));
	if (t->rows_n == MYSQLDUMP_ROWS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d rows", MYSQLDUMP_ROWS_MAX);
	const struct str **rows = (const struct str **)(uintptr_t)t->rows;
	rows = arena_grow(a, rows, t->rows_n, &t->rows_cap, sizeof *rows);
	rows[t->rows_n++] = v;
	t->rows = (const struct str *const *)rows;
	return true;
}

/* The columns that INSERT names; those that CREATE did not (or no CREATE) are added. */
static bool insert_columns(struct scan *s, struct arena *a, struct dump_table *t, size_t *order,
			   size_t *out_n, struct err *err)
{
	size_t cap = t->columns_n;
	do {
		struct str column;
		if (!name(s, a, &column) || *out_n == MYSQLDUMP_COLUMNS_MAX)
			return err_set(err, ERR_SYNTAX, "INSERT names its columns wrongly");
		size_t at = dump_column(t, column);
		if (at == SIZE_MAX) {
			if (t->rows_n > 0)
				return err_set(err, ERR_SYNTAX, "INSERT names a column that is not there");
			at = t->columns_n;
			if (!add_column(a, t, column, &cap, err))
				return false;
		}
		order[(*out_n)++] = at;
	} while (byte(s, ','));
	return byte(s, ')') || err_set(err, ERR_SYNTAX, "INSERT names its columns wrongly");
}

/* INSERT [IGNORE] INTO name [( columns )] VALUES row, row; */
static bool insert(struct scan *s, struct arena *a, struct mysqldump *d, struct err *err)
{
	size_t order[MYSQLDUMP_COLUMNS_MAX], order_n = 0;
	struct str wanted;
	(void)word(s, STR("IGNORE"));
	(void)word(s, STR("INTO"));
	if (!table_name(s, a, &wanted))
		return true;
	struct dump_table *t = table(a, d, wanted, err);
	if (!t || (byte(s, '(') && !insert_columns(s, a, t, order, &order_n, err)))
		return false;
	if (!word(s, STR("VALUES")) && !word(s, STR("VALUE")))
		return true; /* INSERT ... SELECT */
	if (t->columns_n == 0)
		return err_set(err, ERR_SYNTAX, "INSERT INTO %.*s comes before its CREATE TABLE",
			       STR_ARG(str_sub(wanted, 0, 60)));
	do {
		if (!row(s, a, t, order_n ? order : NULL, order_n, err))
			return false;
	} while (byte(s, ','));
	return true;
}

bool mysqldump_parse(struct arena *a, struct str text, struct mysqldump *out, struct err *err)
{
	struct scan s = scan_of(text);
	*out = (struct mysqldump){0};
	for (skip_blanks(&s); !scan_end(&s); skip_blanks(&s)) {
		bool ok = true;
		if (word(&s, STR("CREATE")))
			ok = !word(&s, STR("TABLE")) || create(&s, a, out, err);
		else if (word(&s, STR("INSERT")) || word(&s, STR("REPLACE")))
			ok = insert(&s, a, out, err);
		if (!ok)
			return err_while(err, "at byte %zu of the dump", (size_t)(s.p - text.p));
		skip_statement(&s);
	}
	return true;
}
