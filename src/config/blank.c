/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Comments become blanks before libconfuse 3.3 sees them: it counts the lines of comments twice,
 * refuses them inside lists, and takes a file whose last brace is missing.
 */
#include "config/config_int.h"

struct blanker {
	char *p;
	size_t n, at;
	unsigned line, open_line, depth;
};

static bool token_ends(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '=' || c == '{' || c == '}' ||
	       c == '(' || c == ')' || c == ',' || c == '+' || c == '"' || c == '\'';
}

static bool comes(const struct blanker *b, const char *two)
{
	return b->at + 1 < b->n && b->p[b->at] == two[0] && b->p[b->at + 1] == two[1];
}

static void blank_line(struct blanker *b)
{
	while (b->at < b->n && b->p[b->at] != '\n')
		b->p[b->at++] = ' ';
}

static void blank_block(struct blanker *b)
{
	while (b->at < b->n && !comes(b, "*/")) {
		if (b->p[b->at] == '\n')
			b->line++;
		else
			b->p[b->at] = ' ';
		b->at++;
	}
	for (int i = 0; i < 2 && b->at < b->n; i++)
		b->p[b->at++] = ' ';
}

static void skip_quoted(struct blanker *b)
{
	char quote = b->p[b->at++];
	while (b->at < b->n && b->p[b->at] != quote) {
		if (b->p[b->at] == '\\')
			b->at++;
		if (b->at < b->n && b->p[b->at] == '\n')
			b->line++;
		b->at++;
	}
	b->at++;
}

static void skip_token(struct blanker *b)
{
	while (b->at < b->n && !token_ends(b->p[b->at]))
		b->at++;
}

static void skip_special(struct blanker *b)
{
	char c = b->p[b->at++];
	if (c == '\n')
		b->line++;
	if (c == '{' && b->depth++ == 0)
		b->open_line = b->line;
	if (c == '}' && b->depth > 0)
		b->depth--;
}

unsigned config_blank_comments(char *text, size_t n)
{
	struct blanker b = {.p = text, .n = n, .line = 1};
	while (b.at < b.n) {
		char c = b.p[b.at];
		if (c == '#' || comes(&b, "//"))
			blank_line(&b);
		else if (comes(&b, "/*"))
			blank_block(&b);
		else if (c == '"' || c == '\'')
			skip_quoted(&b);
		else if (token_ends(c))
			skip_special(&b);
		else
			skip_token(&b);
	}
	return b.depth ? b.open_line : 0;
}
