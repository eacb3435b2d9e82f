/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/find.c: see imap/find.h. Numbers stay fixed meanwhile, since nothing of what happens to the
 * mailbox is told before the end.
 */
#include "imap/find.h"

void find_begin(struct imap *s, struct find *f, const struct search_args *args)
{
	if (args->modseq)
		imap_enable_condstore(s);
	f->ahead = (struct ahead){.view = s->view, .a = s->ahead};
	f->search = (struct search){
		.view = s->view, .root = args->root, .scratch = s->scratch, .ahead = &f->ahead};
	search_prepare(&f->search, s->saved, s->arena);
}

enum step find_step(struct imap *s, struct find *f)
{
	uint32_t count = view_count(s->view);
	enum search_cost cost;
	struct msg m;

	while (f->seq < count) {
		uint32_t seq = ++f->seq;
		if (!view_msg(s->view, seq, &m))
			continue;
		if (search_matches(&f->search, seq, &m, &cost))
			f->found(s, f->ctx, seq, &m);
		if ((cost > SEARCH_COST_DATE || seq % 1024 == 0) && imap_turn_over(s)) {
			imap_progress(s, &f->progress_ms, seq, count);
			return STEP_AGAIN;
		}
	}
	return STEP_DONE;
}

bool find_has_numbers(const struct search_key *k)
{
	for (; k; k = k->next)
		if ((k->kind == SEARCH_SEQ && !k->set.saved) || find_has_numbers(k->a) ||
		    find_has_numbers(k->b))
			return true;
	return false;
}

bool find_allowed(struct imap *s, const struct search_args *args)
{
	if (!(s->enabled & ENABLED_UIDONLY) || !find_has_numbers(args->root))
		return true;
	imap_bad(s, "[UIDREQUIRED] Message numbers are not used after ENABLE UIDONLY");
	return false;
}

enum step find_bad_arguments(struct imap *s, const struct parse *p, enum search_problem problem,
			     const struct search_args *args)
{
	/* RFC 5182 2.1: a failed SAVE leaves "$" empty. */
	if (args->returns & SEARCH_SAVE)
		imap_set_saved(s, (struct uid_set){});
	if (problem == SEARCH_BAD_CHARSET)
		return imap_no(s, "BADCHARSET (US-ASCII UTF-8 EUC-KR ISO-2022-KR CP949)",
			       "Charset is not known");
	return imap_bad_syntax(s, p);
}

enum step find_failed(struct imap *s, const struct find *f, const struct search_args *args)
{
	if (args->returns & SEARCH_SAVE)
		imap_set_saved(s, (struct uid_set){});
	return imap_fail(s, &f->search.err);
}

void esearch_begin(struct imap *s, const struct command *c)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* ESEARCH (TAG "));
	write_string(b, c->tag, false);
	buf_byte(b, ')');
	if (c->uid)
		buf_add(b, STR(" UID"));
}

void esearch_begin_mailbox(struct imap *s, const struct command *c)
{
	struct buf *b = imap_out(s);
	struct view_facts f;

	view_facts(s->view, &f);
	buf_add(b, STR("* ESEARCH (TAG "));
	write_string(b, c->tag, false);
	buf_add(b, STR(" MAILBOX "));
	write_mailbox(b, view_name(s->view), imap_utf8(s));
	buf_fmt(b, " UIDVALIDITY %u) UID", f.uidvalidity);
}

void esearch_pair(struct buf *b, const char *word, uint64_t value)
{
	buf_byte(b, ' ');
	buf_add(b, str_of(word));
	buf_byte(b, ' ');
	buf_u64(b, value);
}

void esearch_partial(struct buf *b, struct partial p)
{
	const char *sign = p.negative ? "-" : "";

	buf_fmt(b, " PARTIAL (%s%u:%s%u ", sign, p.first, sign, p.last);
}

/* RFC 6203 4: 1 to 100 for each; what matches exactly has no better. */
void esearch_relevancy(struct buf *b, uint64_t n)
{
	buf_add(b, STR(" RELEVANCY ("));
	for (uint64_t i = 0; i < n; i++)
		buf_add(b, i ? STR(" 100") : STR("100"));
	buf_byte(b, ')');
}
