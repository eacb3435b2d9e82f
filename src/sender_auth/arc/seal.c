/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Sealing (RFC 8617 5.1). Tags stand in the order of their names with one blank between, and b= is
 * not broken as long as its line is fit for SMTP, so that relaxed canonical forms are what other
 * implementations make of the same values.
 */
#include "sender_auth/arc/arc_int.h"
#include "base/arena.h"
#include "base/codec.h"
#include "dns/resolver.h"
#include "sender_auth/results.h"

enum { FOLD_AT = 76, LINE_SAFE = 900 };

static const char headers_default[] =
	"From:To:Cc:Subject:Date:Reply-To:Message-ID:In-Reply-To:References:MIME-Version:Content-Type:"
	"Content-Transfer-Encoding:List-ID:List-Unsubscribe:DKIM-Signature";

struct arc_seal {
	struct arena *a;
	const struct arc_signer *signer;
	struct dkim_body *body;
};

struct arc_seal *arc_seal_new(struct arena *a, const struct arc_signer *signer)
{
	struct arc_seal *s = arena_new_of(a, struct arc_seal);
	s->a = a;
	s->signer = signer;
	s->body = dkim_body_new(DKIM_RELAXED, UINT64_MAX);
	return s;
}

void arc_seal_free(struct arc_seal *s)
{
	if (!s)
		return;
	dkim_body_free(s->body);
	s->body = NULL;
}

void arc_seal_body(struct arc_seal *s, struct str chunk)
{
	dkim_body_add(s->body, chunk);
}

/* Each result of our own Authentication-Results fields, from the top. */
static void each_result(struct arena *a, struct str header, struct str id,
			void (*fn)(void *context, const struct auth_result *r), void *context)
{
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f)) {
		struct auth_results results;
		struct err ignored;
		if (!str_eq_nocase(f.name, STR("Authentication-Results")) ||
		    !auth_results_names(a, f.body, id) ||
		    !auth_results_parse(a, f.body, &results, &ignored))
			continue;
		for (size_t i = 0; i < results.n; i++)
			fn(context, &results.at[i]);
	}
}

struct recorded {
	bool found;
	enum arc_status status;
};

static void take_status(void *context, const struct auth_result *r)
{
	struct recorded *recorded = context;
	if (recorded->found || !str_eq(r->method, STR("arc")))
		return;
	for (enum arc_status s = ARC_NONE; s <= ARC_FAIL; s++) {
		if (!str_eq(r->result, str_of(arc_status_name(s))))
			continue;
		recorded->found = true;
		recorded->status = s;
	}
}

bool arc_status_recorded(struct arena *a, struct str header, struct str authserv_id, enum arc_status *out)
{
	struct recorded recorded = {0};
	each_result(a, header, authserv_id, take_status, &recorded);
	*out = recorded.status;
	return recorded.found;
}

/* --- writing fields --- */

struct writer {
	struct buf *out;
	size_t line;
};

/* "; " and a tag, on a new line when this one is full. */
static void put_piece(struct writer *w, struct str piece)
{
	if (w->out->n - w->line + 1 + piece.n > FOLD_AT) {
		buf_add(w->out, STR("\r\n"));
		w->line = w->out->n;
	}
	buf_byte(w->out, ' ');
	buf_add(w->out, piece);
}

static struct writer begin(struct buf *out, const char *name)
{
	struct writer w = {out, out->n};
	buf_fmt(out, "%s:", name);
	return w;
}

static void put_result(void *context, const struct auth_result *r)
{
	struct writer *w = context;
	buf_byte(w->out, ';');
	BUF_SCOPED line = {0};
	header_unfold(&line, r->text);
	put_piece(w, buf_str(&line));
}

static struct str write_results(struct arc_seal *s, struct str header, unsigned instance)
{
	BUF_SCOPED out = {0};
	struct writer w = begin(&out, "ARC-Authentication-Results");
	put_piece(&w, arena_fmt(s->a, "i=%u;", instance));
	put_piece(&w, s->signer->authserv_id);
	size_t before = out.n;
	each_result(s->a, header, s->signer->authserv_id, put_result, &w);
	if (out.n == before)
		buf_add(&out, STR("; none"));
	buf_add(&out, STR("\r\n"));
	return arena_str(s->a, buf_str(&out));
}

struct list {
	struct str *at;
	size_t n, cap;
};

static bool choose_names(struct arc_seal *s, const struct dkim_fields *fields, struct list *names,
			 struct err *err)
{
	bool chosen = s->signer->headers.n > 0, from = false;
	*names = (struct list){0};
	for (struct str rest = chosen ? s->signer->headers : str_of(headers_default); rest.p;) {
		struct str name = str_trim(str_cut(&rest, ':'));
		size_t times = chosen;
		if (!header_name_valid(name) || str_starts_nocase(name, STR("ARC-")))
			return err_set(err, ERR_SYNTAX,
				       "a name that ARC does not sign in the list of headers");
		from = from || str_eq_nocase(name, STR("From"));
		for (size_t i = 0; !chosen && i < fields->n; i++)
			times += str_eq_nocase(fields->at[i].name, name);
		for (; times > 0 && names->n < DKIM_HEADER_NAMES_MAX; times--) {
			names->at = arena_grow(s->a, names->at, names->n, &names->cap, sizeof *names->at);
			names->at[names->n++] = arena_lower(s->a, name);
		}
	}
	return from || err_set(err, ERR_SYNTAX, "From must be among the headers that ARC signs");
}

/* The octets in base64; in one piece where the line allows it. */
static struct str put_b(struct arena *a, struct str octets)
{
	BUF_SCOPED text = {0}, out = {0};
	base64_encode(&text, octets);
	buf_add(&out, STR("b="));
	for (struct str rest = buf_str(&text); rest.n > 0; rest = str_from(rest, LINE_SAFE)) {
		if (out.n > 2)
			buf_add(&out, STR("\r\n "));
		buf_add(&out, str_sub(rest, 0, LINE_SAFE));
	}
	buf_byte(&out, ';');
	return arena_str(a, buf_str(&out));
}

/* Tags of a field, in the order of their names; "b=;" is replaced once the signature is there. */
struct tags {
	struct str at[12];
	size_t n;
};

static void add(struct tags *t, struct str tag)
{
	t->at[t->n++] = tag;
}

static struct str write_field(struct arc_seal *s, const char *name, const struct tags *tags, struct str b)
{
	BUF_SCOPED out = {0};
	struct writer w = begin(&out, name);
	for (size_t i = 0; i < tags->n; i++)
		put_piece(&w, str_eq(tags->at[i], STR("b=;")) ? b : tags->at[i]);
	buf_add(&out, STR("\r\n"));
	return arena_str(s->a, buf_str(&out));
}

/* Signs text followed by the field itself with an empty b= (5.1.1, 5.1.2). */
static bool sign_field(struct arc_seal *s, const char *name, const struct tags *tags, struct buf *text,
		       struct str *out, struct err *err)
{
	BUF_SCOPED octets = {0};
	struct str raw = write_field(s, name, tags, STR("b=;"));
	struct header_field f = {.name = str_sub(raw, 0, str_of(name).n), .raw = raw};
	dkim_canon_signature(text, &f, str_sub(raw, str_find(raw, STR(" b=;")) + 3, 0), DKIM_RELAXED);
	if (!s->signer->sign(s->signer->context, s->signer->algorithm, buf_str(text), &octets, err))
		return err_while(err, "writing %s", name);
	*out = write_field(s, name, tags, put_b(s->a, buf_str(&octets)));
	return true;
}

static void add_names(struct arc_seal *s, struct tags *tags, const struct list *names)
{
	struct str list = STR("h=");
	for (size_t i = 0; i < names->n; i++)
		list = arena_fmt(s->a, "%.*s%.*s%s", STR_ARG(list), STR_ARG(names->at[i]),
				 i + 1 < names->n ? ":" : ";");
	add(tags, list);
}

static bool sign_message(struct arc_seal *s, const struct dkim_fields *fields, unsigned instance,
			 struct str *out, struct err *err)
{
	const struct arc_signer *signer = s->signer;
	struct arena *a = s->a;
	struct tags tags = {0};
	struct list names;
	unsigned char digest[32];
	uint64_t length;
	BUF_SCOPED text = {0}, hash = {0};
	if (!choose_names(s, fields, &names, err))
		return false;
	dkim_body_end(s->body, digest, &length);
	base64_encode(&hash, (struct str){(const char *)digest, sizeof digest});
	add(&tags, arena_fmt(a, "a=%s;", dkim_algorithm_name(signer->algorithm)));
	add(&tags, STR("b=;"));
	add(&tags, arena_fmt(a, "bh=%.*s;", STR_ARG(buf_str(&hash))));
	add(&tags, STR("c=relaxed/relaxed;"));
	add(&tags, arena_fmt(a, "d=%.*s;", STR_ARG(signer->domain)));
	add_names(s, &tags, &names);
	add(&tags, arena_fmt(a, "i=%u;", instance));
	add(&tags, arena_fmt(a, "s=%.*s;", STR_ARG(signer->selector)));
	add(&tags, arena_fmt(a, "t=%lld", (long long)signer->time));
	dkim_canon_header(&text, a, fields, names.at, names.n, DKIM_RELAXED);
	return sign_field(s, "ARC-Message-Signature", &tags, &text, out, err);
}

static struct header_field *field_of(struct arena *a, struct str raw)
{
	struct header_field *f = arena_new_of(a, struct header_field);
	f->name = str_sub(raw, 0, str_find_byte(raw, ':'));
	f->raw = raw;
	return f;
}

static bool sign_chain(struct arc_seal *s, struct arc_chain *chain, unsigned instance, enum arc_status status,
		       struct str results, struct str message, struct str *out, struct err *err)
{
	const struct arc_signer *signer = s->signer;
	struct arena *a = s->a;
	struct tags tags = {0};
	BUF_SCOPED text = {0};
	add(&tags, arena_fmt(a, "a=%s;", dkim_algorithm_name(signer->algorithm)));
	add(&tags, STR("b=;"));
	add(&tags, arena_fmt(a, "cv=%s;", arc_status_name(status)));
	add(&tags, arena_fmt(a, "d=%.*s;", STR_ARG(signer->domain)));
	add(&tags, arena_fmt(a, "i=%u;", instance));
	add(&tags, arena_fmt(a, "s=%.*s;", STR_ARG(signer->selector)));
	add(&tags, arena_fmt(a, "t=%lld", (long long)signer->time));
	/* 5.1.2: over a failed chain a seal covers its own set alone */
	for (unsigned i = 1; status != ARC_FAIL && i < instance; i++) {
		dkim_canon_field(&text, chain->at[i - 1].results, DKIM_RELAXED);
		dkim_canon_field(&text, chain->at[i - 1].message, DKIM_RELAXED);
		dkim_canon_field(&text, chain->at[i - 1].seal, DKIM_RELAXED);
	}
	dkim_canon_field(&text, field_of(a, results), DKIM_RELAXED);
	dkim_canon_field(&text, field_of(a, message), DKIM_RELAXED);
	return sign_field(s, "ARC-Seal", &tags, &text, out, err);
}

static bool value_valid(struct str s)
{
	return dns_name_valid(s) && !str_has_ctl(s) && !str_has_byte(s, ';') && !str_has_byte(s, ' ');
}

bool arc_seal_end(struct arc_seal *s, struct str header, enum arc_status status, struct buf *out,
		  struct err *err)
{
	struct dkim_fields fields;
	struct arc_chain chain;
	struct err broken;
	struct str results, message, seal;
	if (!value_valid(s->signer->domain) || !value_valid(s->signer->selector) ||
	    !value_valid(s->signer->authserv_id))
		return err_set(err, ERR_SYNTAX, "domain, selector or authserv-id cannot be written");
	if (!dkim_fields_read(s->a, header, &fields, err))
		return false;
	bool whole = arc_chain_read(s->a, &fields, &chain, &broken);
	bool failed = chain.n > 0 && str_eq(chain.at[chain.n - 1].as.seal_status, STR("fail"));
	if (failed || chain.n >= ARC_SETS_MAX)
		return true;
	if (!whole)
		status = ARC_FAIL;
	else if (chain.n == 0)
		status = ARC_NONE;
	else if (status == ARC_NONE) /* a chain is there: none would be a lie */
		status = ARC_FAIL;
	results = write_results(s, header, chain.n + 1);
	if (!sign_message(s, &fields, chain.n + 1, &message, err) ||
	    !sign_chain(s, &chain, chain.n + 1, status, results, message, &seal, err))
		return false;
	buf_add(out, seal);
	buf_add(out, message);
	buf_add(out, results);
	return true;
}
