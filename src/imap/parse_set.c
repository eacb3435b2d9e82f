/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_set.c: sequence sets, as written and resolved. A line's length limits their size. */
#include "imap/parse.h"
#include <stdlib.h>

/* seq-number = nz-number / "*" */
static bool seq_number(struct parse *p, bool star, uint32_t *out)
{
	if (star && scan_byte(&p->s, '*')) {
		*out = 0;
		return true;
	}
	return parse_nz_number(p, out);
}

/* sequence-set = (seq-number / seq-range) ["," sequence-set] */
static bool parse_ranges(struct parse *p, bool star, struct sequence_set *out)
{
	struct scan at = p->s;
	size_t cap = 0;

	*out = (struct sequence_set){};
	do {
		out->r = arena_grow(p->a, out->r, out->n, &cap, sizeof(*out->r));
		struct uid_range *r = &out->r[out->n++];
		if (!seq_number(p, star, &r->first))
			goto bad;
		r->last = r->first;
		if (scan_byte(&p->s, ':') && !seq_number(p, star, &r->last))
			goto bad;
	} while (scan_byte(&p->s, ','));
	return true;
bad:
	p->s = at;
	return parse_fail(p, "Invalid message set");
}

/* sequence-set =/ seq-last-command; seq-last-command = "$" */
bool parse_sequence_set(struct parse *p, struct sequence_set *out)
{
	if (scan_byte(&p->s, '$')) {
		*out = (struct sequence_set){.saved = true};
		return true;
	}
	return parse_ranges(p, true, out);
}

bool parse_known_set(struct parse *p, struct uid_set *out)
{
	struct sequence_set s;

	if (!parse_ranges(p, false, &s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.r[i].first > s.r[i].last)
			s.r[i] = (struct uid_range){s.r[i].last, s.r[i].first};
	*out = uid_set_sort(s.r, s.n);
	return true;
}

static int range_cmp(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

struct uid_set uid_set_sort(struct uid_range *r, size_t n)
{
	size_t k = 0;
	bool sorted = true;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = r[i - 1].first <= r[i].first;
	if (!sorted)
		qsort(r, n, sizeof(*r), range_cmp);
	for (size_t i = 0; i < n; i++) {
		if (k && (r[k - 1].last == UINT32_MAX || r[i].first <= r[k - 1].last + 1)) {
			if (r[i].last > r[k - 1].last)
				r[k - 1].last = r[i].last;
		} else {
			r[k++] = r[i];
		}
	}
	return (struct uid_set){r, k};
}

struct uid_set sequence_set_resolve(const struct sequence_set *s, uint32_t star, struct arena *a)
{
	if (!s->n)
		return (struct uid_set){};
	struct uid_range *r = arena_array(a, s->n, sizeof(*r));
	for (size_t i = 0; i < s->n; i++) {
		uint32_t x = s->r[i].first ? s->r[i].first : star;
		uint32_t y = s->r[i].last ? s->r[i].last : star;
		r[i] = x < y ? (struct uid_range){x, y} : (struct uid_range){y, x};
	}
	return uid_set_sort(r, s->n);
}

bool uid_set_has(struct uid_set s, uint32_t uid)
{
	size_t lo = 0, hi = s.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (uid < s.r[mid].first)
			hi = mid;
		else if (uid > s.r[mid].last)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

void uid_set_add(struct arena *a, struct uid_set *s, size_t *cap, uint32_t uid)
{
	if (s->n && s->r[s->n - 1].last + 1 == uid) {
		s->r[s->n - 1].last = uid;
		return;
	}
	s->r = arena_grow(a, s->r, s->n, cap, sizeof(*s->r));
	s->r[s->n++] = (struct uid_range){uid, uid};
}

uint64_t uid_set_count(struct uid_set s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += (uint64_t)s.r[i].last - s.r[i].first + 1;
	return n;
}
