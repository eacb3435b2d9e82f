/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Parameters of MAIL and RCPT that concern notices: NOTIFY, RET, ORCPT (RFC 3461 4, RFC 6533 3). */
#include "base/arena.h"
#include "mail/envelope.h"

static const struct {
	struct str word;
	unsigned bit;
} notify_words[] = {
	{{"NEVER", 5}, NOTIFY_NEVER},
	{{"SUCCESS", 7}, NOTIFY_SUCCESS},
	{{"FAILURE", 7}, NOTIFY_FAILURE},
	{{"DELAY", 5}, NOTIFY_DELAY},
};
enum { NOTIFY_WORDS = sizeof notify_words / sizeof notify_words[0] };

/* notify-esmtp-value = "NEVER" / 1#notify-list-element (RFC 3461 4.1) */
bool notify_parse(struct str value, unsigned *out)
{
	unsigned bits = 0;
	if (value.n == 0) return false;
	for (struct str rest = value; rest.p;) {
		struct str word = str_cut(&rest, ',');
		unsigned bit = 0;
		for (int i = 0; i < NOTIFY_WORDS; i++)
			if (str_eq_nocase(word, notify_words[i].word)) bit = notify_words[i].bit;
		if (bit == 0 || (bits & bit)) return false;
		bits |= bit;
	}
	if ((bits & NOTIFY_NEVER) && bits != NOTIFY_NEVER) return false;
	*out = bits;
	return true;
}

void notify_format(struct buf *out, unsigned notify)
{
	bool first = true;
	for (int i = 0; i < NOTIFY_WORDS; i++) {
		if (!(notify & notify_words[i].bit)) continue;
		if (!first) buf_byte(out, ',');
		buf_add(out, notify_words[i].word);
		first = false;
	}
}

bool ret_parse(struct str value, enum envelope_ret *out)
{
	if (str_eq_nocase(value, STR("FULL"))) *out = ENVELOPE_RET_FULL;
	else if (str_eq_nocase(value, STR("HDRS"))) *out = ENVELOPE_RET_HDRS;
	else return false;
	return true;
}

/* original-recipient-address = addr-type ";" xtext; addr-type is an atom (RFC 3461 4.2) */
bool orcpt_parse(struct arena *a, struct str value, bool smtputf8, struct str *out, struct err *err)
{
	size_t semicolon = str_find_byte(value, ';');
	if (semicolon == STR_NPOS || semicolon == 0) return err_set(err, ERR_SYNTAX, "ORCPT without a type");
	struct str type = str_sub(value, 0, semicolon), coded = str_from(value, semicolon + 1), addr;
	for (size_t i = 0; i < type.n; i++)
		if (!ascii_is((unsigned char)type.p[i], ASCII_ATEXT))
			return err_set(err, ERR_SYNTAX, "bad type in ORCPT");
	if (coded.n == 0) return err_set(err, ERR_SYNTAX, "ORCPT without an address");
	if (!smtputf8 && !str_is_ascii(coded)) return err_set(err, ERR_SYNTAX, "ORCPT is not ASCII");
	if (str_eq_nocase(type, STR("utf-8"))) {
		if (!utf8_addr_decode(a, coded, &addr, err)) return false;
	} else if (!xtext_decode(a, coded, &addr, err)) {
		return false;
	}
	*out = arena_fmt(a, "%.*s;%.*s", STR_ARG(type), STR_ARG(addr));
	return true;
}

void orcpt_format(struct buf *out, struct str orcpt, bool smtputf8)
{
	struct str addr = orcpt, type = str_cut(&addr, ';');
	buf_add(out, type);
	buf_byte(out, ';');
	if (str_eq_nocase(type, STR("utf-8"))) utf8_addr_encode(out, addr, !smtputf8);
	else xtext_encode(out, addr);
}

const char *envelope_origin_name(enum envelope_origin origin)
{
	switch (origin) {
	case ENVELOPE_MX: return "mx";
	case ENVELOPE_SUBMISSION: return "submission";
	case ENVELOPE_LMTP: return "lmtp";
	case ENVELOPE_LOCAL: return "local";
	case ENVELOPE_ORIGIN_COUNT: break;
	}
	return "?";
}

const char *envelope_body_name(enum envelope_body body)
{
	switch (body) {
	case ENVELOPE_7BIT: return "7BIT";
	case ENVELOPE_8BITMIME: return "8BITMIME";
	case ENVELOPE_BINARYMIME: return "BINARYMIME";
	case ENVELOPE_BODY_COUNT: break;
	}
	return "?";
}
