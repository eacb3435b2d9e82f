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

bool dkim_record_text(struct arena *a, const struct key *key, struct str *out, struct err *err)
{
	BUF_SCOPED der = {0}, text = {0};
	if (!key_public_der(key, &der, err))
		return false;
	struct str octets = buf_str(&der);
	bool rsa = key_type(key) == KEY_RSA;
	if (!rsa) /* RFC 8463 4: without the wrapper */
		octets = str_from(octets, octets.n - ED25519_SIZE);
	buf_add(&text, rsa ? STR("v=DKIM1; k=rsa; p=") : STR("v=DKIM1; k=ed25519; p="));
	base64_encode(&text, octets);
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

enum dkim_record_match dkim_record_compare(struct arena *a, struct str published, const struct key *key)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	struct str ours;
	struct err ignored;
	struct dkim_public_key public_key;
	enum dkim_algorithm algorithm;
	if (str_find(published, STR("BEGIN PUBLIC KEY")) != STR_NPOS)
		return DKIM_RECORD_PEM;
	if (!dkim_record_text(a, key, &ours, &ignored) || !dkim_key_algorithm(key, &algorithm) ||
	    !tag_list_parse(published, tags, &ignored))
		return DKIM_RECORD_MALFORMED;
	struct str p = tag_list_value(tags, "p");
	ours = str_from(ours, str_find(ours, STR("p=")) + 2);
	if (!p.p)
		return DKIM_RECORD_MALFORMED;
	p = tag_value_packed(a, p);
	if (p.n == 0)
		return DKIM_RECORD_REVOKED;
	if (p.n < ours.n && str_starts(ours, p))
		return DKIM_RECORD_TRUNCATED;
	if (!dkim_key_parse(a, published, algorithm, &public_key, &ignored))
		return DKIM_RECORD_MALFORMED;
	BUF_SCOPED der = {0};
	if (!key_public_der(key, &der, &ignored))
		return DKIM_RECORD_MALFORMED;
	return str_eq(buf_str(&der), public_key.der) ? DKIM_RECORD_SAME : DKIM_RECORD_OTHER_KEY;
}
