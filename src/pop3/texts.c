/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pop3/texts.c: replies in two languages, lines and keywords. */
#include "pop3/pop3_int.h"

static const char *const texts[][2] = {
#define POP3_TEXT(name, en, ko) {en, ko},
#include "pop3/texts.def"
#undef POP3_TEXT
};

static void line(struct buf *b, struct str status, enum pop3_language l, enum pop3_text t)
{
	buf_add(b, status);
	buf_add(b, str_of(texts[t][l]));
	buf_add(b, STR("\r\n"));
}

void pop3_ok(struct buf *b, enum pop3_language l, enum pop3_text t) { line(b, STR("+OK "), l, t); }

void pop3_err(struct buf *b, enum pop3_language l, enum pop3_text t) { line(b, STR("-ERR "), l, t); }

enum pop3_line pop3_line(struct str input, size_t max, struct str *out_line, size_t *out_used)
{
	size_t end = str_find_byte(input, '\n');

	if (end == STR_NPOS ? input.n > max : end > max) {
		*out_used = end == STR_NPOS ? input.n : end + 1;
		return POP3_LINE_LONG;
	}
	if (end == STR_NPOS)
		return POP3_LINE_MORE;
	*out_line = str_sub(input, 0, end);
	if (str_ends(*out_line, STR("\r")))
		out_line->n--;
	*out_used = end + 1;
	return POP3_LINE_READY;
}

struct str pop3_keyword(struct str l, struct str *out_rest)
{
	struct str rest = l;
	struct str word = str_cut(&rest, ' ');

	*out_rest = rest;
	return word;
}

void pop3_lang(struct buf *b, struct str argument, enum pop3_language *language)
{
	if (!argument.n) {
		pop3_ok(b, *language, POP3_LANGUAGES);
		buf_add(b, STR("en English\r\nko 한국어\r\n.\r\n"));
		return;
	}
	bool english = str_eq_nocase(argument, STR("en")) || str_eq_nocase(argument, STR("*")) ||
		       str_eq_nocase(argument, STR("i-default"));
	if (!english && !str_eq_nocase(argument, STR("ko")) && !str_eq_nocase(argument, STR("ko-KR"))) {
		pop3_err(b, *language, POP3_NO_LANGUAGE);
		return;
	}
	*language = english ? POP3_ENGLISH : POP3_KOREAN;
	buf_add(b, english ? STR("+OK en ") : STR("+OK ko "));
	buf_add(b, str_of(texts[POP3_LANGUAGE_SET][*language]));
	buf_add(b, STR("\r\n"));
}
