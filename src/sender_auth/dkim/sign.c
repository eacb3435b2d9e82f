/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The field is written with an empty b=, canonicalized after the signed header, then completed. */
#include "sender_auth/dkim/sign.h"
#include "sender_auth/dkim/dkim_int.h"
#include "base/arena.h"
#include "base/codec.h"
#include "base/secret.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "dns/resolver.h"

#include <string.h>

enum { FOLD_AT = 76 };
#define TIME_MAX 99999999999LL /* t= and x= have at most 12 digits (3.5) */

/* The second list is what an attacker would like to add a second one of (RFC 6376 8.15). */
const char dkim_headers_default[] =
	"Sender:Resent-From:Resent-To:Resent-Cc:Resent-Date:Resent-Message-ID:List-ID:List-Help:List-Post:"
	"List-Owner:List-Archive:List-Subscribe:Content-Disposition:Auto-Submitted";
const char dkim_oversign_default[] =
	"From:To:Cc:Subject:Date:Reply-To:Message-ID:Content-Type:Content-Transfer-Encoding:MIME-Version:"
	"List-Unsubscribe:List-Unsubscribe-Post:In-Reply-To:References";

struct body {
	enum dkim_canon canon;
	struct dkim_body *body;
	unsigned char digest[SHA256_SIZE];
};

struct dkim_sign {
	struct arena *a;
	const struct dkim_signer *signers;
	size_t n;
	struct body bodies[2]; /* by canon; body NULL: nobody wants it */
	bool ended;
};

struct dkim_sign *dkim_sign_new(struct arena *a, const struct dkim_signer *signers, size_t n)
{
	struct dkim_sign *s = arena_new_of(a, struct dkim_sign);
	s->a = a;
	s->signers = signers;
	s->n = n < DKIM_SIGNATURES_MAX ? n : DKIM_SIGNATURES_MAX;
	for (size_t i = 0; i < s->n; i++) {
		struct body *body = &s->bodies[signers[i].body_canon];
		if (!body->body)
			body->body = dkim_body_new(signers[i].body_canon, UINT64_MAX);
	}
	return s;
}

void dkim_sign_free(struct dkim_sign *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < 2; i++) {
		dkim_body_free(s->bodies[i].body);
		s->bodies[i].body = NULL;
	}
}

void dkim_sign_body(struct dkim_sign *s, struct str chunk)
{
	for (size_t i = 0; i < 2; i++) {
		if (s->bodies[i].body)
			dkim_body_add(s->bodies[i].body, chunk);
	}
}

/* --- the names in h= --- */

struct names {
	struct str *at;
	size_t n, cap;
};

static void add_name(struct arena *a, struct names *names, struct str name, size_t times)
{
	for (size_t i = 0; i < times; i++) {
		names->at = arena_grow(a, names->at, names->n, &names->cap, sizeof *names->at);
		names->at[names->n++] = name;
	}
}

static size_t count(const struct dkim_fields *fields, struct str name)
{
	size_t n = 0;
	for (size_t i = 0; i < fields->n; i++)
		n += str_eq_nocase(fields->at[i].name, name);
	return n;
}

static bool has_name(const struct names *names, struct str name)
{
	for (size_t i = 0; i < names->n; i++) {
		if (str_eq_nocase(names->at[i], name))
			return true;
	}
	return false;
}

static bool add_list(struct arena *a, const struct dkim_fields *fields, struct str list, size_t extra,
		     struct names *names, struct err *err)
{
	for (struct str rest = list; rest.p && rest.n > 0;) {
		struct str name = str_trim(str_cut(&rest, ':'));
		if (!header_name_valid(name))
			return err_set(err, ERR_SYNTAX, "\"%.*s\" is no header field name",
				       (int)(name.n < 40 ? name.n : 40), name.p);
		if (!has_name(names, name))
			add_name(a, names, name, count(fields, name) + extra);
	}
	return true;
}

static bool choose_names(struct arena *a, const struct dkim_signer *signer, const struct dkim_fields *fields,
			 struct names *names, struct err *err)
{
	struct str oversign = signer->oversign.n ? signer->oversign : str_of(dkim_oversign_default);
	struct str headers = signer->headers.n ? signer->headers : str_of(dkim_headers_default);
	*names = (struct names){0};
	if (count(fields, STR("From")) == 0)
		return err_set(err, ERR_SYNTAX, "a message without From cannot be signed");
	if (str_eq(oversign, STR("-")))
		oversign = STR("");
	if (!add_list(a, fields, oversign, 1, names, err) || !add_list(a, fields, headers, 0, names, err))
		return false;
	if (!has_name(names, STR("From")))
		add_name(a, names, STR("From"), count(fields, STR("From")));
	if (names->n > DKIM_HEADER_NAMES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d fields to sign", DKIM_HEADER_NAMES_MAX);
	return true;
}

/* --- the field --- */

struct writer {
	struct buf *out;
	size_t line; /* offset where the line begins */
};

/* One piece behind a blank, or on a new line. */
static void put_piece(struct writer *w, struct str piece)
{
	if (w->out->n - w->line + 1 + piece.n > FOLD_AT) {
		buf_add(w->out, STR("\r\n"));
		w->line = w->out->n;
		buf_byte(w->out, '\t');
	} else {
		buf_byte(w->out, ' ');
	}
	buf_add(w->out, piece);
}

/* One that may be broken where it stands: behind a colon of h=. */
static void put_rest(struct writer *w, struct str piece)
{
	if (w->out->n - w->line + piece.n > FOLD_AT) {
		buf_add(w->out, STR("\r\n"));
		w->line = w->out->n;
		buf_add(w->out, STR("\t "));
	}
	buf_add(w->out, piece);
}

static void put_names(struct writer *w, struct arena *a, const struct names *names)
{
	for (size_t i = 0; i < names->n; i++) {
		const char *end = i + 1 < names->n ? ":" : ";";
		struct str piece = arena_fmt(a, "%s%.*s%s", i ? "" : "h=", STR_ARG(names->at[i]), end);
		if (i == 0)
			put_piece(w, piece);
		else
			put_rest(w, piece);
	}
}

/* i= in dkim-quoted-printable (RFC 6376 2.11) */
static struct str quote_identity(struct arena *a, struct str s)
{
	BUF_SCOPED b = {0};
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c == ';' || c == '=' || c == 0x7f)
			buf_fmt(&b, "=%02X", c);
		else
			buf_byte(&b, (char)c);
	}
	return arena_str(a, buf_str(&b));
}

static bool signer_valid(const struct dkim_signer *s, struct err *err)
{
	size_t at = str_find_last_byte(s->identity, '@');
	struct str i = at == STR_NPOS ? STR("") : str_from(s->identity, at + 1);
	bool below = str_eq_nocase(i, s->domain) || (i.n > s->domain.n && str_ends_nocase(i, s->domain) &&
						     i.p[i.n - s->domain.n - 1] == '.');
	if (!dns_name_valid(s->domain) || str_has_ctl(s->domain) || str_find(s->domain, STR(";")) != STR_NPOS)
		return err_set(err, ERR_SYNTAX, "the signing domain is no domain name");
	if (!dns_name_valid(s->selector) || str_has_ctl(s->selector) ||
	    str_find(s->selector, STR(";")) != STR_NPOS)
		return err_set(err, ERR_SYNTAX, "the selector is no domain name");
	if (s->time < 0 || s->time > TIME_MAX || s->lifetime_s < 0 || s->lifetime_s > TIME_MAX)
		return err_set(err, ERR_SYNTAX, "time or lifetime of the signature cannot be written");
	if (s->identity.n > 0 && !below)
		return err_set(err, ERR_SYNTAX, "i= must be in the signing domain");
	return true;
}

static const char *canon_name(enum dkim_canon c)
{
	return c == DKIM_RELAXED ? "relaxed" : "simple";
}

/* All of the field up to "b=", with its name. */
static void put_field(struct writer *w, struct arena *a, const struct dkim_signer *s,
		      const struct names *names, const unsigned char *digest)
{
	BUF_SCOPED hash = {0};
	buf_add(w->out, STR("DKIM-Signature: v=1;"));
	put_piece(w, arena_fmt(a, "a=%s;", dkim_algorithm_name(s->algorithm)));
	put_piece(w, arena_fmt(a, "c=%s/%s;", canon_name(s->header_canon), canon_name(s->body_canon)));
	put_piece(w, arena_fmt(a, "d=%.*s;", STR_ARG(s->domain)));
	put_piece(w, arena_fmt(a, "s=%.*s;", STR_ARG(s->selector)));
	if (s->identity.n > 0)
		put_piece(w, arena_fmt(a, "i=%.*s;", STR_ARG(quote_identity(a, s->identity))));
	if (s->time > 0)
		put_piece(w, arena_fmt(a, "t=%lld;", (long long)s->time));
	if (s->time > 0 && s->lifetime_s > 0)
		put_piece(w, arena_fmt(a, "x=%lld;", (long long)s->time + s->lifetime_s));
	put_names(w, a, names);
	base64_encode(&hash, (struct str){(const char *)digest, SHA256_SIZE});
	put_piece(w, arena_fmt(a, "bh=%.*s;", STR_ARG(buf_str(&hash))));
	buf_add(w->out, STR("\r\n\tb="));
	w->line = w->out->n - 3;
}

static void put_signature(struct writer *w, struct str octets)
{
	BUF_SCOPED text = {0};
	base64_encode(&text, octets);
	for (struct str rest = buf_str(&text); rest.n > 0;) {
		size_t some = FOLD_AT - (w->out->n - w->line);
		buf_add(w->out, str_sub(rest, 0, some));
		rest = str_from(rest, some);
		if (rest.n > 0) {
			buf_add(w->out, STR("\r\n\t "));
			w->line = w->out->n - 2;
		}
	}
	buf_add(w->out, STR("\r\n"));
}

static bool sign_one(struct dkim_sign *s, const struct dkim_signer *signer, const struct dkim_fields *fields,
		     struct buf *out, struct err *err)
{
	BUF_SCOPED text = {0}, octets = {0};
	struct writer w = {out, out->n};
	struct names names;
	size_t start = out->n;
	if (!signer_valid(signer, err) || !choose_names(s->a, signer, fields, &names, err))
		return false;
	put_field(&w, s->a, signer, &names, s->bodies[signer->body_canon].digest);
	dkim_canon_header(&text, s->a, fields, names.at, names.n, signer->header_canon);
	struct str written = {out->p + start, out->n - start};
	struct header_field field = {.name = str_sub(written, 0, 14), .raw = written};
	dkim_canon_signature(&text, &field, str_from(written, written.n), signer->header_canon);
	if (!signer->sign(signer->context, signer->algorithm, buf_str(&text), &octets, err))
		return err_while(err, "signing for %.*s",
				 (int)(signer->domain.n < 80 ? signer->domain.n : 80), signer->domain.p);
	put_signature(&w, buf_str(&octets));
	return true;
}

bool dkim_sign_end(struct dkim_sign *s, struct str header, struct buf *out, struct err *err)
{
	struct dkim_fields fields;
	size_t before = out->n;
	uint64_t length;
	for (size_t i = 0; i < 2 && !s->ended; i++) {
		if (s->bodies[i].body)
			dkim_body_end(s->bodies[i].body, s->bodies[i].digest, &length);
	}
	s->ended = true;
	if (!dkim_fields_read(s->a, header, &fields, err))
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (sign_one(s, &s->signers[i], &fields, out, err))
			continue;
		out->n = before;
		return false;
	}
	return true;
}

bool dkim_sign_with_key(void *context, enum dkim_algorithm algorithm, struct str text, struct buf *sig,
			struct err *err)
{
	unsigned char digest[SHA256_SIZE];
	if (algorithm == DKIM_RSA_SHA256)
		return key_sign(context, SIGN_RSA_PKCS1_SHA256, text, sig, err);
	sha256(text, digest);
	return key_sign(context, SIGN_ED25519, (struct str){(const char *)digest, sizeof digest}, sig, err);
}
