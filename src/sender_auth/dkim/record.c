/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/dkim/record.h"
#include "base/arena.h"
#include "base/codec.h"
#include "crypto/key.h"
#include "sender_auth/dkim/dkim_int.h"

enum { STRING_MAX = 255, ED25519_SIZE = 32 };

bool dkim_key_load(struct str pem, struct str passphrase, struct key **out, struct err *err)
{
	struct key *key;
	enum dkim_algorithm ignored;
	if (!key_load_rsa(pem, passphrase, DKIM_RSA_BITS_MIN, &key, err))
		return false;
	if (!dkim_key_algorithm(key, &ignored)) {
		key_free(key);
		return err_set(err, ERR_LIMIT, "a DKIM key must be RSA or Ed25519");
	}
	*out = key;
	return true;
}

bool dkim_key_algorithm(const struct key *key, enum dkim_algorithm *out)
{
	*out = key_type(key) == KEY_RSA ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256;
	return key_type(key) == KEY_RSA || key_type(key) == KEY_ED25519;
}

bool dkim_key_is_encrypted(struct str pem)
{
	return str_find(pem, STR("BEGIN ENCRYPTED PRIVATE KEY")) != STR_NPOS ||
	       str_find(pem, STR("Proc-Type: 4,ENCRYPTED")) != STR_NPOS;
}

/* The value of p=: of Ed25519 without the wrapper (RFC 8463 4). */
static void put_public(struct buf *out, enum dkim_algorithm algorithm, struct str der)
{
	bool bare = algorithm == DKIM_ED25519_SHA256 && der.n > ED25519_SIZE;
	base64_encode(out, bare ? str_from(der, der.n - ED25519_SIZE) : der);
}

bool dkim_record_text(struct arena *a, const struct key *key, struct str *out, struct err *err)
{
	BUF_SCOPED der = {0}, text = {0};
	if (!key_public_der(key, &der, err))
		return false;
	bool rsa = key_type(key) == KEY_RSA;
	buf_add(&text, rsa ? STR("v=DKIM1; k=rsa; p=") : STR("v=DKIM1; k=ed25519; p="));
	put_public(&text, rsa ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256, buf_str(&der));
	*out = arena_str(a, buf_str(&text));
	return true;
}

void dkim_record_zone(struct buf *out, struct str domain, struct str selector, struct str text)
{
	buf_fmt(out, "%.*s._domainkey.%.*s. IN TXT ", STR_ARG(selector), STR_ARG(domain));
	if (text.n <= STRING_MAX) {
		buf_fmt(out, "\"%.*s\"\n", STR_ARG(text));
		return;
	}
	buf_byte(out, '(');
	for (struct str rest = text; rest.n > 0; rest = str_from(rest, STRING_MAX))
		buf_fmt(out, " \"%.*s\"", STR_ARG(str_sub(rest, 0, STRING_MAX)));
	buf_add(out, STR(" )\n"));
}

enum dkim_record_match dkim_record_compare_public(struct arena *a, struct str published,
						  enum dkim_algorithm algorithm, struct str der)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	BUF_SCOPED text = {0};
	struct err ignored;
	struct dkim_public_key public_key;
	if (str_find(published, STR("BEGIN PUBLIC KEY")) != STR_NPOS)
		return DKIM_RECORD_PEM;
	if (!tag_list_parse(published, tags, &ignored))
		return DKIM_RECORD_MALFORMED;
	struct str p = tag_list_value(tags, "p");
	if (!p.p)
		return DKIM_RECORD_MALFORMED;
	p = tag_value_packed(a, p);
	if (p.n == 0)
		return DKIM_RECORD_REVOKED;
	put_public(&text, algorithm, der);
	if (p.n < text.n && str_starts(buf_str(&text), p))
		return DKIM_RECORD_TRUNCATED;
	if (!dkim_key_parse(a, published, algorithm, &public_key, &ignored))
		return DKIM_RECORD_MALFORMED;
	return str_eq(der, public_key.der) ? DKIM_RECORD_SAME : DKIM_RECORD_OTHER_KEY;
}

enum dkim_record_match dkim_record_compare(struct arena *a, struct str published, const struct key *key)
{
	BUF_SCOPED der = {0};
	struct err ignored;
	enum dkim_algorithm algorithm;
	if (!dkim_key_algorithm(key, &algorithm) || !key_public_der(key, &der, &ignored))
		return DKIM_RECORD_MALFORMED;
	return dkim_record_compare_public(a, published, algorithm, buf_str(&der));
}

const char *dkim_record_match_name(enum dkim_record_match m)
{
	static const char *const names[] = {
		[DKIM_RECORD_SAME] = "match", [DKIM_RECORD_OTHER_KEY] = "mismatch",
		[DKIM_RECORD_TRUNCATED] = "truncated", [DKIM_RECORD_REVOKED] = "revoked",
		[DKIM_RECORD_MALFORMED] = "malformed", [DKIM_RECORD_PEM] = "malformed",
	};
	return names[m];
}
