/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* check_host() (RFC 7208 section 4): the record of a domain, its mechanisms from left to right. */
#include "sender_auth/spf/spf.h"
#include "sender_auth/spf/spf_int.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/address.h"

#include <string.h>

static const char *const names[] = {
	[SPF_NONE] = "none", [SPF_NEUTRAL] = "neutral", [SPF_PASS] = "pass", [SPF_FAIL] = "fail",
	[SPF_SOFTFAIL] = "softfail", [SPF_TEMPERROR] = "temperror", [SPF_PERMERROR] = "permerror",
};

const char *spf_result_name(enum spf_result r)
{
	return names[r];
}

bool spf_result_parse(struct str s, enum spf_result *out)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (str_eq_nocase(s, str_of(names[i])))
			return *out = (enum spf_result)i, true;
	}
	return false;
}

/* What a mechanism, or a helper of one, came to. */
enum match {
	NO_MATCH, MATCH, TEMP, PERM,
};

static enum match temp(struct spf_run *run, const char *why)
{
	run->reason = str_of(why);
	return TEMP;
}

static enum match perm(struct spf_run *run, const char *why)
{
	run->reason = str_of(why);
	return PERM;
}

/* Counts a term that looks something up. */
static enum match count_lookup(struct spf_run *run)
{
	if (run->lookups >= SPF_LOOKUPS_MAX)
		return perm(run, "more than 10 terms need DNS look-ups");
	run->lookups++;
	return NO_MATCH;
}

/* One question; NO_MATCH: the answer is there, perhaps empty. */
static enum match look_up(struct spf_run *run, struct str name, enum dns_type type, struct dns_answer *out)
{
	if (clock_mono_ms() > run->deadline_ms)
		return temp(run, "the SPF check took too long");
	dns_query(run->resolver, run->a, name, type, out);
	if (dns_is_error(out->status)) {
		run->reason =
			arena_fmt(run->a, "DNS %s for %.*s", dns_status_name(out->status), STR_ARG(name));
		return TEMP;
	}
	if (dns_is_void(out->status) && ++run->void_lookups > SPF_VOID_LOOKUPS_MAX)
		return perm(run, "more than 2 DNS look-ups found nothing");
	return NO_MATCH;
}

static bool in_network(const unsigned char *ip, const unsigned char *network, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(ip, network, bytes) != 0)
		return false;
	unsigned mask = 0xffU << (8 - rest) & 0xff;
	return rest == 0 || ((ip[bytes] ^ network[bytes]) & mask) == 0;
}

static bool ip_in(const struct spf_run *run, const unsigned char *network, unsigned bits4, unsigned bits6)
{
	return in_network((const unsigned char *)run->ip.p, network, run->ip.n == 4 ? bits4 : bits6);
}

/* Do the addresses of a host have the client among them? */
static enum match match_host(struct spf_run *run, struct str host, const struct spf_directive *d)
{
	struct dns_answer answer;
	enum match m = look_up(run, host, run->ip.n == 4 ? DNS_A : DNS_AAAA, &answer);
	for (size_t i = 0; m == NO_MATCH && i < answer.n; i++) {
		if (ip_in(run, (const unsigned char *)answer.at[i].data.p, d->bits4, d->bits6))
			return MATCH;
	}
	return m;
}

static enum match match_mx(struct spf_run *run, struct str domain, const struct spf_directive *d)
{
	struct dns_answer answer;
	enum match m = look_up(run, domain, DNS_MX, &answer);
	if (m != NO_MATCH)
		return m;
	if (answer.n > SPF_NAMES_MAX)
		return perm(run, "more than 10 MX hosts");
	for (size_t i = 0; m == NO_MATCH && i < answer.n; i++) {
		if (answer.at[i].name.n > 0) /* RFC 7505: the null MX names no host */
			m = match_host(run, answer.at[i].name, d);
	}
	return m;
}

static bool leads_back(struct spf_run *run, struct str name)
{
	struct dns_answer answer;
	if (clock_mono_ms() > run->deadline_ms)
		return false;
	dns_query(run->resolver, run->a, name, run->ip.n == 4 ? DNS_A : DNS_AAAA, &answer);
	for (size_t i = 0; i < answer.n; i++) {
		if (str_eq(answer.at[i].data, run->ip))
			return true;
	}
	return false;
}

size_t spf_validated_names(struct spf_run *run, struct str *out, enum dns_status *out_status)
{
	struct dns_answer answer;
	size_t n = 0;
	dns_query(run->resolver, run->a, dns_reverse_name(run->a, run->ip), DNS_PTR, &answer);
	*out_status = answer.status;
	for (size_t i = 0; i < answer.n && i < SPF_NAMES_MAX; i++) {
		if (leads_back(run, answer.at[i].name))
			out[n++] = answer.at[i].name;
	}
	return n;
}

/* 5.5: a DNS error is no match. */
static enum match match_ptr(struct spf_run *run, struct str domain)
{
	struct str found[SPF_NAMES_MAX];
	enum dns_status status;
	size_t n = spf_validated_names(run, found, &status);
	if (dns_is_void(status) && ++run->void_lookups > SPF_VOID_LOOKUPS_MAX)
		return perm(run, "more than 2 DNS look-ups found nothing");
	for (size_t i = 0; i < n; i++) {
		if (spf_is_below(found[i], domain))
			return MATCH;
	}
	return NO_MATCH;
}

static enum spf_result check_host(struct spf_run *run, struct str domain, struct str *out_explanation);

static enum match match_include(struct spf_run *run, struct str domain)
{
	switch (check_host(run, domain, NULL)) { /* 5.2 */
	case SPF_PASS:
		return MATCH;
	case SPF_FAIL:
	case SPF_SOFTFAIL:
	case SPF_NEUTRAL:
		return NO_MATCH;
	case SPF_TEMPERROR:
		return TEMP;
	case SPF_NONE:
		run->reason = arena_fmt(run->a, "include:%.*s has no SPF record", STR_ARG(domain));
		return PERM;
	case SPF_PERMERROR:
		break;
	}
	return PERM;
}

static enum match match_directive(struct spf_run *run, struct str domain, const struct spf_directive *d)
{
	struct dns_answer answer;
	switch (d->mechanism) {
	case SPF_ALL:
		return MATCH;
	case SPF_IP4:
		return run->ip.n == 4 && ip_in(run, d->network, d->bits4, 0) ? MATCH : NO_MATCH;
	case SPF_IP6:
		return run->ip.n == 16 && ip_in(run, d->network, 0, d->bits6) ? MATCH : NO_MATCH;
	case SPF_INCLUDE:
	case SPF_A:
	case SPF_MX:
	case SPF_PTR:
	case SPF_EXISTS:
		break;
	}
	enum match m = count_lookup(run);
	if (m != NO_MATCH)
		return m;
	struct str target = domain;
	if (d->domain.n > 0 && !spf_macro_expand(run, d->domain, domain, SPF_MACRO_DOMAIN, &target))
		return NO_MATCH;
	switch (d->mechanism) {
	case SPF_INCLUDE:
		return match_include(run, target);
	case SPF_A:
		return match_host(run, target, d);
	case SPF_MX:
		return match_mx(run, target, d);
	case SPF_PTR:
		return match_ptr(run, target);
	case SPF_EXISTS:
		m = look_up(run, target, DNS_A, &answer);
		return m == NO_MATCH && answer.n > 0 ? MATCH : m;
	case SPF_ALL:
	case SPF_IP4:
	case SPF_IP6:
		break;
	}
	return NO_MATCH;
}

/* 6.2: whatever goes wrong, there is no explanation. */
static struct str explain(struct spf_run *run, struct str domain, struct str spec)
{
	struct str name, text = STR("");
	struct dns_answer answer;
	if (!spf_macro_expand(run, spec, domain, SPF_MACRO_DOMAIN, &name))
		return STR("");
	dns_query(run->resolver, run->a, name, DNS_TXT, &answer);
	if (answer.n != 1 || !spf_macro_valid(answer.at[0].data, SPF_MACRO_EXPLAIN) ||
	    !spf_macro_expand(run, answer.at[0].data, domain, SPF_MACRO_EXPLAIN, &text))
		return STR("");
	if (!str_is_ascii(text) || str_has_ctl(text))
		return STR("");
	return str_sub(text, 0, SPF_EXPLANATION_MAX);
}

static bool has_all(const struct spf_record *record)
{
	for (size_t i = 0; i < record->n; i++) {
		if (record->at[i].mechanism == SPF_ALL)
			return true;
	}
	return false;
}

/* 6.1 */
static enum spf_result redirect(struct spf_run *run, struct str domain, struct str spec,
				struct str *out_explanation)
{
	struct str target;
	if (count_lookup(run) != NO_MATCH)
		return SPF_PERMERROR;
	if (!spf_macro_expand(run, spec, domain, SPF_MACRO_DOMAIN, &target)) {
		perm(run, "redirect needs a local-part in ASCII");
		return SPF_PERMERROR;
	}
	enum spf_result result = check_host(run, target, out_explanation);
	if (result != SPF_NONE)
		return result;
	run->reason = arena_fmt(run->a, "redirect=%.*s has no SPF record", STR_ARG(target));
	return SPF_PERMERROR;
}

static enum spf_result evaluate(struct spf_run *run, struct str domain, const struct spf_record *record,
				struct str *out_explanation)
{
	for (size_t i = 0; i < record->n; i++) {
		const struct spf_directive *d = &record->at[i];
		enum match m = match_directive(run, domain, d);
		if (m == TEMP)
			return SPF_TEMPERROR;
		if (m == PERM)
			return SPF_PERMERROR;
		if (m == NO_MATCH)
			continue;
		run->term = d->text;
		if (d->qualifier == SPF_FAIL && out_explanation && record->exp.p)
			*out_explanation = explain(run, domain, record->exp);
		return d->qualifier;
	}
	if (record->redirect.p && !has_all(record))
		return redirect(run, domain, record->redirect, out_explanation);
	run->term = STR("");
	return SPF_NEUTRAL; /* 4.7 */
}

/* 4.3: "malformed or not a multi-label domain name" */
static bool is_checkable(struct str domain)
{
	if (str_ends(domain, STR(".")))
		domain = str_sub(domain, 0, domain.n - 1);
	return dns_name_valid(domain) && str_has_byte(domain, '.') && domain.p[0] != '[';
}

static enum spf_result check_host(struct spf_run *run, struct str domain, struct str *out_explanation)
{
	struct dns_answer answer;
	struct spf_record record;
	struct err err = {0};
	struct str text = STR_NONE;
	if (!is_checkable(domain))
		return SPF_NONE;
	if (clock_mono_ms() > run->deadline_ms)
		return temp(run, "the SPF check took too long"), SPF_TEMPERROR;
	dns_query(run->resolver, run->a, domain, DNS_TXT, &answer);
	if (dns_is_error(answer.status)) {
		run->reason = arena_fmt(run->a, "DNS %s for %.*s", dns_status_name(answer.status),
					STR_ARG(domain));
		return SPF_TEMPERROR;
	}
	for (size_t i = 0; i < answer.n; i++) {
		if (!spf_is_record(answer.at[i].data))
			continue;
		if (text.p) { /* 4.5 */
			run->reason = arena_fmt(run->a, "%.*s has more than one SPF record", STR_ARG(domain));
			return SPF_PERMERROR;
		}
		text = answer.at[i].data;
	}
	if (!text.p)
		return SPF_NONE;
	if (!spf_record_parse(run->a, text, &record, &err)) {
		run->reason = arena_fmt(run->a, "%.*s: %s", STR_ARG(domain), err.text);
		return SPF_PERMERROR;
	}
	return evaluate(run, domain, &record, out_explanation);
}

/* Printable, so that it can stand in a reply or a log. */
static struct str clean(struct arena *a, struct str s)
{
	BUF_SCOPED b = {0};
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_byte(&b, c >= 0x20 && c < 0x7f ? (char)c : '?');
	}
	return arena_str(a, buf_str(&b));
}

/* IPv4-mapped addresses are IPv4 (5). */
static struct str unmapped(struct str ip)
{
	static const unsigned char prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return ip.n == 16 && memcmp(ip.p, prefix, sizeof prefix) == 0 ? str_from(ip, 12) : ip;
}

static void run_check(struct dns_resolver *r, struct arena *a, const struct spf_request *q, struct str sender,
		      struct spf_verdict *out)
{
	*out = (struct spf_verdict){.result = SPF_NONE};
	struct spf_run run = {
		.resolver = r, .a = a, .request = q, .ip = unmapped(q->ip),
		.deadline_ms = clock_mono_ms() + SPF_TIME_MS,
	};
	size_t at = str_find_last_byte(sender, '@');
	struct str domain = at == STR_NPOS ? sender : str_from(sender, at + 1);
	struct err ignored;
	if ((run.ip.n != 4 && run.ip.n != 16) || domain.n == 0)
		return;
	if (!str_is_ascii(domain) && !domain_canonical(a, domain, &domain, &ignored))
		return;
	run.local = at == STR_NPOS || at == 0 ? STR("postmaster") : str_sub(sender, 0, at); /* 4.3 */
	run.sender_domain = domain;
	run.sender = arena_fmt(a, "%.*s@%.*s", STR_ARG(run.local), STR_ARG(domain));
	out->result = check_host(&run, domain, &out->explanation);
	out->domain = domain;
	out->lookups = run.lookups;
	out->void_lookups = run.void_lookups;
	if (out->result == SPF_TEMPERROR || out->result == SPF_PERMERROR)
		out->reason = clean(a, run.reason);
	else
		out->term = clean(a, run.term);
	if (out->result != SPF_FAIL)
		out->explanation = STR("");
}

void spf_check(struct dns_resolver *r, struct arena *a, const struct spf_request *q, struct spf_verdict *out)
{
	run_check(r, a, q, q->mail_from.n ? q->mail_from : q->helo, out);
}

void spf_check_helo(struct dns_resolver *r, struct arena *a, const struct spf_request *q,
		    struct spf_verdict *out)
{
	run_check(r, a, q, q->helo, out);
}
