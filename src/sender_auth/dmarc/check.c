/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Policy discovery and alignment (RFC 9989 4.10, 5.3). A walk's steps are kept, so that the author
 * domain's serves both for the policy and for its organizational domain.
 */
#include "sender_auth/dmarc/dmarc.h"
#include "base/arena.h"
#include "dns/resolver.h"
#include "mail/address.h"
#include "sender_auth/public_suffix.h"

const char *dmarc_result_name(enum dmarc_result r)
{
	switch (r) {
	case DMARC_NONE:
		return "none";
	case DMARC_PASS:
		return "pass";
	case DMARC_FAIL:
		return "fail";
	case DMARC_TEMPERROR:
		return "temperror";
	case DMARC_PERMERROR:
		return "permerror";
	}
	return "?";
}

enum found { FOUND_NOTHING, FOUND_RECORD, FOUND_UNUSABLE, FOUND_ERROR };

struct step {
	struct str domain;
	enum found found;
	struct dmarc_record record;
};
struct walk {
	struct step at[DMARC_WALK_MAX];
	size_t n;
	bool failed; /* a DNS error on the way */
};

struct run {
	struct dns_resolver *resolver;
	struct arena *a;
	const struct dmarc_request *q;
	struct dmarc_verdict *out;
	bool unsure; /* of the organizational domain: the walk broke off after the domain's own record */
};

static enum found look_up(struct run *run, struct str domain, struct dmarc_record *record)
{
	struct dns_answer answer;
	struct err err;
	enum found found = FOUND_NOTHING;
	run->out->queries++;
	dns_query(run->resolver, run->a, arena_cat(run->a, STR("_dmarc."), domain), DNS_TXT, &answer);
	if (dns_is_error(answer.status)) {
		run->out->reason = arena_fmt(run->a, "DNS %s for _dmarc.%.*s", dns_status_name(answer.status),
					     STR_ARG(domain));
		return FOUND_ERROR;
	}
	for (size_t i = 0; i < answer.n; i++) {
		struct dmarc_record one;
		bool good = dmarc_record_parse(answer.at[i].data, &one, &err);
		if (!good && err.kind == ERR_NOT_FOUND)
			continue;
		if (found != FOUND_NOTHING) /* 4.10: several: none of them */
			return FOUND_NOTHING;
		found = good ? FOUND_RECORD : FOUND_UNUSABLE;
		*record = one;
	}
	return found;
}

static unsigned labels(struct str domain)
{
	unsigned n = 1;
	for (size_t i = 0; i < domain.n; i++)
		n += domain.p[i] == '.';
	return n;
}

static struct str last_labels(struct str domain, unsigned n)
{
	for (unsigned have = labels(domain); have > n; have--)
		domain = str_from(domain, str_find_byte(domain, '.') + 1);
	return domain;
}

/* 4.10: from the name itself down to the top-level domain, eight questions at most. */
static void walk(struct run *run, struct str domain, struct walk *w)
{
	*w = (struct walk){0};
	while (w->n < DMARC_WALK_MAX) {
		struct step *s = &w->at[w->n++];
		unsigned n = labels(domain);
		s->domain = domain;
		s->found = look_up(run, domain, &s->record);
		if (s->found == FOUND_ERROR) {
			w->failed = true;
			return;
		}
		if (s->found == FOUND_RECORD && s->record.psd != DMARC_PSD_UNKNOWN)
			return;
		if (n == 1)
			return;
		domain = last_labels(domain, n >= DMARC_WALK_MAX ? DMARC_WALK_MAX - 1 : n - 1);
	}
}

/* 4.10.2 */
static struct str organization_of(const struct walk *w)
{
	struct str shortest = w->at[0].domain;
	for (size_t i = 0; i < w->n; i++) {
		const struct step *s = &w->at[i];
		if (s->found != FOUND_RECORD && s->found != FOUND_UNUSABLE)
			continue;
		if (s->record.psd == DMARC_PSD_NO)
			return s->domain;
		if (s->record.psd == DMARC_PSD_YES && i > 0)
			return last_labels(w->at[0].domain, labels(s->domain) + 1);
		shortest = s->domain;
	}
	return shortest;
}

static const struct step *step_of(const struct walk *w, struct str domain)
{
	for (size_t i = 0; i < w->n; i++) {
		if (str_eq(w->at[i].domain, domain))
			return &w->at[i];
	}
	return NULL;
}

static bool usable(const struct step *s)
{
	return s && s->found == FOUND_RECORD;
}

/* The author domain's own record, else the organizational domain's, else the public suffix's. */
static const struct step *policy_step(const struct walk *w, struct str organization)
{
	const struct step *own = &w->at[0], *org = step_of(w, organization), *last = &w->at[w->n - 1];
	if (own->found == FOUND_RECORD || own->found == FOUND_UNUSABLE)
		return own;
	if (org && (org->found == FOUND_RECORD || org->found == FOUND_UNUSABLE))
		return org;
	return last->found == FOUND_RECORD && last->record.psd == DMARC_PSD_YES ? last : NULL;
}

/* The same by the list: two look-ups at most (RFC 7489 6.6.3). */
static void look_up_by_list(struct run *run, struct str domain, struct walk *w, struct str *organization)
{
	*w = (struct walk){.n = 1};
	*organization = public_suffix_registrable(run->q->suffixes, domain);
	if (organization->n == 0)
		*organization = domain;
	w->at[0] = (struct step){.domain = domain};
	w->at[0].found = look_up(run, domain, &w->at[0].record);
	if (w->at[0].found == FOUND_NOTHING && !str_eq(domain, *organization)) {
		w->at[w->n++] = (struct step){.domain = *organization};
		w->at[1].found = look_up(run, *organization, &w->at[1].record);
	}
	w->failed = w->at[w->n - 1].found == FOUND_ERROR;
}

/* false: the DNS failed */
static bool same_organization(struct run *run, struct str domain, bool *out_same)
{
	struct str organization;
	struct walk *w = arena_new_of(run->a, struct walk);
	*out_same = false;
	/* Without a common top-level domain there is nothing to ask. */
	if (!str_eq(last_labels(domain, 1), last_labels(run->out->author_domain, 1)))
		return true;
	if (run->q->use_suffixes) {
		organization = public_suffix_registrable(run->q->suffixes, domain);
		*out_same = str_eq(organization.n ? organization : domain, run->out->organization);
		return true;
	}
	if (run->unsure)
		return false;
	walk(run, domain, w);
	*out_same = str_eq(organization_of(w), run->out->organization);
	return !w->failed;
}

enum alignment { ALIGNED_NOT, ALIGNED, ALIGNED_UNKNOWN };

static enum alignment align(struct run *run, struct str domain, bool strict)
{
	struct err ignored;
	bool same;
	if (!domain_canonical(run->a, domain, &domain, &ignored) || !dns_name_valid(domain))
		return ALIGNED_NOT;
	if (str_eq(domain, run->out->author_domain))
		return ALIGNED;
	if (strict)
		return ALIGNED_NOT;
	if (!same_organization(run, domain, &same))
		return ALIGNED_UNKNOWN;
	return same ? ALIGNED : ALIGNED_NOT;
}

/* One identifier: pass, or an error that could have been one. */
static void judge(struct run *run, struct str domain, bool pass, bool temporary, bool strict,
		  bool *out_aligned, bool *out_unsure)
{
	if (!pass && !temporary)
		return;
	enum alignment alignment = align(run, domain, strict);
	if (alignment == ALIGNED && pass)
		*out_aligned = true;
	else if (alignment == ALIGNED_UNKNOWN || (alignment == ALIGNED && temporary))
		*out_unsure = true;
}

static enum dmarc_result evaluate(struct run *run)
{
	const struct dmarc_request *q = run->q;
	struct dmarc_verdict *out = run->out;
	bool unsure = false;
	judge(run, q->spf_domain, q->spf == SPF_PASS, q->spf == SPF_TEMPERROR, out->record.strict_spf,
	      &out->spf_aligned, &unsure);
	for (size_t i = 0; i < q->dkim_n && i < DKIM_REPORTED_MAX && !out->dkim_aligned; i++)
		judge(run, q->dkim[i].domain, q->dkim[i].result == DKIM_PASS,
		      q->dkim[i].result == DKIM_TEMPERROR, out->record.strict_dkim, &out->dkim_aligned,
		      &unsure);
	bool pass = out->spf_aligned || out->dkim_aligned;
	if (pass || !unsure) {
		out->reason = STR("");
		return pass ? DMARC_PASS : DMARC_FAIL;
	}
	if (out->reason.n == 0)
		out->reason = STR("SPF or DKIM of an aligned domain could not be checked");
	return DMARC_TEMPERROR;
}

/* 4.7: p for the record's own domain, below it np for names that do not exist, else sp. */
static bool choose_policy(struct run *run)
{
	struct dmarc_verdict *out = run->out;
	const struct dmarc_record *r = &out->record;
	struct dns_answer answer;
	out->policy = r->p;
	if (!str_eq(out->author_domain, out->policy_domain)) {
		out->policy = r->sp;
		if (r->np != r->sp) {
			dns_query(run->resolver, run->a, out->author_domain, DNS_A, &answer);
			if (dns_is_error(answer.status))
				return false;
			if (answer.status == DNS_NXDOMAIN)
				out->policy = r->np;
		}
	}
	if (r->testing && out->policy > DMARC_POLICY_NONE)
		out->policy--;
	out->has_policy = true;
	return true;
}

static bool temporary(struct dmarc_verdict *out, const char *reason)
{
	out->result = DMARC_TEMPERROR;
	if (out->reason.n == 0)
		out->reason = str_of(reason);
	return false;
}

/* The record that applies; false: none, or an error, and out says which. */
static bool discover(struct run *run)
{
	struct dmarc_verdict *out = run->out;
	struct walk *w = arena_new_of(run->a, struct walk);
	if (run->q->use_suffixes) {
		look_up_by_list(run, out->author_domain, w, &out->organization);
	} else {
		walk(run, out->author_domain, w);
		out->organization = organization_of(w);
	}
	run->unsure = w->failed && usable(&w->at[0]);
	if (w->failed && !run->unsure)
		return temporary(out, "DNS error");
	const struct step *s = policy_step(w, out->organization);
	if (!usable(s)) {
		out->reason = s ? STR("the DMARC record has no valid policy") : STR("");
		return false;
	}
	out->record = s->record;
	out->policy_domain = s->domain;
	return choose_policy(run) || temporary(out, "DNS error");
}

void dmarc_check(struct dns_resolver *r, struct arena *a, const struct dmarc_request *q,
		 struct dmarc_verdict *out)
{
	struct run run = {.resolver = r, .a = a, .q = q, .out = out};
	struct err ignored;
	*out = (struct dmarc_verdict){.result = DMARC_NONE};
	if (!domain_canonical(a, q->author_domain, &out->author_domain, &ignored) ||
	    !dns_name_valid(out->author_domain)) {
		out->result = DMARC_PERMERROR;
		out->reason = STR("the author domain is no domain name");
		return;
	}
	if (discover(&run))
		out->result = evaluate(&run);
}
