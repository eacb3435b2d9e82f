/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Key records (RFC 6376 3.6.1, RFC 8463 4): found, read, and a signature checked with them. */
#include "sender_auth/dkim/dkim_int.h"
#include "base/arena.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "dns/resolver.h"

enum { ED25519_SIZE = 32 };

static void der_length(struct buf *out, size_t n)
{
	if (n >= 0x100)
		buf_add_bytes(out, (unsigned char[]){0x82, (unsigned char)(n >> 8), (unsigned char)n}, 3);
	else if (n >= 0x80)
		buf_add_bytes(out, (unsigned char[]){0x81, (unsigned char)n}, 2);
	else
		buf_byte(out, (char)n);
}

/* SubjectPublicKeyInfo around an RSAPublicKey (RFC 3279 2.3.1). */
static struct str wrap_rsa(struct arena *a, struct str rsa)
{
	static const unsigned char algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
						  0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
	BUF_SCOPED bits = {0}, inner = {0}, outer = {0};
	buf_byte(&bits, 0);
	buf_add(&bits, rsa);
	buf_add_bytes(&inner, algorithm, sizeof algorithm);
	buf_byte(&inner, 0x03);
	der_length(&inner, bits.n);
	buf_add(&inner, buf_str(&bits));
	buf_byte(&outer, 0x30);
	der_length(&outer, inner.n);
	buf_add(&outer, buf_str(&inner));
	return arena_str(a, buf_str(&outer));
}

/* RFC 8410 4 around the 32 octets of RFC 8463 4 */
static struct str wrap_ed25519(struct arena *a, struct str raw)
{
	return arena_cat(a, STR("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"), raw);
}

static bool read_rsa(struct arena *a, struct str octets, struct dkim_public_key *out, struct err *err)
{
	enum key_type type;
	out->der = octets;
	if (!key_public_info(out->der, &type, &out->bits, err)) {
		/* seen in the wild, and in errata 3017: RSAPublicKey without its wrapper */
		out->der = wrap_rsa(a, octets);
		if (!key_public_info(out->der, &type, &out->bits, err))
			return err_set(err, ERR_SYNTAX, "p= is no RSA key");
	}
	if (type != KEY_RSA)
		return err_set(err, ERR_SYNTAX, "p= is no RSA key");
	if (out->bits < DKIM_RSA_BITS_MIN)
		return err_set(err, ERR_DENIED, "an RSA key of %u bits, %d are needed (RFC 8301 3.2)",
			       out->bits, DKIM_RSA_BITS_MIN);
	if (out->bits > DKIM_RSA_BITS_MAX)
		return err_set(err, ERR_DENIED, "an RSA key of %u bits", out->bits);
	return true;
}

static bool read_key(struct arena *a, struct str p, enum dkim_algorithm algorithm,
		     struct dkim_public_key *out, struct err *err)
{
	struct str octets;
	if (!p.p)
		return err_set(err, ERR_SYNTAX, "the key record has no p=");
	if (p.n == 0)
		return err_set(err, ERR_SYNTAX, "the key is revoked (empty p=)");
	if (!tag_value_base64(a, p, &octets, err))
		return err_set(err, ERR_SYNTAX, "p= is not base64");
	if (algorithm == DKIM_RSA_SHA256)
		return read_rsa(a, octets, out, err);
	if (octets.n != ED25519_SIZE)
		return err_set(err, ERR_SYNTAX, "p= is no Ed25519 key of 32 octets (RFC 8463 4)");
	out->der = wrap_ed25519(a, octets);
	out->bits = 256;
	return true;
}

/* Is it a key record at all? Others at the name are passed over. */
static bool is_key_record(struct str record, struct tag_list *tags)
{
	struct err ignored;
	if (record.n > DKIM_KEY_RECORD_MAX || !tag_list_parse(record, tags, &ignored))
		return false;
	const struct tag *v = tag_list_find(tags, "v");
	if (v)
		return v == tags->at && str_eq(v->value, STR("DKIM1"));
	return tag_list_find(tags, "p") != NULL;
}

bool dkim_key_parse(struct arena *a, struct str record, enum dkim_algorithm algorithm,
		    struct dkim_public_key *out, struct err *err)
{
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	*out = (struct dkim_public_key){0};
	if (!is_key_record(record, tags))
		return err_set(err, ERR_SYNTAX, "the key record is malformed");
	struct str h = tag_list_value(tags, "h"), k = tag_list_value(tags, "k"),
		   s = tag_list_value(tags, "s");
	struct str t = tag_list_value(tags, "t");
	if (h.p && !tag_value_has(h, ':', STR("sha256")))
		return err_set(err, ERR_SYNTAX, "the key is not for sha256 (h=)");
	if (!k.p)
		k = STR("rsa");
	if (!str_eq(k, algorithm == DKIM_RSA_SHA256 ? STR("rsa") : STR("ed25519")))
		return err_set(err, ERR_SYNTAX, "the key is not for this algorithm (k=)");
	if (s.p && !tag_value_has(s, ':', STR("*")) && !tag_value_has(s, ':', STR("email")))
		return err_set(err, ERR_SYNTAX, "the key is not for mail (s=)");
	out->testing = t.p && tag_value_has(t, ':', STR("y"));
	out->strict = t.p && tag_value_has(t, ':', STR("s"));
	return read_key(a, tag_list_value(tags, "p"), algorithm, out, err);
}

enum dkim_result dkim_key_fetch(struct dns_resolver *r, struct arena *a, const struct dkim_signature *s,
				struct dkim_public_key *out, bool *out_secure, struct err *err)
{
	struct str name = arena_fmt(a, "%.*s._domainkey.%.*s", STR_ARG(s->selector), STR_ARG(s->domain));
	struct dns_answer answer;
	struct tag_list *tags = arena_new_of(a, struct tag_list);
	size_t found = 0, records = 0;
	dns_query(r, a, name, DNS_TXT, &answer);
	*out_secure = answer.secure;
	if (dns_is_error(answer.status)) {
		err_set(err, ERR_TEMP, "DNS %s for the key", dns_status_name(answer.status));
		return DKIM_TEMPERROR;
	}
	if (answer.n == 0) {
		err_set(err, ERR_NOT_FOUND, "there is no key in the DNS");
		return DKIM_PERMERROR;
	}
	for (size_t i = 0; i < answer.n; i++) {
		if (!is_key_record(answer.at[i].data, tags))
			continue;
		found = i;
		records++;
	}
	if (records > 1) { /* 3.6.2.2: undefined */
		err_set(err, ERR_SYNTAX, "there is more than one key record");
		return DKIM_PERMERROR;
	}
	if (dkim_key_parse(a, answer.at[found].data, s->algorithm, out, err))
		return DKIM_PASS;
	return err->kind == ERR_DENIED ? DKIM_FAIL : DKIM_PERMERROR;
}

enum dkim_result dkim_key_check(const struct dkim_public_key *key, const struct dkim_signature *s,
				struct str text, struct err *err)
{
	unsigned char digest[SHA256_SIZE];
	bool right = false;
	enum sign_form form = SIGN_RSA_PKCS1_SHA256;
	if (s->algorithm == DKIM_ED25519_SHA256) { /* RFC 8463 3: PureEdDSA over the digest */
		sha256(text, digest);
		text = (struct str){(const char *)digest, sizeof digest};
		form = SIGN_ED25519;
	}
	if (!key_verify(key->der, form, text, s->signature, &right, err))
		return DKIM_PERMERROR;
	if (right)
		return DKIM_PASS;
	err_set(err, ERR_DENIED, "the signature does not match the header");
	return DKIM_FAIL;
}
