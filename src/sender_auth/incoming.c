/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/incoming.h"
#include "base/arena.h"
#include "mail/header.h"
#include "sender_auth/public_suffix.h"
#include "sender_auth/results.h"

enum { NAMED_MAX = DKIM_SIGNATURES_MAX }; /* signatures in the field */

struct incoming {
	struct arena *a;
	struct incoming_options o;
	struct str header;
	struct dkim_verify *dkim;
	struct arc_check *arc; /* NULL: nobody wants to know */
};

struct incoming *incoming_new(struct arena *a, const struct incoming_options *o, struct str header)
{
	struct incoming *i = arena_new_of(a, struct incoming);
	*i = (struct incoming){.a = a, .o = *o, .header = header};
	i->dkim = dkim_verify_new(a, header, o->suffixes);
	if (o->forwarders_n || o->check_arc)
		i->arc = arc_check_new(a, header);
	return i;
}

void incoming_body(struct incoming *i, struct str chunk)
{
	dkim_verify_body(i->dkim, chunk);
	if (i->arc)
		arc_check_body(i->arc, chunk);
}

void incoming_free(struct incoming *i)
{
	if (!i)
		return;
	dkim_verify_free(i->dkim);
	arc_check_free(i->arc);
	i->dkim = NULL;
	i->arc = NULL;
}

static void check_spf(struct incoming *i, struct dns_resolver *r, struct spf_verdict *out)
{
	const struct incoming_options *o = &i->o;
	struct spf_request q = {o->ip, o->helo, o->mail_from, o->receiver};
	*out = (struct spf_verdict){.result = SPF_NONE};
	if (o->ip.n)
		spf_check(r, i->a, &q, out);
}

static void check_dmarc(struct incoming *i, struct dns_resolver *r, struct incoming_verdict *v)
{
	struct dmarc_dkim *dkim = arena_array(i->a, v->dkim.n ? v->dkim.n : 1, sizeof *dkim);
	struct dmarc_request q = {.spf = v->spf.result, .spf_domain = v->spf.domain, .dkim = dkim,
				  .dkim_n = v->dkim.n};
	struct err err = {0};
	v->dmarc = (struct dmarc_verdict){.result = DMARC_NONE};
	v->has_author = dmarc_author_domain(i->a, i->header, &q.author_domain, &err);
	if (!v->has_author) {
		v->author_reason = arena_str(i->a, str_of(err.text));
		v->several_authors = header_count(i->header, STR("From")) > 1;
		return;
	}
	for (size_t k = 0; k < v->dkim.n; k++)
		dkim[k] = (struct dmarc_dkim){v->dkim.at[k].result, v->dkim.at[k].domain};
	dmarc_check(r, i->a, &q, &v->dmarc);
}

/* A chain that holds, whose newest seal is of somebody we trust. */
static bool is_forwarded(const struct incoming *i, const struct incoming_verdict *v)
{
	if (v->arc.status != ARC_PASS || !v->arc.sets || !v->arc.n)
		return false;
	for (size_t k = 0; k < i->o.forwarders_n; k++) {
		if (str_eq_nocase(i->o.forwarders[k], v->arc.sets[v->arc.n - 1].domain))
			return true;
	}
	return false;
}

void incoming_end(struct incoming *i, struct dns_resolver *r, struct incoming_verdict *out)
{
	*out = (struct incoming_verdict){.wanted = DMARC_POLICY_NONE};
	check_spf(i, r, &out->spf);
	dkim_verify_end(i->dkim, r, i->o.now_unix, &out->dkim);
	check_dmarc(i, r, out);
	if (i->arc)
		arc_check_end(i->arc, r, &out->arc);
	if (out->dmarc.result != DMARC_FAIL || !out->dmarc.has_policy)
		return;
	out->forwarded = is_forwarded(i, out);
	if (!out->forwarded)
		out->wanted = out->dmarc.policy;
}

/* ---- the field ---- */

static void add_spf(const struct incoming_options *o, const struct incoming_verdict *v, struct auth_result *r)
{
	*r = (struct auth_result){.method = STR("spf"), .result = str_of(spf_result_name(v->spf.result))};
	r->reason = v->spf.reason;
	if (o->mail_from.n)
		auth_result_add_property(r, "smtp", "mailfrom", o->mail_from);
	else
		auth_result_add_property(r, "smtp", "helo", o->helo);
}

static size_t add_dkim(const struct incoming_verdict *v, struct auth_result *r)
{
	size_t n = v->dkim.n < NAMED_MAX ? v->dkim.n : NAMED_MAX;
	if (n == 0) {
		*r = (struct auth_result){.method = STR("dkim"), .result = STR("none")};
		return 1;
	}
	for (size_t k = 0; k < n; k++) {
		const struct dkim_verdict *d = &v->dkim.at[k];
		r[k] = (struct auth_result){.method = STR("dkim"),
					    .result = str_of(dkim_result_name(d->result)),
					    .reason = d->reason};
		if (d->testing)
			r[k].comment = STR("testing");
		if (d->domain.n)
			auth_result_add_property(&r[k], "header", "d", d->domain);
		if (d->selector.n)
			auth_result_add_property(&r[k], "header", "s", d->selector);
		if (d->signature.n)
			auth_result_add_property(&r[k], "header", "b", d->signature);
	}
	return n;
}

static void add_dmarc(const struct incoming_verdict *v, struct auth_result *r)
{
	const struct dmarc_verdict *d = &v->dmarc;
	*r = (struct auth_result){.method = STR("dmarc"), .result = str_of(dmarc_result_name(d->result)),
				  .reason = d->reason};
	if (!v->has_author) {
		r->result = STR("permerror");
		r->reason = v->author_reason;
		return;
	}
	auth_result_add_property(r, "header", "from", d->author_domain);
	if (d->has_policy)
		auth_result_add_property(r, "policy", "dmarc", str_of(dmarc_policy_name(d->policy)));
}

void incoming_field(struct buf *out, const struct incoming_options *o, const struct incoming_verdict *v)
{
	struct auth_result r[NAMED_MAX + 4];
	size_t n = 0;
	if (o->ip.n)
		add_spf(o, v, &r[n++]);
	n += add_dkim(v, &r[n]);
	add_dmarc(v, &r[n++]);
	if (v->arc.n) {
		r[n] = (struct auth_result){.method = STR("arc"), .reason = v->arc.reason};
		r[n++].result = str_of(arc_status_name(v->arc.status));
	}
	auth_results_write(out, o->authserv_id, r, n);
}

bool incoming_field_is_ours(struct arena *a, struct str body, struct str authserv_id)
{
	return auth_results_names(a, body, authserv_id);
}

void incoming_words(struct buf *out, const struct incoming_verdict *v)
{
	buf_fmt(out, "spf=%s dkim=%s dmarc=%s", spf_result_name(v->spf.result),
		dkim_result_name(v->dkim.result),
		v->has_author ? dmarc_result_name(v->dmarc.result) : "permerror");
	if (v->arc.n)
		buf_fmt(out, " arc=%s", arc_status_name(v->arc.status));
}
