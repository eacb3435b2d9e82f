/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Finds the reply in what surrounds it: "host mx[192.0.2.1] said: 550-5.1.1 no (in reply to RCPT TO
 * command)", "smtp; 550 ...", "Remote Server returned '550 ...'", and the form of Korean bulk mailers
 * with the reply code last: "4.3.2 Your ip blocked from this server(421)".
 *
 * Every place where three digits look like a reply code gets a rank, by what stands around it; the
 * best one counts.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "explain/explain_int.h"
#include "mime/charset.h"

/* Cleaning -------------------------------------------------------------------------------- */

/* Marks that turn the direction of text around (UAX #9). */
static bool is_bidi(uint32_t cp)
{
	return cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x2069);
}

static bool is_blank(uint32_t cp)
{
	return cp <= 0x20 || (cp >= 0x7f && cp <= 0xa0) || cp == 0x2028 || cp == 0x2029 || cp == 0x3000;
}

struct str explain_clean(struct arena *a, struct str raw, size_t max)
{
	BUF_SCOPED decoded = {.max = 8 * max + 64};
	raw = str_trim(str_sub(raw, 0, 4 * max));
	if (!utf8_valid(raw)) {
		charset_decode(&decoded, STR(""), raw);
		raw = buf_str(&decoded);
	}
	char *p = arena_alloc(a, raw.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < raw.n;) {
		uint32_t cp;
		size_t len = utf8_decode(str_from(raw, i), &cp);
		if (n + (len ? len : 1) > max)
			break;
		if (len == 0 || is_bidi(cp)) {
			p[n++] = '?';
		} else if (is_blank(cp)) {
			if (n > 0 && p[n - 1] != ' ')
				p[n++] = ' ';
		} else {
			for (size_t k = 0; k < len; k++)
				p[n++] = raw.p[i + k];
		}
		i += len ? len : 1;
	}
	return str_trim((struct str){p, n});
}

/* Codes ----------------------------------------------------------------------------------- */

static int octet_at(struct str s, size_t i)
{
	return i < s.n ? (unsigned char)s.p[i] : -1;
}

static bool digit_at(struct str s, size_t i)
{
	int c = octet_at(s, i);
	return c >= '0' && c <= '9';
}

static bool in(int c, const char *set)
{
	return c > 0 && str_has_byte(str_of(set), (char)c);
}

/* The octets that may stand before a reply code or a status. '[' would be a process id. */
static bool starts_word(struct str s, size_t i)
{
	return i == 0 || in(octet_at(s, i - 1), " ('\":;<#>=/`,|");
}

/* ("2" / "4" / "5") "." 1*3DIGIT "." 1*3DIGIT (RFC 3463 2), not part of an address or version. */
static size_t status_at(struct str s, size_t i, struct status *out)
{
	struct scan c = scan_of(str_from(s, i));
	uint32_t class, subject, detail;
	if (!starts_word(s, i) || !in(octet_at(s, i), "245") || !scan_u32(&c, 5, &class) ||
	    !scan_byte(&c, '.') || !scan_u32(&c, 999, &subject) || !scan_byte(&c, '.') ||
	    !scan_u32(&c, 999, &detail))
		return 0;
	size_t end = s.n - scan_left(&c);
	int next = octet_at(s, end);
	if (digit_at(s, end) || in(next, "_-") || (next == '.' && digit_at(s, end + 1)))
		return 0;
	if (next >= 0 && ascii_is((unsigned char)next, ASCII_UPPER | ASCII_LOWER))
		return 0;
	*out = (struct status){(uint8_t)class, (uint16_t)subject, (uint16_t)detail};
	return end - i;
}

static unsigned code_at(struct str s, size_t i)
{
	if (!in(octet_at(s, i), "2345") || !digit_at(s, i + 1) || !digit_at(s, i + 2))
		return 0;
	return (unsigned)(s.p[i] - '0') * 100 + (unsigned)(s.p[i + 1] - '0') * 10 +
	       (unsigned)(s.p[i + 2] - '0');
}

static bool before_is(struct str s, size_t i, const char *what)
{
	return str_ends_nocase(str_sub(s, 0, i), str_of(what));
}

enum rank { RANK_NONE, RANK_WORD, RANK_PLACED, RANK_TRAILING, RANK_STATUS };

/* What stands before a code where a reply begins. */
static bool placed(struct str s, size_t i)
{
	static const char *const signs[] = {"said: ",     "said:",     "returned '", "<<< ",  "<< ",
					    "#",          "; ",        "smtp;",      ": ",    "'",
					    "\"",         "(reason: ", "code=",      "stat=", "reply=",
					    "returned: ", "error: ",   "`"};
	if (i == 0)
		return true;
	for (size_t k = 0; k < sizeof signs / sizeof *signs; k++) {
		if (before_is(s, i, signs[k]))
			return true;
	}
	return false;
}

static enum rank rank_at(struct str s, size_t i)
{
	struct status st;
	int after = octet_at(s, i + 3), then = octet_at(s, i + 4);
	if (code_at(s, i) == 0 || !starts_word(s, i) || digit_at(s, i + 3) ||
	    (i > 0 && s.p[i - 1] == '=' && !placed(s, i)))
		return RANK_NONE;
	if (after >= 0 && !in(after, " -:,'\")>;#"))
		return RANK_NONE;
	if (in(after, " -") && (status_at(s, i + 4, &st) || (then == '-' && status_at(s, i + 5, &st)) ||
				(then == '#' && status_at(s, i + 5, &st))))
		return RANK_STATUS;
	/* "550-5.1.1" */
	if (after == '-') {
		struct str rest = str_from(s, i + 4);
		if (status_at(rest, 0, &st))
			return RANK_STATUS;
	}
	if (placed(s, i) && (s.p[i + 1] <= '5' || i == 0))
		return RANK_PLACED;
	bool word_follows = then == '<' || then == '[' || then == '\'' || then >= 0x80 ||
			    (then > 0 && ascii_is((unsigned char)then, ASCII_UPPER));
	if (in(s.p[i], "45") && s.p[i + 1] <= '5' && in(after, " -") && word_follows)
		return RANK_WORD;
	return RANK_NONE;
}

/* "... text(421)" at the end, RFC 3463 code or text first. */
static unsigned trailing_code(struct str s)
{
	if (s.n < 5 || s.p[s.n - 1] != ')' || s.p[s.n - 5] != '(' || !in(s.p[s.n - 4], "245"))
		return 0;
	return code_at(s, s.n - 4);
}

struct place {
	enum rank rank;
	size_t at;
};

static struct place best_place(struct str s)
{
	struct place best = {RANK_NONE, 0};
	for (size_t i = 0; i + 3 <= s.n; i++) {
		enum rank rank = rank_at(s, i);
		if (rank > best.rank)
			best = (struct place){rank, i};
	}
	if (best.rank < RANK_TRAILING && best.at + 4 < s.n && trailing_code(s))
		best = (struct place){RANK_TRAILING, 0};
	return best;
}

/* The rest of a reply ------------------------------------------------------------------------ */

static enum explain_stage stage_of(struct str s)
{
	static const struct { const char *sign; enum explain_stage stage;
	} signs[] = {
		{"in reply to rcpt to", EXPLAIN_STAGE_RCPT},
		{"after rcpt to", EXPLAIN_STAGE_RCPT},
		{"in reply to mail from", EXPLAIN_STAGE_MAIL},
		{"after mail from", EXPLAIN_STAGE_MAIL},
		{"in reply to end of data", EXPLAIN_STAGE_DATA},
		{"after end of data", EXPLAIN_STAGE_DATA},
		{"in reply to data", EXPLAIN_STAGE_DATA},
		{"after data", EXPLAIN_STAGE_DATA},
		{"in reply to ehlo", EXPLAIN_STAGE_CONNECT},
		{"in reply to helo", EXPLAIN_STAGE_CONNECT},
		{"in reply to starttls", EXPLAIN_STAGE_CONNECT},
		{"refused to talk to me", EXPLAIN_STAGE_CONNECT},
		{"after initial connection", EXPLAIN_STAGE_CONNECT},
		{"after ehlo", EXPLAIN_STAGE_CONNECT},
		{"while receiving the initial server greeting", EXPLAIN_STAGE_CONNECT},
	};
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
		if (str_find_nocase(s, str_of(signs[i].sign)) != STR_NPOS)
			return signs[i].stage;
	}
	return EXPLAIN_STAGE_UNKNOWN;
}

/* A bracket at the end that nothing opened. */
static struct str without_bracket(struct str s)
{
	int open = 0;
	for (size_t i = 0; i < s.n; i++)
		open += (s.p[i] == '(') - (s.p[i] == ')');
	return open < 0 && str_ends(s, STR(")")) ? str_trim(str_sub(s, 0, s.n - 1)) : s;
}

/* "(in reply to ...)" and what closes around a reply is not of it. */
static struct str without_wrapping(struct str s)
{
	static const char *const tails[] = {"(in reply to ", " #SMTP#", "'. ", " ## rfc"};
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
		size_t at = str_find_nocase(s, str_of(tails[i]));
		if (at != STR_NPOS)
			s = str_sub(s, 0, at);
	}
	s = str_trim(s);
	while (s.n > 0 && in(s.p[s.n - 1], "'\"`#>"))
		s = str_trim(str_sub(s, 0, s.n - 1));
	return without_bracket(s);
}

/* A status written elsewhere in the text: "(#5.1.1)", "dsn=4.4.1". */
static bool status_inside(struct str s, struct status *out)
{
	for (size_t i = 1; i < s.n; i++) {
		if ((s.p[i - 1] == '#' || before_is(s, i, "dsn=") || before_is(s, i, "status=")) &&
		    status_at(s, i, out))
			return true;
	}
	return false;
}

/* The first status that stands as a word of its own. */
static size_t status_word(struct str s, struct status *out, size_t *out_len)
{
	for (size_t i = 0; i < s.n; i++) {
		size_t len = status_at(s, i, out);
		bool value = i > 0 && s.p[i - 1] == '=';
		if (len > 0 && (!value || before_is(s, i, "dsn=") || before_is(s, i, "status="))) {
			*out_len = len;
			return i;
		}
	}
	return STR_NPOS;
}

/* Length of "550-5.1.1 ", "550 5.1.1 ", "550-" at i, the head of a further line of the same reply; of
 * the last one's "550 " too when the reply is of several lines. */
static size_t line_head(struct str s, size_t i, const struct reply_form *f)
{
	struct status other;
	if (f->code == 0 || code_at(s, i) != f->code || (i > 0 && s.p[i - 1] != ' ') ||
	    !in(octet_at(s, i + 3), "- "))
		return 0;
	size_t len = status_at(str_from(s, i + 4), 0, &other);
	if (len > 0 && status_eq(other, f->status))
		return 4 + len + (octet_at(s, i + 4 + len) == ' ');
	return octet_at(s, i + 3) == '-' || f->several ? 4 : 0;
}

/* "CODE STATUS text", the heads of further lines left out. */
static struct str match_text(struct arena *a, const struct reply_form *f, struct str text)
{
	BUF_SCOPED b = {0};
	if (f->code)
		buf_fmt(&b, "%u ", f->code);
	if (f->status.class) {
		status_format(&b, f->status);
		buf_byte(&b, ' ');
	}
	for (size_t i = 0; i < text.n;) {
		size_t head = line_head(text, i, f);
		if (head == 0)
			buf_byte(&b, text.p[i]);
		i += head ? head : 1;
	}
	return arena_str(a, str_trim(buf_str(&b)));
}

/* Takes the code at the place and the status behind it off; the text begins at *out_from. */
static void read_codes(struct str s, struct place at, struct reply_form *out, size_t *out_from)
{
	size_t i = at.at + 3;
	out->code = (uint16_t)code_at(s, at.at);
	out->several = octet_at(s, at.at + 3) == '-';
	while (i < s.n && in(s.p[i], " -:#,"))
		i++;
	struct str rest = str_from(s, i);
	size_t len = status_at(rest, 0, &out->status);
	i += len;
	while (i < s.n && in(s.p[i], " :"))
		i++;
	*out_from = i;
}

void reply_form_of(struct arena *a, struct str line, struct reply_form *out)
{
	struct place at = best_place(line);
	struct str text = line;
	size_t from = 0, len = 0;
	*out = (struct reply_form){.stage = stage_of(line), .sure = true, .shown = line};
	if (at.rank == RANK_TRAILING) {
		out->code = (uint16_t)trailing_code(line);
		text = str_trim(str_sub(line, 0, line.n - 5));
		from = status_word(text, &out->status, &len);
		text = from == STR_NPOS ? text : str_trim(str_from(text, from + len));
		out->at = from == STR_NPOS ? 0 : from;
		out->shown = str_from(line, out->at);
	} else if (at.rank != RANK_NONE) {
		out->at = at.at;
		read_codes(line, at, out, &from);
		text = without_wrapping(str_from(line, from));
		if (at.rank == RANK_WORD) /* the words before it may tell more than those after */
			text = line;
		else if (at.at > 0)
			out->shown = without_bracket(str_from(line, at.at));
	} else {
		from = status_word(line, &out->status, &len);
		if (from == STR_NPOS) {
			out->sure = false;
			out->at = line.n;
		} else if (from + len < line.n && in(line.p[from + len], ") ")) {
			struct str behind = without_wrapping(str_from(line, from + len + 1));
			text = behind.n > 0 && line.p[from + len] == ' ' ? behind : without_wrapping(line);
		} else {
			text = from == 0 ? STR("") : without_wrapping(line);
		}
	}
	if (out->status.class == 0)
		(void)status_inside(line, &out->status);
	out->text = match_text(a, out, text);
}

/* Names around it ---------------------------------------------------------------------------- */

enum {
	ADDRESS_MAX = 254,                 /* RFC 5321 4.5.3.1.3 */
	AROUND_MAX = 4 * EXPLAIN_TEXT_MAX, /* octets of a line that are looked at for names */
};

static bool is_host_octet(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) || c == '.' || c == '-' || c == '_';
}

struct str explain_find_host(struct str line)
{
	static const char *const signs[] = {"host ",
					    "relay=",
					    " H=",
					    "connect to ",
					    "talking to ",
					    "Remote-MTA: dns; ",
					    "Remote-MTA: dns;",
					    "Remote host ",
					    "mx=",
					    "conversation with ",
					    "server for the recipient domain ",
					    "rejected by ",
					    "Generating server: "};
	line = str_sub(line, 0, AROUND_MAX);
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
		size_t at = str_find_nocase(line, str_of(signs[i]));
		if (at == STR_NPOS)
			continue;
		struct scan s = scan_of(str_from(line, at + str_of(signs[i]).n));
		struct str name = scan_while(&s, is_host_octet);
		while (str_ends(name, STR(".")))
			name.n--;
		size_t dot = str_find_last_byte(name, '.');
		if (dot != STR_NPOS && dot > 0 && !digit_at(name, dot + 1))
			return name;
	}
	return STR("");
}

static bool is_address_octet(unsigned char c)
{
	return c >= 0x80 || ascii_is(c, ASCII_ATEXT) || c == '.';
}

struct str explain_find_address(struct str text)
{
	for (size_t at = 0; at < text.n; at++) {
		size_t from = at, to = at + 1;
		if (text.p[at] != '@')
			continue;
		while (from > 0 && is_address_octet((unsigned char)text.p[from - 1]) &&
		       at - from <= ADDRESS_MAX)
			from--;
		/* "to=<a@b>" and "rcpt=a@b": what stands before '=' is no local-part */
		for (size_t k = from; k < at; k++)
			from = text.p[k] == '=' ? k + 1 : from;
		while (to < text.n &&
		       (is_host_octet((unsigned char)text.p[to]) || (unsigned char)text.p[to] >= 0x80))
			to++;
		while (to > at && text.p[to - 1] == '.')
			to--;
		if (from < at && to > at + 1 && to - from <= ADDRESS_MAX)
			return str_sub(text, from, to - from);
	}
	return STR("");
}

static struct str bracketed_address(struct str line, struct str sign)
{
	size_t at = 0;
	while ((at = str_find(line, sign)) != STR_NPOS) {
		line = str_from(line, at + sign.n);
		size_t close = str_find_byte(str_sub(line, 0, ADDRESS_MAX + 1), '>');
		struct str inside = str_sub(line, 0, close);
		if (close != STR_NPOS && str_eq(explain_find_address(inside), inside))
			return inside;
	}
	return STR("");
}

struct str explain_find_recipient(struct arena *a, struct str line)
{
	struct reply_form form;
	line = str_sub(line, 0, AROUND_MAX);
	struct str found = bracketed_address(line, STR("to=<"));
	if (found.n == 0)
		found = bracketed_address(line, STR("<"));
	if (found.n > 0)
		return found;
	line = explain_clean(a, line, EXPLAIN_TEXT_MAX);
	reply_form_of(a, line, &form);
	return explain_find_address(str_sub(line, 0, form.at));
}
