/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/sort.c: see imap/sort.h. The values to compare are made once, when a message is added. */
#include "imap/sort.h"
#include "mime/text.h"
#include "mime/words.h"
#include <stdlib.h>
#include <string.h>

bool sort_needs_summary(const struct sort_criterion *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c[i].key != SORT_ARRIVAL && c[i].key != SORT_SIZE && c[i].key != SORT_RELEVANCY)
			return true;
	return false;
}

/* The first address of the envelope's nth field: "((name adl mailbox host) ...)", or NIL. */
struct first_address {
	struct str name, mailbox, host;
};

static bool skip_addresses(struct parse *p)
{
	struct str t;

	if (!scan_byte(&p->s, '('))
		return parse_nstring(p, &t);
	while (scan_byte(&p->s, '(')) {
		for (unsigned i = 0; i < 4; i++)
			if ((i && !scan_byte(&p->s, ' ')) || !parse_nstring(p, &t))
				return false;
		if (!scan_byte(&p->s, ')'))
			return false;
	}
	return scan_byte(&p->s, ')');
}

enum envelope_field { ENVELOPE_FROM = 2, ENVELOPE_TO = 5, ENVELOPE_CC = 6 };

static bool first_address(struct arena *a, struct str envelope, enum envelope_field field,
			  struct first_address *out)
{
	struct parse p = parse_of(envelope, a, true);
	struct str t;

	*out = (struct first_address){};
	if (!scan_byte(&p.s, '('))
		return false;
	for (unsigned i = 0; i < (unsigned)field; i++)
		if (!skip_addresses(&p) || !scan_byte(&p.s, ' '))
			return false;
	if (!scan_lit(&p.s, STR("((")))
		return false;
	return parse_nstring(&p, &out->name) && scan_byte(&p.s, ' ') && parse_nstring(&p, &t) &&
	       scan_byte(&p.s, ' ') && parse_nstring(&p, &out->mailbox) && scan_byte(&p.s, ' ') &&
	       parse_nstring(&p, &out->host);
}

static struct str text_value(struct arena *a, struct str text)
{
	return text_collation_key(a, utf8_cut(text, SORT_TEXT_MAX));
}

/* RFC 5256 3: addr-mailbox; of a group that is its name. */
static struct str mailbox_value(struct arena *a, const struct summary *sum, enum envelope_field field)
{
	struct first_address f;

	if (!first_address(a, sum->envelope, field, &f))
		return STR_NONE;
	return text_value(a, words_decode_str(a, f.mailbox));
}

/* RFC 5957 3: the display-name, or the address. */
static struct str display_value(struct arena *a, const struct summary *sum, enum envelope_field field)
{
	struct first_address f;

	if (!first_address(a, sum->envelope, field, &f))
		return STR_NONE;
	if (f.name.n)
		return text_value(a, words_decode_str(a, f.name));
	if (!f.host.n)
		return text_value(a, words_decode_str(a, f.mailbox));
	return text_value(a, arena_fmt(a, "%.*s@%.*s", STR_ARG(f.mailbox), STR_ARG(f.host)));
}

static union sort_value value(struct sorting *so, enum sort_key key, const struct msg *m,
			      int64_t internaldate, const struct summary *sum)
{
	union sort_value v = {.number = 0};

	switch (key) {
	case SORT_ARRIVAL:
		v.number = internaldate;
		break;
	case SORT_SIZE:
		v.number = m->size;
		break;
	case SORT_DATE: /* RFC 5256 2.2: INTERNALDATE where the Date field does not say */
		v.number = sum->date_unix == SUMMARY_NO_DATE ? internaldate : sum->date_unix;
		break;
	case SORT_SUBJECT:
		v.text = text_value(so->a, sum->base_subject);
		break;
	case SORT_FROM:
		v.text = mailbox_value(so->a, sum, ENVELOPE_FROM);
		break;
	case SORT_TO:
		v.text = mailbox_value(so->a, sum, ENVELOPE_TO);
		break;
	case SORT_CC:
		v.text = mailbox_value(so->a, sum, ENVELOPE_CC);
		break;
	case SORT_DISPLAYFROM:
		v.text = display_value(so->a, sum, ENVELOPE_FROM);
		break;
	case SORT_DISPLAYTO:
		v.text = display_value(so->a, sum, ENVELOPE_TO);
		break;
	case SORT_RELEVANCY:
	case SORT_KEYS:
		break;
	}
	return v;
}

void sorting_add(struct sorting *so, uint32_t seq, const struct msg *m, int64_t internaldate,
		 const struct summary *sum)
{
	so->all = arena_grow(so->a, so->all, so->n, &so->cap, sizeof(*so->all));
	struct sorted *x = &so->all[so->n++];
	*x = (struct sorted){.seq = seq, .uid = m->uid, .modseq = m->modseq};
	x->values = arena_array(so->a, so->criteria_n, sizeof(*x->values));
	for (size_t i = 0; i < so->criteria_n; i++)
		x->values[i] = value(so, so->criteria[i].key, m, internaldate, sum);
}

static bool is_number(enum sort_key key)
{
	return key == SORT_ARRIVAL || key == SORT_SIZE || key == SORT_DATE || key == SORT_RELEVANCY;
}

static int compare(const void *a, const void *b, void *sorting)
{
	const struct sorting *so = sorting;
	const struct sorted *x = a, *y = b;

	for (size_t i = 0; i < so->criteria_n; i++) {
		const union sort_value *v = &x->values[i], *w = &y->values[i];
		int order = is_number(so->criteria[i].key) ? (v->number > w->number) - (v->number < w->number)
							   : str_cmp(v->text, w->text);
		if (order)
			return so->criteria[i].reverse ? -order : order;
	}
	return (x->uid > y->uid) - (x->uid < y->uid);
}

void sorting_sort(struct sorting *so)
{
	if (so->n)
		qsort_r(so->all, so->n, sizeof(*so->all), compare, so);
}

void sorting_copy(struct sorting *so, const struct sorted *x)
{
	so->all = arena_grow(so->a, so->all, so->n, &so->cap, sizeof(*so->all));
	struct sorted *to = &so->all[so->n++];
	*to = *x;
	to->values = arena_array(so->a, so->criteria_n, sizeof(*to->values));
	for (size_t i = 0; i < so->criteria_n; i++) {
		to->values[i] = x->values[i];
		if (!is_number(so->criteria[i].key))
			to->values[i].text = arena_str(so->a, x->values[i].text);
	}
}

size_t sorting_place_last(struct sorting *so)
{
	struct sorted last = so->all[so->n - 1];
	size_t lo = 0, hi = so->n - 1;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (compare(&so->all[mid], &last, so) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	memmove(so->all + lo + 1, so->all + lo, (so->n - 1 - lo) * sizeof(*so->all));
	so->all[lo] = last;
	return lo;
}
