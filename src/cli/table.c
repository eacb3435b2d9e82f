/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/table.h"
#include "base/codec.h"

#include <utf8proc.h>

struct table {
	struct arena *arena;
	struct str titles[TABLE_COLUMNS_MAX];
	bool right[TABLE_COLUMNS_MAX];
	size_t columns;
	struct str *cells;
	size_t n, cap;
};

struct table *table_new(struct arena *a, const char *titles)
{
	struct table *t = arena_new_of(a, struct table);
	struct str rest = str_of(titles);
	t->arena = a;
	while (rest.p && t->columns < TABLE_COLUMNS_MAX) {
		struct str title = str_cut(&rest, '|');
		t->right[t->columns] = str_starts(title, STR(">"));
		t->titles[t->columns] = str_from(title, t->right[t->columns]);
		t->columns++;
	}
	return t;
}

/* What a terminal would act upon is shown as "?". */
static struct str printable(struct arena *a, struct str s)
{
	char *copy = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n;) {
		uint32_t cp;
		size_t len = utf8_decode(str_from(s, i), &cp);
		bool bad = len == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ||
			   utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_CF;
		if (bad)
			copy[n++] = '?';
		for (size_t k = 0; !bad && k < len; k++)
			copy[n++] = s.p[i + k];
		i += len ? len : 1;
	}
	return (struct str){copy, n};
}

void table_cell(struct table *t, struct str s)
{
	t->cells = arena_grow(t->arena, t->cells, t->n, &t->cap, sizeof *t->cells);
	t->cells[t->n++] = printable(t->arena, s);
}

void table_cell_fmt(struct table *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	table_cell(t, arena_vfmt(t->arena, fmt, ap));
	va_end(ap);
}

size_t text_width(struct str s)
{
	size_t width = 0;
	for (size_t i = 0; i < s.n;) {
		uint32_t cp;
		size_t len = utf8_decode(str_from(s, i), &cp);
		int w = len ? utf8proc_charwidth((utf8proc_int32_t)cp) : 1;
		width += w > 0 ? (size_t)w : 0;
		i += len ? len : 1;
	}
	return width;
}

static void print_cell(struct buf *out, struct str s, size_t width, bool right, bool last)
{
	size_t pad = width - text_width(s);
	for (size_t i = 0; right && i < pad; i++)
		buf_byte(out, ' ');
	buf_add(out, s);
	for (size_t i = 0; !right && !last && i < pad; i++)
		buf_byte(out, ' ');
	buf_add(out, last ? STR("\n") : STR("  "));
}

static void print_row(const struct table *t, const struct str *row, const size_t *widths, struct buf *out)
{
	size_t start = out->n;
	for (size_t c = 0; c < t->columns; c++)
		print_cell(out, row[c], widths[c], t->right[c], c + 1 == t->columns);
	/* No blanks at the end where the last cells are empty. */
	size_t end = out->n - 1;
	while (end > start && out->p[end - 1] == ' ')
		end--;
	out->p[end] = '\n';
	out->n = end + 1;
}

void table_print(const struct table *t, struct buf *out)
{
	size_t widths[TABLE_COLUMNS_MAX] = {0}, rows = t->columns ? t->n / t->columns : 0;
	bool titled = false;
	if (rows == 0)
		return;
	for (size_t c = 0; c < t->columns; c++) {
		widths[c] = text_width(t->titles[c]);
		titled |= t->titles[c].n > 0;
		for (size_t r = 0; r < rows; r++) {
			size_t w = text_width(t->cells[r * t->columns + c]);
			widths[c] = w > widths[c] ? w : widths[c];
		}
	}
	if (titled)
		print_row(t, t->titles, widths, out);
	for (size_t r = 0; r < rows; r++)
		print_row(t, t->cells + r * t->columns, widths, out);
}
