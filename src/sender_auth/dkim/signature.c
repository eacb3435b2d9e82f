/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* DKIM-Signature (RFC 6376 3.5), ARC-Message-Signature and ARC-Seal (RFC 8617 4.1). */
#include "sender_auth/dkim/dkim_int.h"
#include "base/arena.h"
#include "dns/resolver.h"
#include "mail/address.h"

#define FAIL(...) return err_set(err, ERR_SYNTAX, __VA_ARGS__)

static const struct {
	const char *name;
	enum dkim_algorithm algorithm;
} algorithms[] = {
	{"rsa-sha256", DKIM_RSA_SHA256}, {"ed25519-sha256", DKIM_ED25519_SHA256},
};

const char *dkim_algorithm_name(enum dkim_algorithm a)
{
	return algorithms[a].name;
}

static bool read_algorithm(struct str value, struct dkim_signature *out, struct err *err)
{
	if (!value.p)
		FAIL("no a=");
	for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
		if (str_eq(value, str_of(algorithms[i].name)))
			return out->algorithm = algorithms[i].algorithm, true;
	}
	if (str_eq(value, STR("rsa-sha1")))
		FAIL("rsa-sha1 is no longer a signature (RFC 8301 3.1)");
	FAIL("an unknown algorithm");
}

/* d=, and the domain of i= */
static bool read_domain(struct arena *a, struct str value, struct str *out, struct err *err)
{
	struct err ignored;
	if (!domain_canonical(a, value, out, &ignored) || !dns_name_valid(*out))
		FAIL("not a domain name");
	return true;
}

/* selector = sub-domain *( "." sub-domain ); underscores are seen */
static bool selector_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) && c != '-' && c != '_' &&
		    c != '.' && c < 0x80)
			return false;
	}
	return dns_name_valid(s) && !str_ends(s, STR("."));
}

static bool read_canon_word(struct str s, enum dkim_canon *out)
{
	*out = str_eq(s, STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
	return str_eq(s, STR("relaxed")) || str_eq(s, STR("simple"));
}

static bool read_canon(struct str value, struct dkim_signature *out, struct err *err)
{
	if (!value.p)
		return true; /* simple/simple */
	struct str rest = value, header = str_cut(&rest, '/');
	if (!read_canon_word(header, &out->header_canon) ||
	    (rest.p && !read_canon_word(rest, &out->body_canon)))
		FAIL("an unknown canonicalization");
	return true;
}

static bool read_names(struct arena *a, struct str value, enum dkim_field_kind kind,
		       struct dkim_signature *out, struct err *err)
{
	size_t cap = 0;
	struct str *names = NULL;
	bool from = false;
	if (!value.p)
		FAIL("no h=");
	for (struct str rest = value; rest.p;) {
		struct str name = str_trim(str_cut(&rest, ':'));
		if (!header_name_valid(name))
			FAIL("a malformed h=");
		if (out->name_n == DKIM_HEADER_NAMES_MAX)
			return err_set(err, ERR_LIMIT, "more than %d names in h=", DKIM_HEADER_NAMES_MAX);
		from = from || str_eq_nocase(name, STR("From"));
		if (kind == DKIM_FIELD_AMS && str_starts_nocase(name, STR("ARC-Seal"))) /* RFC 8617 4.1.2 */
			FAIL("ARC-Seal must not be in h=");
		names = arena_grow(a, names, out->name_n, &cap, sizeof *names);
		names[out->name_n++] = name;
	}
	out->names = names;
	if (!from)
		FAIL("From is not signed (RFC 6376 5.4)");
	return true;
}

static bool read_identity(struct arena *a, struct str value, struct dkim_signature *out, struct err *err)
{
	out->identity_domain = out->domain;
	out->identity = arena_cat(a, STR("@"), out->domain);
	if (!value.p)
		return true;
	if (!tag_value_qp(a, value, &out->identity, err))
		return false;
	size_t at = str_find_last_byte(out->identity, '@');
	if (at == STR_NPOS || !read_domain(a, str_from(out->identity, at + 1), &out->identity_domain, err))
		FAIL("a malformed i=");
	struct str i = out->identity_domain, d = out->domain;
	if (!str_eq(i, d) && !(i.n > d.n && str_ends(i, d) && i.p[i.n - d.n - 1] == '.'))
		FAIL("i= is not in d=");
	return true;
}

/* 1*12DIGIT and the like */
static bool read_number(struct str value, size_t digits, int64_t *out, struct err *err)
{
	uint64_t n;
	if (!value.p)
		return true;
	if (value.n == 0 || value.n > digits || !str_u64(value, INT64_MAX, &n))
		FAIL("not a number");
	*out = (int64_t)n;
	return true;
}

/* l=: 1*76DIGIT; beyond what a message can have is all the same */
static bool read_limit(struct str value, uint64_t *out, struct err *err)
{
	if (!value.p)
		return true;
	if (value.n == 0 || value.n > 76)
		FAIL("a malformed l=");
	for (size_t i = 0; i < value.n; i++) {
		if (!ascii_is((unsigned char)value.p[i], ASCII_DIGIT))
			FAIL("a malformed l=");
	}
	if (!str_u64(value, UINT64_MAX - 1, out))
		*out = UINT64_MAX - 1;
	return true;
}

static bool read_times(const struct tag_list *tags, struct dkim_signature *out, struct err *err)
{
	out->time = out->expires = -1;
	if (!read_number(tag_list_value(tags, "t"), 12, &out->time, err) ||
	    !read_number(tag_list_value(tags, "x"), 12, &out->expires, err))
		FAIL("a malformed t= or x=");
	if (out->time >= 0 && out->expires >= 0 && out->expires <= out->time)
		FAIL("x= is not after t=");
	return true;
}

bool dkim_instance_parse(struct str s, unsigned *out)
{
	uint64_t n;
	if (s.n > 2 || !str_u64(s, 50, &n) || n == 0)
		return false;
	*out = (unsigned)n;
	return true;
}

/* What all three kinds have: a, b, d, s, t. */
static bool read_common(struct arena *a, const struct tag_list *tags, struct dkim_signature *out,
			struct err *err)
{
	const struct tag *b = tag_list_find(tags, "b");
	struct str domain = tag_list_value(tags, "d"), selector = tag_list_value(tags, "s");
	out->algorithm_text = tag_list_value(tags, "a");
	if (selector.p && selector_valid(selector))
		out->selector = arena_lower(a, selector);
	if (!domain.p || !read_domain(a, domain, &out->domain, err))
		FAIL("no good d=");
	if (!out->selector.n)
		FAIL("no good s=");
	if (!read_algorithm(out->algorithm_text, out, err) || !read_times(tags, out, err))
		return false;
	if (!b || !tag_value_base64(a, b->value, &out->signature, err) || out->signature.n == 0)
		FAIL("no good b=");
	out->b_whole = b->whole;
	return true;
}

static bool read_message_tags(struct arena *a, const struct tag_list *tags, enum dkim_field_kind kind,
			      struct dkim_signature *out, struct err *err)
{
	struct str bh = tag_list_value(tags, "bh");
	if (!read_canon(tag_list_value(tags, "c"), out, err) ||
	    !read_names(a, tag_list_value(tags, "h"), kind, out, err) ||
	    !read_limit(tag_list_value(tags, "l"), &out->body_limit, err))
		return false;
	if (!bh.p || !tag_value_base64(a, bh, &out->body_hash, err) || out->body_hash.n != 32)
		FAIL("no good bh=");
	return true;
}

static bool read_dkim_tags(struct arena *a, const struct tag_list *tags, struct dkim_signature *out,
			   struct err *err)
{
	struct str v = tag_list_value(tags, "v"), q = tag_list_value(tags, "q");
	if (!v.p)
		FAIL("no v= (RFC 6376 3.5)");
	if (!str_eq(v, STR("1")))
		FAIL("an unknown version");
	if (q.p && !tag_value_has(q, ':', STR("dns/txt")))
		FAIL("an unknown q=");
	return read_identity(a, tag_list_value(tags, "i"), out, err);
}

bool dkim_signature_parse(struct arena *a, const struct header_field *f, enum dkim_field_kind kind,
			  struct dkim_signature *out, struct err *err)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	*out = (struct dkim_signature){.field = *f, .body_limit = UINT64_MAX};
	if (f->raw.n > DKIM_FIELD_MAX)
		return err_set(err, ERR_LIMIT, "the field is longer than %d octets", DKIM_FIELD_MAX);
	if (!tag_list_parse(f->body, tags, err) || !read_common(a, tags, out, err))
		return false;
	if (kind != DKIM_FIELD_SEAL && !read_message_tags(a, tags, kind, out, err))
		return false;
	if (kind == DKIM_FIELD_DKIM)
		return read_dkim_tags(a, tags, out, err);
	if (!dkim_instance_parse(tag_list_value(tags, "i"), &out->instance))
		FAIL("no good i=");
	out->seal_status = tag_list_value(tags, "cv");
	if (kind == DKIM_FIELD_SEAL && tag_list_find(tags, "h")) /* RFC 8617 4.1.3 */
		FAIL("h= in ARC-Seal");
	return true;
}
