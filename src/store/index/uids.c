/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/index/uids.h"
#include <stdlib.h>
#include <string.h>

void uids_add_range(struct arena *a, struct uids *u, uint32_t first, uint32_t last)
{
	struct uid_range *end = u->set.n ? &u->set.r[u->set.n - 1] : NULL;

	if (end && first <= end->last) {
		if (last > end->last)
			end->last = last;
		return;
	}
	if (end && first == end->last + 1) {
		end->last = last;
		return;
	}
	u->set.r = arena_grow(a, u->set.r, u->set.n, &u->cap, sizeof(*u->set.r));
	u->set.r[u->set.n++] = (struct uid_range){first, last};
}

void uids_add(struct arena *a, struct uids *u, uint32_t uid)
{
	uids_add_range(a, u, uid, uid);
}

bool uids_has(struct uid_set s, uint32_t uid)
{
	size_t low = 0, high = s.n; /* first range whose end is at least uid */

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (s.r[mid].last < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s.n && s.r[low].first <= uid;
}

size_t uids_count(struct uid_set s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += (size_t)(s.r[i].last - s.r[i].first) + 1;
	return n;
}

static int by_first(const void *x, const void *y)
{
	const struct uid_range *a = x, *b = y;

	return (a->first > b->first) - (a->first < b->first);
}

struct uid_set uids_normal(struct arena *a, struct uid_set s)
{
	bool sorted = true;

	for (size_t i = 0; i < s.n; i++)
		if (s.r[i].first > s.r[i].last || (i && s.r[i].first <= s.r[i - 1].last))
			sorted = false;
	if (sorted)
		return s;

	struct uid_range *r = arena_array(a, s.n, sizeof(*r));
	for (size_t i = 0; i < s.n; i++) {
		r[i] = s.r[i];
		if (r[i].first > r[i].last)
			r[i] = (struct uid_range){s.r[i].last, s.r[i].first};
	}
	if (s.n)
		qsort(r, s.n, sizeof(*r), by_first);
	struct uids out = {0};
	for (size_t i = 0; i < s.n; i++)
		uids_add_range(a, &out, r[i].first, r[i].last);
	return out.set;
}

struct uid_set uids_and(struct arena *a, struct uid_set x, struct uid_set y)
{
	struct uids out = {0};
	size_t i = 0, j = 0;

	while (i < x.n && j < y.n) {
		uint32_t first = x.r[i].first > y.r[j].first ? x.r[i].first : y.r[j].first;
		uint32_t last = x.r[i].last < y.r[j].last ? x.r[i].last : y.r[j].last;
		if (first <= last)
			uids_add_range(a, &out, first, last);
		if (x.r[i].last < y.r[j].last)
			i++;
		else
			j++;
	}
	return out.set;
}
