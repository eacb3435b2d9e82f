/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The policy record (RFC 9989 4.7, 4.8). Tag names and words are in any case (ABNF), but not DMARC1. */
#include "sender_auth/dmarc/dmarc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"

const char *dmarc_policy_name(enum dmarc_policy p)
{
	switch (p) {
	case DMARC_POLICY_NONE:
		return "none";
	case DMARC_POLICY_QUARANTINE:
		return "quarantine";
	case DMARC_POLICY_REJECT:
		return "reject";
	}
	return "?";
}

static bool read_policy(struct str value, enum dmarc_policy *out)
{
	for (enum dmarc_policy p = DMARC_POLICY_NONE; p <= DMARC_POLICY_REJECT; p++) {
		if (str_eq_nocase(value, str_of(dmarc_policy_name(p))))
			return *out = p, true;
	}
	return false;
}

/* URIs are parted by commas; a comma or "!" inside one is percent-encoded. */
static bool has_uri(struct str list)
{
	for (struct str rest = list; rest.p && rest.n > 0;) {
		struct str uri = str_trim(str_cut(&rest, ','));
		size_t colon = str_find_byte(uri, ':');
		if (colon != STR_NPOS && colon > 0 && colon + 1 < uri.n && !str_has_ctl(uri))
			return true;
	}
	return false;
}

static bool is_scheme_mailto(struct str uri)
{
	return str_starts_nocase(uri, STR("mailto:"));
}

static struct str percent_decoded(struct arena *a, struct str s)
{
	BUF_SCOPED out = {0};
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%' && s.n - i > 2 && hex_decode(&out, str_sub(s, i + 1, 2)))
			i += 2;
		else
			buf_byte(&out, s.p[i]);
	}
	return arena_str(a, buf_str(&out));
}

size_t dmarc_report_addresses(struct arena *a, struct str list, struct str *out)
{
	size_t n = 0;
	for (struct str rest = list; rest.p && rest.n > 0 && n < DMARC_URIS_MAX;) {
		struct str uri = str_trim(str_cut(&rest, ','));
		if (!is_scheme_mailto(uri))
			continue;
		uri = str_from(uri, sizeof "mailto:" - 1);
		uri = str_cut(&uri, '!'); /* the size limit of RFC 7489 6.2 */
		uri = str_cut(&uri, '?');
		struct str address = percent_decoded(a, str_trim(uri));
		if (str_has_byte(address, '@') && !str_has_ctl(address))
			out[n++] = address;
	}
	return n;
}

struct reading {
	struct dmarc_record *r;
	bool has_p, bad;
};

static void read_yes(struct str value, bool *out)
{
	if (str_eq_nocase(value, STR("y")))
		*out = true;
}

static void read_tag(struct reading *in, struct str name, struct str value)
{
	struct dmarc_record *r = in->r;
	uint64_t n;
	if (str_eq_nocase(name, STR("p"))) {
		in->has_p = true;
		in->bad = in->bad || !read_policy(value, &r->p);
	} else if (str_eq_nocase(name, STR("sp"))) {
		r->has_sp = read_policy(value, &r->sp);
		in->bad = in->bad || !r->has_sp;
	} else if (str_eq_nocase(name, STR("np"))) {
		r->has_np = read_policy(value, &r->np);
		in->bad = in->bad || !r->has_np;
	} else if (str_eq_nocase(name, STR("t"))) {
		read_yes(value, &r->testing);
	} else if (str_eq_nocase(name, STR("adkim"))) {
		r->strict_dkim = str_eq_nocase(value, STR("s"));
	} else if (str_eq_nocase(name, STR("aspf"))) {
		r->strict_spf = str_eq_nocase(value, STR("s"));
	} else if (str_eq_nocase(name, STR("psd"))) {
		r->psd = str_eq_nocase(value, STR("y"))   ? DMARC_PSD_YES
			 : str_eq_nocase(value, STR("n")) ? DMARC_PSD_NO
							  : DMARC_PSD_UNKNOWN;
	} else if (str_eq_nocase(name, STR("rua"))) {
		r->rua = value;
	} else if (str_eq_nocase(name, STR("ruf"))) {
		r->ruf = value;
	} else if (str_eq_nocase(name, STR("fo")) && value.n > 0) {
		r->fo = value;
	} else if (str_eq_nocase(name, STR("pct")) && str_u64(value, 100, &n)) {
		r->percent = (unsigned)n;
		r->has_percent = true;
	}
}

/* dmarc-version: "v" *WSP "=" *WSP %s"DMARC1" */
static bool is_version(struct str tag)
{
	size_t eq = str_find_byte(tag, '=');
	return eq != STR_NPOS && str_eq_nocase(str_trim(str_sub(tag, 0, eq)), STR("v")) &&
	       str_eq(str_trim(str_from(tag, eq + 1)), STR("DMARC1"));
}

bool dmarc_record_parse(struct str text, struct dmarc_record *out, struct err *err)
{
	struct reading in = {.r = out};
	struct str rest = text;
	*out = (struct dmarc_record){.fo = STR("0"), .percent = 100};
	if (text.n > DMARC_RECORD_MAX || !is_version(str_cut(&rest, ';')))
		return err_set(err, ERR_NOT_FOUND, "not a DMARC record");
	for (unsigned tags = 0; rest.p && tags < DMARC_TAGS_MAX; tags++) {
		struct str tag = str_cut(&rest, ';');
		size_t eq = str_find_byte(tag, '=');
		if (eq != STR_NPOS)
			read_tag(&in, str_trim(str_sub(tag, 0, eq)), str_trim(str_from(tag, eq + 1)));
	}
	if (!in.has_p || in.bad) { /* 4.8 */
		if (!has_uri(out->rua))
			return err_set(err, ERR_SYNTAX, "the DMARC record has no valid policy and no rua");
		out->p = DMARC_POLICY_NONE;
		out->has_sp = out->has_np = false;
		out->defaulted = true;
	}
	if (!out->has_sp)
		out->sp = out->p;
	if (!out->has_np)
		out->np = out->sp;
	return true;
}
