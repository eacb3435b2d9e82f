/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A label is looked up by its letters and digits alone. US-ASCII, UTF-8 and ISO-2022-KR are ours; all
 * else goes through one iconv descriptor per charset.
 */
#include "mime/charset.h"
#include "base/codec.h"
#include "base/lock.h"
#include <errno.h>
#include <iconv.h>
#include <string.h>

enum charset {
#define CHARSET(symbol, name, iconv_name) CS_##symbol,
#include "mime/charset_labels.def"
#undef CHARSET
	CS_COUNT,
	CS_UNKNOWN = CS_COUNT,
};

static const struct {
	const char *name, *iconv_name;
} charsets[] = {
#define CHARSET(symbol, name, iconv_name) {name, iconv_name},
#include "mime/charset_labels.def"
#undef CHARSET
};

static const struct {
	const char *label;
	enum charset charset;
} labels[] = {
#define LABEL(label, symbol) {label, CS_##symbol},
#include "mime/charset_labels.def"
#undef LABEL
};

/* The process's descriptors; each is used under its lock. */
static struct {
	struct lock lock;
	iconv_t cd;
	bool open;
} pool[CS_COUNT];
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

static void pool_init(void)
{
	for (int i = 0; i < CS_COUNT; i++) lock_init(&pool[i].lock, LOCK_LEAF);
}

static bool pool_open(enum charset cs)
{
	lock_held(&pool[cs].lock);
	if (pool[cs].open) return true;
	pool[cs].cd = iconv_open("UTF-8", charsets[cs].iconv_name);
	/* Fails in the sandbox only, for a charset that preload did not find: then it is sniffed. */
	pool[cs].open = pool[cs].cd != (iconv_t)-1;
	return pool[cs].open;
}

/* Can it be converted here? Not when preload missed it and the sandbox is on. */
static bool is_available(enum charset cs)
{
	if (!charsets[cs].iconv_name) return true;
	LOCK_SCOPED(&pool[cs].lock);
	return pool_open(cs);
}

void charset_preload(void)
{
	pthread_once(&pool_once, pool_init);
	for (int i = 0; i < CS_COUNT; i++) {
		if (!charsets[i].iconv_name) continue;
		LOCK_SCOPED(&pool[i].lock);
		pool_open((enum charset)i);
	}
}

unsigned charset_count(void)
{
	return CS_COUNT;
}

static enum charset lookup(struct str label)
{
	char key[32];
	size_t n = 0;
	/* RFC 2231 5: "charset*language" */
	for (size_t i = 0; i < label.n && label.p[i] != '*'; i++) {
		unsigned char c = (unsigned char)label.p[i];
		if (!ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT)) continue;
		if (n == sizeof key) return CS_UNKNOWN;
		key[n++] = ascii_lower((char)c);
	}
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
		if (str_eq((struct str){key, n}, str_of(labels[i].label))) return labels[i].charset;
	return CS_UNKNOWN;
}

bool charset_known(struct str label)
{
	return lookup(label) != CS_UNKNOWN;
}

struct str charset_canonical(struct str label)
{
	enum charset cs = lookup(label);
	return cs == CS_UNKNOWN ? STR_NONE : str_of(charsets[cs].name);
}

static const struct str replacement = {"\xef\xbf\xbd", 3};

/* Every octet that is not of the charset becomes U+FFFD; *bad counts them. */
static void convert(struct buf *out, enum charset cs, struct str text, size_t *bad)
{
	pthread_once(&pool_once, pool_init);
	LOCK_SCOPED(&pool[cs].lock);
	if (!pool_open(cs)) {
		*bad += text.n;
		return;
	}
	iconv_t cd = pool[cs].cd;
	char chunk[4096], *in = (char *)(uintptr_t)text.p;
	size_t left = text.n;
	iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0 && !out->failed) {
		char *to = chunk;
		size_t room = sizeof chunk;
		size_t rc = iconv(cd, &in, &left, &to, &room);
		int error = errno;
		buf_add_bytes(out, chunk, sizeof chunk - room);
		if (rc != (size_t)-1 || error == E2BIG) continue;
		buf_add(out, replacement);
		(*bad)++;
		if (left == 0 || error == EINVAL) break;
		in++;
		left--;
	}
	char *to = chunk;
	size_t room = sizeof chunk;
	iconv(cd, NULL, NULL, &to, &room);
	buf_add_bytes(out, chunk, sizeof chunk - room);
}

/* UTF-8 with what is not valid replaced. */
static void repair_utf8(struct buf *out, struct str text)
{
	while (text.n > 0) {
		uint32_t cp;
		size_t good = 0, n;
		while (good < text.n && (n = utf8_decode(str_from(text, good), &cp)) > 0) good += n;
		buf_add(out, str_sub(text, 0, good));
		text = str_from(text, good);
		if (text.n == 0) return;
		buf_add(out, replacement);
		text = str_from(text, 1);
	}
}

/*
 * Is this CP949, and with Hangul that nothing else explains? Syllables whose second octet is a letter
 * do not count: capital umlauts and quotation marks of windows-1252 before a letter look the same.
 */
static bool looks_like_cp949(struct str text)
{
	size_t hangul = 0;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < 0x80) continue;
		if (c == 0x80 || c == 0xff || ++i == text.n) return false;
		unsigned char d = (unsigned char)text.p[i];
		bool letter = ascii_is(d, ASCII_UPPER | ASCII_LOWER);
		if (!(letter && c <= 0xc6) && (d < 0x81 || d == 0xff)) return false;
		if (c > 0xc6 && d < 0xa1) return false;
		if (!letter && ((c >= 0xb0 && c <= 0xc8) || (c <= 0xc6 && d < 0xa1) || c < 0xa1)) hangul++;
	}
	return hangul > 0;
}

/* More sequences that are UTF-8 than octets that are not: then it is damaged UTF-8. */
static bool mostly_utf8(struct str text)
{
	size_t good = 0, bad = 0;
	for (size_t i = 0; i < text.n;) {
		uint32_t cp;
		size_t n = utf8_decode(str_from(text, i), &cp);
		good += n > 1;
		bad += n == 0;
		i += n ? n : 1;
	}
	return good > bad;
}

static enum charset sniff(struct str text)
{
	if (utf8_valid(text)) return CS_UTF8;
	if (looks_like_cp949(text)) return CS_CP949;
	return mostly_utf8(text) ? CS_UTF8 : CS_CP1252;
}

const char *charset_sniff(struct str text)
{
	return str_is_ascii(text) ? charsets[CS_ASCII].name : charsets[sniff(text)].name;
}

/* Compatibility jamo U+3131-U+3163 as initial and final consonants; -1: none such. */
static int initial_of(uint32_t cp)
{
	static const signed char map[] = {0, 1, -1, 2, -1, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1,
					  -1, 6, 7, 8, -1, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
	return cp >= 0x3131 && cp <= 0x314e ? map[cp - 0x3131] : -1;
}

static int final_of(uint32_t cp)
{
	static const signed char map[] = {1, 2, 3, 4, 5, 6, 7, -1, 8, 9, 10, 11, 12, 13, 14,
					  15, 16, 17, -1, 18, 19, 20, 21, 22, -1, 23, 24, 25, 26, 27};
	if (cp == 0x3164) return 0;
	return cp >= 0x3131 && cp <= 0x314e ? map[cp - 0x3131] : -1;
}

/* KS X 1001 composition: filler, initial, medial, final make one syllable. */
static bool composed(struct str text, uint32_t *out_cp, size_t *out_n)
{
	uint32_t cp[4];
	size_t at = 0;
	for (int i = 0; i < 4; i++) {
		size_t n = utf8_decode(str_from(text, at), &cp[i]);
		if (n == 0) return false;
		at += n;
	}
	int l = initial_of(cp[1]), t = final_of(cp[3]);
	if (cp[0] != 0x3164 || l < 0 || t < 0 || cp[2] < 0x314f || cp[2] > 0x3163) return false;
	*out_cp = 0xac00 + ((uint32_t)l * 21 + (cp[2] - 0x314f)) * 28 + (uint32_t)t;
	*out_n = at;
	return true;
}

static void add_composed(struct buf *out, struct str text)
{
	static const struct str filler = {"\xe3\x85\xa4", 3};
	for (;;) {
		uint32_t cp;
		size_t at = str_find(text, filler), n;
		if (at == STR_NPOS) break;
		buf_add(out, str_sub(text, 0, at));
		text = str_from(text, at);
		if (composed(text, &cp, &n)) {
			utf8_encode(out, cp);
			text = str_from(text, n);
		} else {
			buf_add(out, filler);
			text = str_from(text, filler.n);
		}
	}
	buf_add(out, text);
}

static void decode_cp949(struct buf *out, struct str text, size_t *bad)
{
	/* Composition is rare: its octets A4 D4 tell. */
	if (str_find(text, STR("\xa4\xd4")) == STR_NPOS) {
		convert(out, CS_CP949, text, bad);
		return;
	}
	BUF_SCOPED b = {.max = out->max};
	convert(&b, CS_CP949, text, bad);
	add_composed(out, buf_str(&b));
}

/* RFC 1557: the designator is dropped, SO and SI switch the high bit; lines begin in SI. */
static void decode_iso2022kr(struct buf *out, struct str text, size_t *bad)
{
	BUF_SCOPED euc = {0};
	bool shifted = false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (str_starts(str_from(text, i), STR("\x1b$)C"))) i += 3;
		else if (c == 0x0e) shifted = true;
		else if (c == 0x0f) shifted = false;
		else {
			if (c == '\n') shifted = false;
			buf_byte(&euc, shifted && c > 32 && c < 127 ? (char)(c | 0x80) : c);
		}
	}
	decode_cp949(out, buf_str(&euc), bad);
}

/* iconv's JOHAB has U+20A9 at 0x5C, where everybody means a backslash. */
static void decode_johab(struct buf *out, struct str text, size_t *bad)
{
	static const struct str won = {"\xe2\x82\xa9", 3};
	BUF_SCOPED b = {.max = out->max};
	convert(&b, CS_JOHAB, text, bad);
	struct str rest = buf_str(&b);
	for (size_t at; (at = str_find(rest, won)) != STR_NPOS; rest = str_from(rest, at + won.n)) {
		buf_add(out, str_sub(rest, 0, at));
		buf_byte(out, '\\');
	}
	buf_add(out, rest);
}

static void decode_as(struct buf *out, enum charset cs, struct str text, size_t *bad)
{
	if (cs == CS_CP949) {
		decode_cp949(out, text, bad);
	} else if (cs == CS_ISO2022KR) {
		decode_iso2022kr(out, text, bad);
	} else if (cs == CS_JOHAB) {
		decode_johab(out, text, bad);
	} else if (charsets[cs].iconv_name) {
		convert(out, cs, text, bad);
	} else if (cs == CS_ASCII ? str_is_ascii(text) : utf8_valid(text)) {
		buf_add(out, text);
	} else {
		repair_utf8(out, text);
		(*bad)++;
	}
}

/* The charset that the text is in, whatever its label says. */
static enum charset believed(enum charset cs, struct str text)
{
	if (cs == CS_UNKNOWN || cs == CS_ASCII || cs == CS_CP1252)
		return str_is_ascii(text) ? CS_UTF8 : sniff(text);
	if (cs == CS_UTF8 && !utf8_valid(text) && !mostly_utf8(text) && looks_like_cp949(text))
		return CS_CP949;
	return cs;
}

void charset_decode(struct buf *out, struct str label, struct str text)
{
	if (text.n == 0) return;
	enum charset cs = believed(lookup(label), text);
	size_t before = out->n, bad = 0;
	decode_as(out, cs, text, &bad);
	if (bad == 0 || cs == CS_UTF8 || cs == CS_CP1252 || out->failed) return;
	/* Not what it says: the other encoding of the same writers, perhaps. */
	if (utf8_valid(text)) {
		out->n = before;
		buf_add(out, text);
	} else if (!is_available(cs)) {
		out->n = before;
		decode_as(out, sniff(text), text, &bad);
	}
}

bool charset_decode_strict(struct buf *out, struct str label, struct str text)
{
	enum charset cs = lookup(label);
	size_t before = out->n, bad = 0;
	if (cs == CS_UNKNOWN) return false;
	decode_as(out, cs, text, &bad);
	if (bad == 0 && !out->failed) return true;
	out->n = before;
	return false;
}
