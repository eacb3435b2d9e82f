/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_language.c: LANGUAGE (RFC 5255 3): English and Korean replies. */
#include "imap/imap_int.h"

static const struct {
	const char *english, *korean;
} texts[] = {
#define IMAP_TEXT(english, korean) {english, korean},
#include "imap/texts.def"
#undef IMAP_TEXT
};

struct str imap_text(const struct imap *s, struct str text)
{
	struct str completed = STR(" completed");

	if (!s->korean)
		return text;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (str_eq(text, str_of(texts[i].english)))
			return str_of(texts[i].korean);
	if (str_ends(text, completed))
		return arena_fmt(s->scratch, "%.*s 완료", (int)(text.n - completed.n), text.p);
	return text;
}

/* A range matches a language that it is, or a prefix of (RFC 4647 3.3.1). */
static bool in_range(struct str range, struct str language)
{
	return str_eq_nocase(range, language) ||
	       (str_starts_nocase(range, language) && range.p[language.n] == '-');
}

/* "LANGUAGE" *(SP lang-range-quoted): the first that is known; none: which there are */
enum step cmd_language(struct imap *s, struct command *c)
{
	struct str range;
	int korean = -1;

	if (scan_end(&c->p.s)) {
		imap_untagged(s, "LANGUAGE (EN KO I-DEFAULT)");
		return imap_ok(s, "LANGUAGE completed");
	}
	do {
		if (!parse_astring(&c->p, &range))
			return imap_bad_syntax(s, &c->p);
		if (korean >= 0)
			continue;
		if (in_range(range, STR("ko")))
			korean = 1;
		else if (in_range(range, STR("en")) || str_eq_nocase(range, STR("i-default")) ||
			 str_eq_nocase(range, STR("default")))
			korean = 0;
	} while (scan_byte(&c->p.s, ' '));
	if (!parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (korean < 0)
		return imap_no(s, "", "Language is not known");
	s->korean = korean;
	imap_untagged(s, korean ? "LANGUAGE (KO)" : "LANGUAGE (EN)");
	return imap_ok(s, "Language is set");
}
