/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/name.h"
#include "base/scan.h"
#include "store/mailbox.h"
#include <string.h>

/* In the order of the letters: Maildir++ wants them sorted. */
static const struct {
	char letter;
	unsigned flag;
} letters[] = {
	{'D', FLAG_DRAFT},    {'F', FLAG_FLAGGED}, {'P', FLAG_FORWARDED},
	{'R', FLAG_ANSWERED}, {'S', FLAG_SEEN},    {'T', FLAG_DELETED},
};
enum { LETTER_N = sizeof(letters) / sizeof(letters[0]) };

static bool tag_valid(struct str s)
{
	if (s.n != TAG_LEN)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is((unsigned char)s.p[i], ASCII_LOWER | ASCII_DIGIT))
			return false;
	return true;
}

/* One "X=value"; false when it is not one of ours or its value does not read. */
static bool take_field(struct str field, struct file_name *out)
{
	if (field.n < 3 || field.p[1] != '=')
		return false;

	struct str value = str_from(field, 2);
	uint64_t v;
	switch (field.p[0]) {
	case 'S':
		if (!str_u64(value, INT64_MAX, &out->size))
			return false;
		return out->has_size = true;
	case 'W':
		if (!str_u64(value, INT64_MAX, &out->wire_size))
			return false;
		return out->has_wire_size = true;
	case 'U':
		if (!str_u64(value, UINT32_MAX - 1, &v) || v == 0)
			return false;
		out->uid = (uint32_t)v;
		return out->has_uid = true;
	case 'M':
		if (!tag_valid(value))
			return false;
		out->tag = value;
		return true;
	}
	return false;
}

static void take_flags(struct str info, struct file_name *out)
{
	if (!str_starts(info, STR("2,")))
		return;
	out->has_info = true;
	for (size_t i = 2; i < info.n; i++) {
		char c = info.p[i];
		if (c >= 'a' && c <= 'z')
			out->keywords |= UINT32_C(1) << (c - 'a');
		for (size_t l = 0; l < LETTER_N; l++)
			if (letters[l].letter == c)
				out->flags |= letters[l].flag;
	}
}

bool name_parse(struct str file, struct file_name *out)
{
	*out = (struct file_name){0};
	if (file.n == 0 || file.n > NAME_MAX_LEN || file.p[0] == '.' || memchr(file.p, '/', file.n) ||
	    memchr(file.p, 0, file.n))
		return false;

	size_t colon = str_find_byte(file, ':');
	struct str rest = colon == STR_NPOS ? file : str_sub(file, 0, colon);
	if (colon != STR_NPOS)
		take_flags(str_from(file, colon + 1), out);

	/* The base ends where the first field of ours begins; what follows that is ours or dropped. */
	struct str whole = rest;
	bool ours = false;
	size_t base_n = 0;
	while (rest.p) {
		struct str part = str_cut(&rest, ',');
		bool first = part.p == whole.p;
		if (!first && take_field(part, out))
			ours = true;
		else if (!ours)
			base_n = (size_t)(part.p + part.n - whole.p);
	}
	out->base = str_sub(whole, 0, base_n);
	return base_n > 0;
}

struct put {
	char *p;
	size_t n;
	bool full;
};

static void put_str(struct put *o, struct str s)
{
	if (o->full || s.n > NAME_MAX_LEN - o->n) {
		o->full = true;
		return;
	}
	if (s.n)
		memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
}

static void put_number(struct put *o, struct str prefix, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put_str(o, prefix);
	put_str(o, (struct str){digits + at, sizeof(digits) - at});
}

size_t name_format(char out[NAME_MAX_LEN + 1], const struct file_name *n)
{
	struct put o = {.p = out};

	put_str(&o, n->base);
	if (n->has_size)
		put_number(&o, STR(",S="), n->size);
	if (n->has_wire_size)
		put_number(&o, STR(",W="), n->wire_size);
	if (n->has_uid) {
		put_number(&o, STR(",U="), n->uid);
		put_str(&o, STR(",M="));
		put_str(&o, n->tag);
	}
	put_str(&o, STR(":2,"));
	for (size_t l = 0; l < LETTER_N; l++)
		if (n->flags & letters[l].flag)
			put_str(&o, (struct str){&letters[l].letter, 1});
	for (int k = 0; k < KEYWORDS_MAX; k++) {
		char c = (char)('a' + k);
		if (n->keywords >> k & 1)
			put_str(&o, (struct str){&c, 1});
	}
	if (o.full)
		return 0;
	out[o.n] = 0;
	return o.n;
}
