/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/table.h: columns for people. Widths are of characters on a terminal: Hangul and other wide
 * ones count two (UAX #11), combining ones none. Control characters are shown as "?".
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { TABLE_COLUMNS_MAX = 16 };
struct table;
/* Titles separated by "|"; one that begins with ">" is aligned to the right: "NAME|>SIZE". */
struct table *table_new(struct arena *a, const char *titles);
void table_cell(struct table *t, struct str s); /* fills rows from left to right; copied */
void table_cell_fmt(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *t, struct buf *out); /* header only when there are rows */
size_t text_width(struct str s);
