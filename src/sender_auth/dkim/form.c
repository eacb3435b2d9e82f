/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/dkim/form.h"
#include "base/arena.h"
#include "dns/resolver.h"
#include "mail/header.h"
#include "sender_auth/dkim/dkim_int.h"

#define FAIL(why) return err_set(err, ERR_DENIED, "not a text for a DKIM signature: " why)

/* RFC 6376 3.4.2: no CTL, no HTAB, blanks alone and not at the ends. */
static bool value_canonical(struct str v)
{
	if (v.n && (v.p[0] == ' ' || v.p[v.n - 1] == ' '))
		return false;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\r' || v.p[i] == '\n' || v.p[i] == '\t' || v.p[i] == '\0' ||
		    (v.p[i] == ' ' && v.p[i + 1] == ' '))
			return false;
	}
	return true;
}

static bool name_canonical(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (ascii_is((unsigned char)name.p[i], ASCII_UPPER))
			return false;
	}
	return header_name_valid(name);
}

/* One line of the block, without its CRLF. */
static bool read_line(struct str line, struct str *name, struct str *value)
{
	size_t colon = str_find_byte(line, ':');
	if (colon == STR_NPOS)
		return false;
	*name = str_sub(line, 0, colon);
	*value = str_from(line, colon + 1);
	return name_canonical(*name) && value_canonical(*value);
}

static bool lower_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!ascii_is((unsigned char)s.p[i], ASCII_LOWER | ASCII_DIGIT) && s.p[i] != '-' &&
		    s.p[i] != '_' && s.p[i] != '.')
			return false;
	}
	return dns_name_valid(s);
}

/* The fields that may stand last: their names, and exactly the tags that we write, so that the meaning of
 * every octet is known. */
static const struct {
	const char *name;
	const char *tags[12];
} kinds[] = {
	[DKIM_FORM_MAIL] = {"dkim-signature", {"v", "a", "c", "d", "s", "i", "t", "x", "h", "bh", "b"}},
	[DKIM_FORM_ARC_MESSAGE] = {"arc-message-signature", {"a", "b", "bh", "c", "d", "h", "i", "s", "t"}},
	[DKIM_FORM_ARC_SEAL] = {"arc-seal", {"a", "b", "cv", "d", "i", "s", "t"}},
};

static bool kind_of(struct str name, enum dkim_form_kind *out)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (str_eq(name, str_of(kinds[i].name))) {
			*out = (enum dkim_form_kind)i;
			return true;
		}
	}
	return false;
}

static bool tags_known(const struct tag_list *tags, enum dkim_form_kind kind)
{
	for (size_t i = 0; i < tags->n; i++) {
		bool found = false;
		for (const char *const *t = kinds[kind].tags; *t; t++)
			found = found || str_eq(tags->at[i].name, str_of(*t));
		if (!found)
			return false;
	}
	const struct tag *b = tag_list_find(tags, "b");
	return b && b->value.n == 0;
}

static bool read_time(const struct tag_list *tags, int64_t now, struct dkim_form *out)
{
	struct str t = tag_list_value(tags, "t"), x = tag_list_value(tags, "x");
	uint64_t time, expires;
	if (!str_u64(t, INT64_MAX, &time) || (int64_t)time > now + DKIM_FORM_AGE_S ||
	    (int64_t)time < now - DKIM_FORM_AGE_S)
		return false;
	out->time = (int64_t)time;
	return !x.p || (str_u64(x, INT64_MAX, &expires) && expires > time);
}

/* i= in d=, without looking inside its local-part */
static bool identity_fits(struct str i, struct str d)
{
	size_t at = str_find_last_byte(i, '@');
	if (!i.p)
		return true;
	struct str host = at == STR_NPOS ? STR_NONE : str_from(i, at + 1);
	return str_eq(host, d) ||
	       (host.n > d.n && str_ends(host, d) && host.p[host.n - d.n - 1] == '.');
}

static bool read_digest(struct arena *a, const struct tag_list *tags, struct err *err)
{
	struct str c = tag_list_value(tags, "c"), bh = tag_list_value(tags, "bh"), digest;
	if (!str_eq(c, STR("relaxed/relaxed")) && !str_eq(c, STR("relaxed/simple")))
		FAIL("c=");
	if (!bh.p || !tag_value_base64(a, bh, &digest, err) || digest.n != 32)
		FAIL("bh=");
	return true;
}

/* What each kind has of its own. */
static bool read_own(struct arena *a, const struct tag_list *tags, struct dkim_form *out, struct err *err)
{
	struct str i = tag_list_value(tags, "i"), cv = tag_list_value(tags, "cv");
	unsigned instance;
	switch (out->kind) {
	case DKIM_FORM_MAIL:
		if (!str_eq(tag_list_value(tags, "v"), STR("1")))
			FAIL("v=");
		if (!identity_fits(i, out->domain))
			FAIL("i=");
		return read_digest(a, tags, err);
	case DKIM_FORM_ARC_MESSAGE:
		if (!i.p || !dkim_instance_parse(i, &instance))
			FAIL("i=");
		return read_digest(a, tags, err);
	case DKIM_FORM_ARC_SEAL:
		if (!i.p || !dkim_instance_parse(i, &instance))
			FAIL("i=");
		if (!str_eq(cv, STR("none")) && !str_eq(cv, STR("pass")) && !str_eq(cv, STR("fail")))
			FAIL("cv=");
		return true;
	}
	FAIL("its kind");
}

static bool read_tags(struct arena *a, const struct tag_list *tags, int64_t now, struct dkim_form *out,
		      struct err *err)
{
	struct str algorithm = tag_list_value(tags, "a");
	out->domain = tag_list_value(tags, "d");
	out->selector = tag_list_value(tags, "s");
	out->algorithm = str_eq(algorithm, STR("rsa-sha256")) ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256;
	if (!tags_known(tags, out->kind))
		FAIL("its tags");
	if (out->algorithm != DKIM_RSA_SHA256 && !str_eq(algorithm, STR("ed25519-sha256")))
		FAIL("a=");
	if (!out->domain.p || !out->selector.p || !lower_name(out->domain) || !lower_name(out->selector))
		FAIL("d= or s=");
	if (!read_time(tags, now, out))
		FAIL("t= or x=");
	return read_own(a, tags, out, err);
}

/* The block's fields are those that h= names, in its order; a name without field signs its absence. */
static bool match_names(struct str names, struct str block, struct dkim_form *out, struct err *err)
{
	size_t count = 0;
	while (block.n) {
		struct str name, value;
		size_t end = str_find(block, STR("\r\n"));
		if (end == STR_NPOS || !read_line(str_sub(block, 0, end), &name, &value))
			FAIL("a field that is not canonical");
		if (out->kind == DKIM_FORM_ARC_MESSAGE && str_starts(name, STR("arc-")))
			FAIL("a field of an ARC set among the message's");
		bool found = false;
		while (names.p && !found) {
			struct str one = str_trim(str_cut(&names, ':'));
			if (++count > DKIM_HEADER_NAMES_MAX || !header_name_valid(one))
				FAIL("h=");
			found = str_eq_nocase(one, name);
		}
		if (!found)
			FAIL("a field that h= does not name");
		if (str_eq(name, STR("from"))) {
			out->from = value;
			out->from_n++;
		}
		block = str_from(block, end + 2);
	}
	while (names.p) {
		if (++count > DKIM_HEADER_NAMES_MAX || !header_name_valid(str_trim(str_cut(&names, ':'))))
			FAIL("h=");
	}
	if (out->from_n == 0)
		FAIL("without From");
	return true;
}

/* Whole sets, and the results and message signature of the one that is sealed (RFC 8617 5.1.1). */
static bool match_sets(struct str block, struct err *err)
{
	static const char *const names[] = {"arc-authentication-results", "arc-message-signature",
					    "arc-seal"};
	size_t n = 0;
	for (; block.n; n++) {
		struct str name, value;
		size_t end = str_find(block, STR("\r\n"));
		if (end == STR_NPOS || !read_line(str_sub(block, 0, end), &name, &value) ||
		    !str_eq(name, str_of(names[n % 3])))
			FAIL("what is sealed are no ARC sets");
		block = str_from(block, end + 2);
	}
	if (n % 3 != 2)
		FAIL("what is sealed are no ARC sets");
	return true;
}

bool dkim_form_check(struct arena *a, struct str text, int64_t now_unix, struct dkim_form *out,
		     struct err *err)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	*out = (struct dkim_form){0};
	if (text.n > DKIM_FORM_MAX)
		FAIL("too long");
	size_t last = str_find_last_byte(text, '\n');
	struct str block = last == STR_NPOS ? STR_NONE : str_sub(text, 0, last + 1);
	struct str name, value;
	if (!read_line(str_from(text, block.n), &name, &value) || !kind_of(name, &out->kind))
		FAIL("it does not end in a DKIM-Signature");
	if (out->kind == DKIM_FORM_MAIL && !str_ends(value, STR("b=")))
		FAIL("b=");
	if (!tag_list_parse(value, tags, err))
		FAIL("its tags");
	struct str h = tag_list_value(tags, "h");
	if (!read_tags(a, tags, now_unix, out, err))
		return false;
	if (out->kind == DKIM_FORM_ARC_SEAL)
		return match_sets(block, err);
	if (!h.p)
		FAIL("h=");
	return match_names(h, block, out, err);
}
