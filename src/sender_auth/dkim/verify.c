/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Signatures are parsed first; those that cannot pass are judged at once. The others share a body
 * hash when they have the same canonical form and length. Keys are fetched last.
 */
#include "sender_auth/dkim/verify.h"
#include "sender_auth/dkim/dkim_int.h"
#include "base/arena.h"
#include "base/secret.h"
#include "sender_auth/public_suffix.h"

#include <string.h>

static const char *const names[] = {
	[DKIM_NONE] = "none", [DKIM_PASS] = "pass", [DKIM_FAIL] = "fail", [DKIM_POLICY] = "policy",
	[DKIM_NEUTRAL] = "neutral", [DKIM_TEMPERROR] = "temperror", [DKIM_PERMERROR] = "permerror",
};

const char *dkim_result_name(enum dkim_result r)
{
	return names[r];
}

bool dkim_result_parse(struct str s, enum dkim_result *out)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (str_eq_nocase(s, str_of(names[i])))
			return *out = (enum dkim_result)i, true;
	}
	return false;
}

struct body {
	enum dkim_canon canon;
	uint64_t limit;
	struct dkim_body *body;
	unsigned char digest[32];
	uint64_t length;
};

struct candidate {
	struct dkim_signature signature;
	size_t body; /* index of bodies */
	bool open;   /* not judged yet */
};

struct dkim_verify {
	struct arena *a;
	const struct public_suffixes *suffixes;
	struct dkim_fields fields;
	struct candidate candidates[DKIM_SIGNATURES_MAX]; /* of the first verdicts */
	struct body bodies[DKIM_SIGNATURES_MAX];
	size_t body_n;
	struct dkim_verdicts out;
};

static void judge(struct dkim_verify *v, struct dkim_verdict *verdict, enum dkim_result result,
		  struct str reason)
{
	verdict->result = result;
	verdict->reason = arena_str(v->a, reason);
}

static size_t body_for(struct dkim_verify *v, const struct dkim_signature *s)
{
	for (size_t i = 0; i < v->body_n; i++) {
		if (v->bodies[i].canon == s->body_canon && v->bodies[i].limit == s->body_limit)
			return i;
	}
	v->bodies[v->body_n] = (struct body){
		.canon = s->body_canon,
		.limit = s->body_limit,
		.body = dkim_body_new(s->body_canon, s->body_limit),
	};
	return v->body_n++;
}

/* b=, its start, for the header.b of Authentication-Results */
static struct str start_of_b(struct arena *a, const struct header_field *f)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	struct err ignored;
	if (f->raw.n > DKIM_FIELD_MAX || !tag_list_parse(f->body, tags, &ignored))
		return STR("");
	struct str b = tag_list_value(tags, "b");
	return b.p ? str_sub(tag_value_packed(a, b), 0, 8) : STR("");
}

static void add_signature(struct dkim_verify *v, const struct header_field *f)
{
	struct dkim_verdict *verdict = &v->out.at[v->out.n];
	size_t i = v->out.n++;
	struct err err = {0};
	*verdict = (struct dkim_verdict){.time = -1, .expires = -1};
	if (i >= DKIM_SIGNATURES_MAX) {
		judge(v, verdict, DKIM_NEUTRAL, STR("not checked: too many signatures"));
		return;
	}
	struct candidate *c = &v->candidates[i];
	bool good = dkim_signature_parse(v->a, f, DKIM_FIELD_DKIM, &c->signature, &err);
	verdict->domain = c->signature.domain;
	verdict->selector = c->signature.selector;
	verdict->algorithm = c->signature.algorithm_text;
	verdict->identity = c->signature.identity;
	verdict->signature = start_of_b(v->a, f);
	if (!good) {
		judge(v, verdict, DKIM_PERMERROR, str_of(err.text));
		return;
	}
	verdict->time = c->signature.time;
	verdict->expires = c->signature.expires;
	/* A signature must not speak for what many share: mail of all of .kr. */
	if (public_suffix_is(v->suffixes, c->signature.domain)) {
		judge(v, verdict, DKIM_PERMERROR, STR("d= is a public suffix"));
		return;
	}
	c->body = body_for(v, &c->signature);
	c->open = true;
}

struct dkim_verify *dkim_verify_new(struct arena *a, struct str header,
				    const struct public_suffixes *suffixes)
{
	struct dkim_verify *v = arena_new_of(a, struct dkim_verify);
	struct err err;
	v->a = a;
	v->suffixes = suffixes;
	bool good = dkim_fields_read(a, header, &v->fields, &err);
	v->out.at = arena_array(a, DKIM_REPORTED_MAX, sizeof *v->out.at);
	for (size_t i = 0; i < v->fields.n && v->out.n < DKIM_REPORTED_MAX; i++) {
		if (!str_eq_nocase(v->fields.at[i].name, STR("DKIM-Signature")))
			continue;
		if (good) {
			add_signature(v, &v->fields.at[i]);
			continue;
		}
		v->out.at[0] = (struct dkim_verdict){.time = -1, .expires = -1};
		judge(v, &v->out.at[0], DKIM_PERMERROR, str_of(err.text));
		v->out.n = 1;
	}
	return v;
}

void dkim_verify_body(struct dkim_verify *v, struct str chunk)
{
	for (size_t i = 0; i < v->body_n; i++)
		dkim_body_add(v->bodies[i].body, chunk);
}

/* What the signature itself says about when it is good. */
static bool in_time(const struct dkim_signature *s, int64_t now, struct err *err)
{
	if (s->expires >= 0 && s->expires < now - DKIM_CLOCK_SKEW_S)
		return err_set(err, ERR_DENIED, "the signature has expired");
	if (s->time >= 0 && s->time > now + DKIM_CLOCK_SKEW_S)
		return err_set(err, ERR_DENIED, "the signature is from the future");
	return true;
}

static enum dkim_result check_body(const struct dkim_verify *v, const struct candidate *c, struct err *err)
{
	const struct body *body = &v->bodies[c->body];
	uint64_t limit = c->signature.body_limit;
	if (limit != UINT64_MAX && limit > body->length) {
		err_set(err, ERR_SYNTAX, "l= is longer than the body");
		return DKIM_PERMERROR;
	}
	if (!secret_eq(c->signature.body_hash,
		       (struct str){(const char *)body->digest, sizeof body->digest})) {
		err_set(err, ERR_DENIED, "the body has been changed");
		return DKIM_FAIL;
	}
	return DKIM_PASS;
}

static enum dkim_result check_header(struct dkim_verify *v, const struct dkim_signature *s,
				     const struct dkim_public_key *key, struct err *err)
{
	BUF_SCOPED text = {0};
	dkim_canon_header(&text, v->a, &v->fields, s->names, s->name_n, s->header_canon);
	dkim_canon_signature(&text, &s->field, s->b_whole, s->header_canon);
	return dkim_key_check(key, s, buf_str(&text), err);
}

static enum dkim_result check(struct dkim_verify *v, const struct candidate *c, struct dns_resolver *r,
			      int64_t now, struct dkim_verdict *verdict, struct err *err)
{
	const struct dkim_signature *s = &c->signature;
	struct dkim_public_key key;
	if (!in_time(s, now, err))
		return DKIM_FAIL;
	enum dkim_result result = dkim_key_fetch(r, v->a, s, &key, &verdict->secure, err);
	verdict->key_bits = key.bits;
	if (result != DKIM_PASS)
		return result;
	verdict->testing = key.testing;
	if (key.strict && !str_eq(s->identity_domain, s->domain)) {
		err_set(err, ERR_SYNTAX, "the key is not for sub-domains (t=s)");
		return DKIM_PERMERROR;
	}
	result = check_body(v, c, err);
	if (result == DKIM_PASS)
		result = check_header(v, s, &key, err);
	/* 8.2: what follows could be anything */
	if (result == DKIM_PASS && s->body_limit < v->bodies[c->body].length) {
		err_set(err, ERR_DENIED, "l= leaves a part of the body unsigned");
		return DKIM_POLICY;
	}
	return result;
}

static enum dkim_result summary(const struct dkim_verdicts *all)
{
	enum dkim_result result = all->n > 0 ? DKIM_FAIL : DKIM_NONE;
	for (size_t i = 0; i < all->n; i++) {
		if (all->at[i].result == DKIM_PASS)
			return DKIM_PASS;
		if (all->at[i].result == DKIM_TEMPERROR)
			result = DKIM_TEMPERROR;
	}
	return result;
}

void dkim_verify_end(struct dkim_verify *v, struct dns_resolver *r, int64_t now_unix,
		     struct dkim_verdicts *out)
{
	for (size_t i = 0; i < v->body_n; i++)
		dkim_body_end(v->bodies[i].body, v->bodies[i].digest, &v->bodies[i].length);
	for (size_t i = 0; i < v->out.n && i < DKIM_SIGNATURES_MAX; i++) {
		struct err err = {0};
		struct dkim_verdict *verdict = &v->out.at[i];
		if (!v->candidates[i].open)
			continue;
		enum dkim_result result = check(v, &v->candidates[i], r, now_unix, verdict, &err);
		judge(v, verdict, result, result == DKIM_PASS ? STR("") : str_of(err.text));
	}
	v->out.result = summary(&v->out);
	*out = v->out;
}

void dkim_verify_free(struct dkim_verify *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->body_n; i++)
		dkim_body_free(v->bodies[i].body);
	v->body_n = 0;
}
