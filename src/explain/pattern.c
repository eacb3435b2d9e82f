/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Bit i of a set of positions says: what came before in the pattern has been matched up to octet i
 * of the text. Each element maps such a set to the next one: an octet keeps the positions where it
 * stands and moves them on by one; a gap spreads them; alternatives are run on the same set and
 * united. The pattern is found when the set is not empty at its end.
 */
#include "explain/pattern.h"
#include "base/arena.h"
#include "base/scan.h"

#include <string.h>

enum element_kind {
	ELEMENT_OCTET,
	ELEMENT_SET,
	ELEMENT_GAP,
	ELEMENT_ANY,
	ELEMENT_DIGITS,
	ELEMENT_IP,
	ELEMENT_GROUP
};
struct element {
	enum element_kind kind;
	unsigned n;                  /* octet, or length of the gap */
	const unsigned char *set;    /* 256 flags */
	const struct pattern *group;
};
struct sequence {
	const struct element *at;
	size_t n;
};
struct pattern {
	const struct sequence *alternatives;
	size_t n;
};

enum { WORDS_MAX = PATTERN_TEXT_MAX / 64 + 1, IP_LENGTH_MAX = 45 };
struct positions {
	uint64_t w[WORDS_MAX];
};

struct pattern_text {
	struct str s;
	size_t words;                /* that hold positions 0..s.n */
	unsigned char index[256];    /* of an octet in masks; 0: not in the text */
	unsigned char octets[256];   /* the octet of each mask */
	size_t mask_n;
	const uint64_t *masks;       /* mask_n x words: where that octet stands */
};

/* Compiling ------------------------------------------------------------------------------- */

struct compiler {
	struct arena *a;
	struct err *err;
};

static bool compile_alternatives(struct compiler *c, struct scan *s, unsigned depth,
				 const struct pattern **out);

/* "[" 1*(octet / octet "-" octet) "]" */
static bool compile_set(struct compiler *c, struct scan *s, struct element *out)
{
	unsigned char *set = arena_zalloc(c->a, 256);
	struct str body = scan_until_byte(s, ']');
	if (!scan_byte(s, ']') || body.n == 0)
		return err_set(c->err, ERR_SYNTAX, "[ without characters or ]");
	for (size_t i = 0; i < body.n; i++) {
		unsigned char from = (unsigned char)ascii_lower(body.p[i]), to = from;
		if (i + 2 < body.n && body.p[i + 1] == '-') {
			to = (unsigned char)ascii_lower(body.p[i + 2]);
			i += 2;
		}
		for (unsigned k = from; k <= to; k++)
			set[k] = 1;
	}
	*out = (struct element){.kind = ELEMENT_SET, .set = set};
	return true;
}

/* "{ip}" / "{" number "}" */
static bool compile_brace(struct compiler *c, struct scan *s, struct element *out)
{
	uint32_t n;
	if (scan_lit_nocase(s, STR("ip}"))) {
		*out = (struct element){.kind = ELEMENT_IP};
		return true;
	}
	if (!scan_u32(s, PATTERN_GAP_MAX, &n) || n == 0 || !scan_byte(s, '}'))
		return err_set(c->err, ERR_SYNTAX, "{ wants {ip} or a number from 1 to %d", PATTERN_GAP_MAX);
	*out = (struct element){.kind = ELEMENT_GAP, .n = n};
	return true;
}

static bool compile_group(struct compiler *c, struct scan *s, unsigned depth, struct element *out)
{
	*out = (struct element){.kind = ELEMENT_GROUP};
	if (depth >= PATTERN_DEPTH_MAX)
		return err_set(c->err, ERR_LIMIT, "( nested deeper than %d", PATTERN_DEPTH_MAX);
	if (!compile_alternatives(c, s, depth + 1, &out->group))
		return false;
	return scan_byte(s, ')') || err_set(c->err, ERR_SYNTAX, "( without )");
}

static bool compile_element(struct compiler *c, struct scan *s, unsigned depth, struct element *out)
{
	char octet = *s->p;
	scan_skip(s, 1);
	switch (octet) {
	case '*':
		*out = (struct element){.kind = ELEMENT_ANY};
		return true;
	case '#':
		*out = (struct element){.kind = ELEMENT_DIGITS};
		return true;
	case '[':
		return compile_set(c, s, out);
	case '{':
		return compile_brace(c, s, out);
	case '(':
		return compile_group(c, s, depth, out);
	case ']':
	case '}':
		return err_set(c->err, ERR_SYNTAX, "%c without its opening half", octet);
	case '\\':
		if (scan_end(s))
			return err_set(c->err, ERR_SYNTAX, "\\ at the end");
		octet = *s->p;
		scan_skip(s, 1);
		break;
	default:
		break;
	}
	*out = (struct element){.kind = ELEMENT_OCTET, .n = (unsigned char)ascii_lower(octet)};
	return true;
}

static bool compile_sequence(struct compiler *c, struct scan *s, unsigned depth, struct sequence *out)
{
	struct element *at = NULL;
	size_t n = 0, cap = 0;
	while (!scan_end(s) && *s->p != '|' && *s->p != ')') {
		at = arena_grow(c->a, at, n, &cap, sizeof *at);
		if (!compile_element(c, s, depth, &at[n]))
			return false;
		n++;
	}
	*out = (struct sequence){at, n};
	return true;
}

static bool compile_alternatives(struct compiler *c, struct scan *s, unsigned depth,
				 const struct pattern **out)
{
	struct pattern *p = arena_new_of(c->a, struct pattern);
	struct sequence *at = NULL;
	size_t cap = 0;
	do {
		at = arena_grow(c->a, at, p->n, &cap, sizeof *at);
		if (!compile_sequence(c, s, depth, &at[p->n]))
			return false;
		p->n++;
	} while (scan_byte(s, '|'));
	p->alternatives = at;
	*out = p;
	return true;
}

bool pattern_compile(struct arena *a, struct str source, const struct pattern **out, struct err *err)
{
	struct compiler c = {a, err};
	struct scan s = scan_of(source);
	const struct pattern *p;
	if (source.n == 0 || source.n > PATTERN_LENGTH_MAX)
		return err_set(err, ERR_LIMIT, "a pattern has 1 to %d octets", PATTERN_LENGTH_MAX);
	if (!compile_alternatives(&c, &s, 0, &p))
		return false;
	if (!scan_end(&s))
		return err_set(err, ERR_SYNTAX, ") without (");
	if (pattern_match(p, pattern_text_new(a, STR(""))))
		return err_set(err, ERR_SYNTAX, "the pattern would match everything");
	*out = p;
	return true;
}

/* Text ------------------------------------------------------------------------------------ */

const struct pattern_text *pattern_text_new(struct arena *a, struct str text)
{
	struct pattern_text *t = arena_new_of(a, struct pattern_text);
	t->s = arena_lower(a, str_sub(text, 0, PATTERN_TEXT_MAX));
	t->words = t->s.n / 64 + 1;
	t->mask_n = 1;
	for (size_t i = 0; i < t->s.n; i++) {
		unsigned char c = (unsigned char)t->s.p[i];
		/* More than 255 different octets do not occur in UTF-8 text; the last one would go unseen. */
		if (t->index[c] == 0 && t->mask_n < 256) {
			t->octets[t->mask_n] = c;
			t->index[c] = (unsigned char)t->mask_n++;
		}
	}
	uint64_t *masks = arena_array(a, t->mask_n * t->words, sizeof *masks);
	memset(masks, 0, t->mask_n * t->words * sizeof *masks);
	for (size_t i = 0; i < t->s.n; i++)
		masks[t->index[(unsigned char)t->s.p[i]] * t->words + i / 64] |= 1ULL << (i % 64);
	t->masks = masks;
	return t;
}

/* Matching: each step changes the set in place and tells whether anything is left in it. ----- */

static bool step_mask(const struct pattern_text *t, const uint64_t *mask, struct positions *set)
{
	uint64_t carry = 0, any = 0;
	for (size_t i = 0; i < t->words; i++) {
		uint64_t x = set->w[i] & mask[i];
		set->w[i] = x << 1 | carry;
		carry = x >> 63;
		any |= set->w[i];
	}
	return any != 0;
}

static bool step_octet(const struct pattern_text *t, unsigned octet, struct positions *set)
{
	size_t index = t->index[octet];
	return index != 0 && step_mask(t, t->masks + index * t->words, set);
}

static bool step_set(const struct pattern_text *t, const unsigned char *wanted, struct positions *set)
{
	struct positions mask;
	memset(&mask, 0, t->words * sizeof *mask.w);
	for (size_t m = 1; m < t->mask_n; m++) {
		for (size_t i = 0; wanted[t->octets[m]] && i < t->words; i++)
			mask.w[i] |= t->masks[m * t->words + i];
	}
	return step_mask(t, mask.w, set);
}

/* set |= set << n */
static void spread(size_t words, size_t n, struct positions *set)
{
	size_t whole = n / 64, bits = n % 64;
	for (size_t i = words; i-- > whole;) {
		uint64_t x = set->w[i - whole] << bits;
		if (bits && i > whole)
			x |= set->w[i - whole - 1] >> (64 - bits);
		set->w[i] |= x;
	}
}

/* Positions behind the end of the text are none. */
static void clamp(const struct pattern_text *t, struct positions *set)
{
	size_t bits = t->s.n % 64 + 1;
	if (bits < 64)
		set->w[t->words - 1] &= (1ULL << bits) - 1;
}

static void step_gap(const struct pattern_text *t, size_t n, struct positions *set)
{
	/* What is spread over d positions is spread over 2d by one more step. */
	for (size_t done = 0; done < n;) {
		size_t more = done + 1 < n - done ? done + 1 : n - done;
		spread(t->words, more, set);
		done += more;
	}
	clamp(t, set);
}

static void step_any(const struct pattern_text *t, struct positions *set)
{
	size_t i = 0;
	while (i < t->words && set->w[i] == 0)
		i++;
	if (i == t->words)
		return;
	set->w[i] = ~(uint64_t)0 << __builtin_ctzll(set->w[i]);
	while (++i < t->words)
		set->w[i] = ~(uint64_t)0;
	clamp(t, set);
}

static bool has(const struct positions *set, size_t at)
{
	return set->w[at / 64] >> (at % 64) & 1;
}

static void put(struct positions *set, size_t at)
{
	set->w[at / 64] |= 1ULL << (at % 64);
}

static bool step_digits(const struct pattern_text *t, struct positions *set)
{
	struct positions out;
	bool any = false;
	memset(&out, 0, t->words * sizeof *out.w);
	for (size_t i = 0; i < t->s.n; i++) {
		if ((has(set, i) || has(&out, i)) && ascii_is((unsigned char)t->s.p[i], ASCII_DIGIT)) {
			put(&out, i + 1);
			any = true;
		}
	}
	memcpy(set, &out, t->words * sizeof *out.w);
	return any;
}

/* Length of a dotted quad at the start, or 0. */
static size_t ipv4_length(struct str s)
{
	struct scan c = scan_of(s);
	uint32_t octet;
	for (int i = 0; i < 4; i++) {
		const char *start;
		if (i > 0 && !scan_byte(&c, '.'))
			return 0;
		start = c.p;
		if (!scan_u32(&c, 255, &octet) || c.p - start > 3)
			return 0;
	}
	return s.n - scan_left(&c);
}

static bool is_ipv6_octet(unsigned char c)
{
	return ascii_is(c, ASCII_XDIGIT) || c == ':' || c == '.';
}

/* Roughly RFC 4291 2.2: hexadecimal digits with at least two colons; a colon that ends a sentence
 * ("2001:db8::1: refused") is not of it. */
static size_t ipv6_length(struct str s)
{
	struct scan c = scan_of(str_sub(s, 0, IP_LENGTH_MAX));
	struct str run = scan_while(&c, is_ipv6_octet);
	size_t colons = 0;
	while (run.n > 2 && (run.p[run.n - 1] == '.' || (run.p[run.n - 1] == ':' && run.p[run.n - 2] != ':')))
		run.n--;
	for (size_t i = 0; i < run.n; i++)
		colons += run.p[i] == ':';
	return colons >= 2 ? run.n : 0;
}

size_t pattern_ip_length(struct str s)
{
	size_t n = ipv4_length(s);
	return n ? n : ipv6_length(s);
}

static bool step_ip(const struct pattern_text *t, struct positions *set)
{
	struct positions out;
	bool any = false;
	memset(&out, 0, t->words * sizeof *out.w);
	for (size_t i = 0; i < t->s.n; i++) {
		size_t n = has(set, i) ? pattern_ip_length(str_from(t->s, i)) : 0;
		if (n > 0) {
			put(&out, i + n);
			any = true;
		}
	}
	memcpy(set, &out, t->words * sizeof *out.w);
	return any;
}

static bool run(const struct pattern *p, const struct pattern_text *t, struct positions *set);

static bool step(const struct element *e, const struct pattern_text *t, struct positions *set)
{
	switch (e->kind) {
	case ELEMENT_OCTET:
		return step_octet(t, e->n, set);
	case ELEMENT_SET:
		return step_set(t, e->set, set);
	case ELEMENT_GAP:
		step_gap(t, e->n, set);
		return true;
	case ELEMENT_ANY:
		step_any(t, set);
		return true;
	case ELEMENT_DIGITS:
		return step_digits(t, set);
	case ELEMENT_IP:
		return step_ip(t, set);
	case ELEMENT_GROUP:
		return run(e->group, t, set);
	}
	return false;
}

/* Recursion is bounded by PATTERN_DEPTH_MAX. */
static bool run(const struct pattern *p, const struct pattern_text *t, struct positions *set)
{
	struct positions start, found;
	size_t bytes = t->words * sizeof *set->w;
	bool any = false;
	memcpy(&start, set, bytes);
	memset(&found, 0, bytes);
	for (size_t i = 0; i < p->n; i++) {
		const struct sequence *s = &p->alternatives[i];
		bool alive = true;
		memcpy(set, &start, bytes);
		for (size_t k = 0; alive && k < s->n; k++)
			alive = step(&s->at[k], t, set);
		for (size_t k = 0; alive && k < t->words; k++)
			found.w[k] |= set->w[k];
		any |= alive;
	}
	memcpy(set, &found, bytes);
	return any;
}

bool pattern_match(const struct pattern *p, const struct pattern_text *t)
{
	struct positions set;
	memset(&set, 0xff, t->words * sizeof *set.w);
	clamp(t, &set);
	return run(p, t, &set);
}
