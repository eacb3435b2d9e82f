/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Validation (RFC 8617 5.2): structure, the newest message signature, then every seal from the top. */
#include "sender_auth/arc/arc_int.h"
#include "base/arena.h"
#include "base/secret.h"

struct arc_check {
	struct arena *a;
	struct dkim_fields fields;
	struct arc_chain chain;
	struct dkim_body *body; /* NULL: judged already, or no chain */
	struct arc_verdict out;
};

static void fail(struct arc_check *c, const char *reason)
{
	c->out.status = ARC_FAIL;
	c->out.reason = arena_str(c->a, str_of(reason));
}

/* 5.2 steps 2 and 3: cv=fail on top, none at the bottom, pass above. */
static bool statuses_right(struct arc_check *c)
{
	const struct arc_chain *chain = &c->chain;
	if (str_eq(chain->at[chain->n - 1].as.seal_status, STR("fail"))) {
		c->out.sealed_failed = true;
		fail(c, "the newest seal says cv=fail");
		return false;
	}
	for (unsigned i = 0; i < chain->n; i++) {
		if (str_eq(chain->at[i].as.seal_status, i ? STR("pass") : STR("none")))
			continue;
		fail(c, "a seal has the wrong cv=");
		return false;
	}
	return true;
}

static void list_sets(struct arc_check *c)
{
	struct arc_set *sets = arena_array(c->a, c->chain.n, sizeof *sets);
	for (unsigned i = 0; i < c->chain.n; i++) {
		const struct arc_fields *set = &c->chain.at[i];
		sets[i] = (struct arc_set){set->as.domain, set->as.selector, set->text};
	}
	c->out.sets = sets;
}

struct arc_check *arc_check_new(struct arena *a, struct str header)
{
	struct arc_check *c = arena_new_of(a, struct arc_check);
	struct err err = {0};
	c->a = a;
	bool good = dkim_fields_read(a, header, &c->fields, &err) &&
		    arc_chain_read(a, &c->fields, &c->chain, &err);
	c->out.n = c->chain.n;
	if (!good) {
		fail(c, err.text);
		return c;
	}
	if (c->chain.n == 0)
		return c;
	list_sets(c);
	const struct dkim_signature *ams = &c->chain.at[c->chain.n - 1].ams;
	if (statuses_right(c))
		c->body = dkim_body_new(ams->body_canon, ams->body_limit);
	return c;
}

void arc_check_body(struct arc_check *c, struct str chunk)
{
	if (c->body)
		dkim_body_add(c->body, chunk);
}

static bool check_key(struct arc_check *c, struct dns_resolver *r, const struct dkim_signature *s,
		      struct str text, const char *what)
{
	struct dkim_public_key key;
	struct err err = {0};
	bool secure;
	enum dkim_result result = dkim_key_fetch(r, c->a, s, &key, &secure, &err);
	if (result == DKIM_PASS)
		result = dkim_key_check(&key, s, text, &err);
	if (result == DKIM_PASS)
		return true;
	c->out.temporary = result == DKIM_TEMPERROR;
	fail(c, "");
	c->out.reason = arena_fmt(c->a, "%s i=%u: %s", what, s->instance, err.text);
	return false;
}

static bool message_signature_right(struct arc_check *c, struct dns_resolver *r)
{
	const struct dkim_signature *ams = &c->chain.at[c->chain.n - 1].ams;
	unsigned char digest[32];
	uint64_t length;
	BUF_SCOPED text = {0};
	dkim_body_end(c->body, digest, &length);
	if (ams->body_limit != UINT64_MAX && ams->body_limit != length) {
		fail(c, "l= does not cover the body");
		return false;
	}
	if (!secret_eq(ams->body_hash, (struct str){(const char *)digest, sizeof digest})) {
		fail(c, "the body has been changed");
		return false;
	}
	dkim_canon_header(&text, c->a, &c->fields, ams->names, ams->name_n, ams->header_canon);
	dkim_canon_signature(&text, &ams->field, ams->b_whole, ams->header_canon);
	return check_key(c, r, ams, buf_str(&text), "ARC-Message-Signature");
}

static bool seals_right(struct arc_check *c, struct dns_resolver *r)
{
	for (unsigned i = c->chain.n; i > 0; i--) {
		BUF_SCOPED text = {0};
		arc_seal_text(&text, &c->chain, i);
		if (!check_key(c, r, &c->chain.at[i - 1].as, buf_str(&text), "ARC-Seal"))
			return false;
	}
	return true;
}

void arc_check_end(struct arc_check *c, struct dns_resolver *r, struct arc_verdict *out)
{
	if (c->body && message_signature_right(c, r) && seals_right(c, r))
		c->out.status = ARC_PASS;
	*out = c->out;
}

void arc_check_free(struct arc_check *c)
{
	if (!c)
		return;
	dkim_body_free(c->body);
	c->body = NULL;
}
