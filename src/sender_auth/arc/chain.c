/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Sets: one field of each kind per instance, without a gap (RFC 8617 4.2). */
#include "sender_auth/arc/arc_int.h"
#include "base/arena.h"

#define FAIL(...) return err_set(err, ERR_SYNTAX, __VA_ARGS__)

const char *arc_status_name(enum arc_status s)
{
	switch (s) {
	case ARC_NONE:
		return "none";
	case ARC_PASS:
		return "pass";
	case ARC_FAIL:
		return "fail";
	}
	return "?";
}

static bool is_white(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* instance [FWS] ";" authres-payload (4.1.1) */
static bool read_results(const struct header_field *f, unsigned *out_instance, struct str *out_text)
{
	struct scan s = scan_of(f->body);
	scan_while(&s, is_white);
	if (!scan_byte(&s, 'i'))
		return false;
	scan_while(&s, is_white);
	if (!scan_byte(&s, '='))
		return false;
	scan_while(&s, is_white);
	struct str digits = scan_while_class(&s, ASCII_DIGIT);
	scan_while(&s, is_white);
	if (!dkim_instance_parse(digits, out_instance) || !scan_byte(&s, ';'))
		return false;
	*out_text = str_trim(scan_rest(&s));
	return out_text->n > 0;
}

/* Puts a field in its set; a second one of the kind breaks the chain. */
static bool place(struct arc_chain *chain, unsigned instance, size_t kind, const struct header_field *f)
{
	struct arc_fields *set = &chain->at[instance - 1];
	const struct header_field **slot = kind == 0 ? &set->results : kind == 1 ? &set->message : &set->seal;
	if (instance > chain->n)
		chain->n = instance;
	if (*slot)
		return false;
	*slot = f;
	return true;
}

static const char *const kinds[] = {"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"};

static bool read_field(struct arena *a, struct arc_chain *chain, size_t kind, const struct header_field *f,
		       struct err *err)
{
	struct dkim_signature signature;
	struct str text = STR("");
	unsigned instance;
	if (kind == 0 && !read_results(f, &instance, &text))
		FAIL("%s is malformed", kinds[kind]);
	if (kind > 0) {
		if (!dkim_signature_parse(a, f, kind == 1 ? DKIM_FIELD_AMS : DKIM_FIELD_SEAL, &signature,
					  err))
			return err_while(err, "reading %s", kinds[kind]);
		instance = signature.instance;
	}
	if (!place(chain, instance, kind, f))
		FAIL("%s twice with i=%u", kinds[kind], instance);
	struct arc_fields *set = &chain->at[instance - 1];
	if (kind == 0)
		set->text = text;
	else
		*(kind == 1 ? &set->ams : &set->as) = signature;
	return true;
}

static bool complete(const struct arc_chain *chain, struct err *err)
{
	for (unsigned i = 0; i < chain->n; i++) {
		const struct arc_fields *set = &chain->at[i];
		if (!set->results || !set->message || !set->seal)
			FAIL("ARC set %u is not complete", i + 1);
	}
	return true;
}

bool arc_chain_read(struct arena *a, const struct dkim_fields *fields, struct arc_chain *out, struct err *err)
{
	bool good = true;
	*out = (struct arc_chain){.at = arena_zalloc(a, ARC_SETS_MAX * sizeof *out->at)};
	for (size_t i = 0; i < fields->n; i++) {
		for (size_t kind = 0; kind < 3; kind++) {
			struct err other;
			if (!str_eq_nocase(fields->at[i].name, str_of(kinds[kind])))
				continue;
			if (!read_field(a, out, kind, &fields->at[i], good ? err : &other))
				good = false;
		}
	}
	return good && complete(out, err);
}

void arc_seal_text(struct buf *out, const struct arc_chain *chain, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		const struct arc_fields *set = &chain->at[i - 1];
		dkim_canon_field(out, set->results, DKIM_RELAXED);
		dkim_canon_field(out, set->message, DKIM_RELAXED);
		if (i < n)
			dkim_canon_field(out, set->seal, DKIM_RELAXED);
		else
			dkim_canon_signature(out, set->seal, set->as.b_whole, DKIM_RELAXED);
	}
}
