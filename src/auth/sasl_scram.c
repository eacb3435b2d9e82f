/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* SCRAM on the server's side (RFC 5802 5 to 7). Grammar rules are quoted from section 7. */
#include "auth/sasl_int.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/scan.h"
#include <string.h>

enum { NONCE_BYTES = 18 };

static enum hash_kind kind_of(const struct sasl *s)
{
	return s->scram_hash == SCRAM_SHA_1 ? HASH_SHA1 : HASH_SHA256;
}

static enum sasl_step failed(struct sasl *s)
{
	s->state = SASL_STATE_DONE;
	return SASL_FAILURE;
}

/* saslname = 1*(value-safe-char / "=2C" / "=3D") */
static bool saslname(struct str in, struct buf *out)
{
	struct scan s = scan_of(in);
	while (!scan_end(&s)) {
		if (scan_lit_nocase(&s, STR("=2C")))
			buf_byte(out, ',');
		else if (scan_lit_nocase(&s, STR("=3D")))
			buf_byte(out, '=');
		else if (scan_peek(&s) == '=' || scan_peek(&s) == 0)
			return false;
		else
			buf_byte(out, *s.p++);
	}
	return out->n > 0;
}

/* printable = %x21-2B / %x2D-7E */
static bool is_printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return false;
	return s.n > 0;
}

/* ---- client-first-message ---- */

static bool find_binding(struct sasl *s, struct str name)
{
	static const char *const names[] = {
		[SASL_BINDING_EXPORTER] = "tls-exporter",
		[SASL_BINDING_UNIQUE] = "tls-unique",
		[SASL_BINDING_SERVER_END_POINT] = "tls-server-end-point",
	};
	for (size_t i = 0; i < SASL_BINDING_COUNT; i++) {
		if (!str_eq(name, str_of(names[i])))
			continue;
		s->bound = (enum sasl_binding)i;
		return s->binding[i].n > 0;
	}
	return false;
}

/* gs2-cbind-flag = ("p=" cb-name) / "n" / "y" */
static bool take_flag(struct sasl *s, struct scan *in, struct err *err)
{
	if (scan_lit(in, STR("p="))) {
		if (!s->plus)
			return err_set(err, ERR_SYNTAX, "channel binding needs a -PLUS mechanism");
		return find_binding(s, scan_until_byte(in, ',')) ||
		       err_set(err, ERR_CONFLICT, "this channel binding does not exist here");
	}
	if (s->plus)
		return err_set(err, ERR_SYNTAX, "a -PLUS mechanism needs channel binding");
	if (scan_byte(in, 'n'))
		return true;
	if (!scan_byte(in, 'y'))
		return err_set(err, ERR_SYNTAX, "this is no message of SCRAM");
	return !s->plus_offered ||
	       err_set(err, ERR_CONFLICT, "somebody has hidden that channel binding is offered");
}

/* gs2-header = gs2-cbind-flag "," [ authzid ] "," */
static bool take_gs2_header(struct sasl *s, struct scan *in, struct str *out_authzid, struct err *err)
{
	const char *begin = in->p;
	*out_authzid = STR_NONE;
	if (!take_flag(s, in, err))
		return false;
	if (!scan_byte(in, ','))
		return err_set(err, ERR_SYNTAX, "this is no message of SCRAM");
	if (scan_lit(in, STR("a=")))
		*out_authzid = scan_until_byte(in, ',');
	if (!scan_byte(in, ','))
		return err_set(err, ERR_SYNTAX, "this is no message of SCRAM");
	buf_add(&s->gs2_header, (struct str){begin, (size_t)(in->p - begin)});
	return true;
}

/* client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]; reserved-mext is
 * for what we must understand, and there is none. */
static bool take_bare(struct sasl *s, struct str bare, struct err *err)
{
	struct str rest = bare;
	struct str user = str_cut(&rest, ','), nonce = str_cut(&rest, ',');
	BUF_SCOPED name = {0};
	if (!str_starts(user, STR("n=")) || !str_starts(nonce, STR("r=")))
		return err_set(err, ERR_SYNTAX, "this is no message of SCRAM");
	nonce = str_from(nonce, 2);
	if (!saslname(str_from(user, 2), &name) || !is_printable(nonce) || nonce.n > SASL_NONCE_MAX)
		return err_set(err, ERR_SYNTAX, "the user name or nonce cannot be read");
	buf_add(&s->nonce, nonce);
	buf_add(&s->client_first, bare);
	return sasl_take_user(s, buf_str(&name), err);
}

static bool check_encoded_authzid(struct sasl *s, struct str encoded, struct err *err)
{
	BUF_SCOPED authzid = {0};
	if (encoded.n && !saslname(encoded, &authzid))
		return err_set(err, ERR_SYNTAX, "the authorization identity cannot be read");
	return sasl_check_authzid(s, buf_str(&authzid), err);
}

enum sasl_step sasl_scram_first(struct sasl *s, struct str message, struct err *err)
{
	struct scan in = scan_of(message);
	struct str authzid;
	if (!take_gs2_header(s, &in, &authzid, err) || !take_bare(s, scan_rest(&in), err) ||
	    !check_encoded_authzid(s, authzid, err))
		return failed(s);
	s->state = SASL_STATE_CREDENTIALS;
	return SASL_NEED_CREDENTIALS;
}

/* ---- server-first-message ---- */

/* server-first-message = nonce "," salt "," iteration-count */
enum sasl_step sasl_scram_challenge(struct sasl *s)
{
	if (s->server_nonce.n == 0) {
		unsigned char bytes[NONCE_BYTES];
		random_bytes(bytes, sizeof bytes);
		base64_encode(&s->server_nonce, (struct str){(const char *)bytes, sizeof bytes});
	}
	buf_add(&s->nonce, buf_str(&s->server_nonce));
	buf_fmt(&s->server_first, "r=%.*s,s=", STR_ARG(buf_str(&s->nonce)));
	base64_encode(&s->server_first, (struct str){(const char *)s->verifier.salt, s->verifier.salt_n});
	buf_fmt(&s->server_first, ",i=%u", s->verifier.iterations);
	return sasl_send(s, buf_str(&s->server_first), SASL_STATE_SCRAM_FINAL);
}

/* ---- client-final-message ---- */

/* channel-binding = "c=" base64 of gs2-header [ cbind-data ] */
static bool binding_right(const struct sasl *s, struct str encoded)
{
	BUF_SCOPED want = {0}, got = {0};
	buf_add(&want, buf_str(&s->gs2_header));
	if (s->plus)
		buf_add(&want, buf_str(&s->binding[s->bound]));
	return base64_decode(&got, encoded) && secret_eq(buf_str(&want), buf_str(&got));
}

/* ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage); its hash has to be StoredKey. */
static bool proof_right(const struct sasl *s, struct str auth_message, struct str proof)
{
	enum hash_kind kind = kind_of(s);
	size_t n = hash_size(kind);
	unsigned char key[HASH_SIZE_MAX], hashed[HASH_SIZE_MAX];
	struct str stored = {(const char *)s->verifier.stored_key, n};
	if (proof.n != n)
		return false;
	hmac(kind, stored, auth_message, key);
	for (size_t i = 0; i < n; i++)
		key[i] ^= (unsigned char)proof.p[i];
	hash_once(kind, (struct str){(const char *)key, n}, hashed);
	bool right = secret_eq((struct str){(const char *)hashed, n}, stored);
	secret_wipe(key, sizeof key);
	return right;
}

/* verifier = "v=" base64 of HMAC(ServerKey, AuthMessage) */
static enum sasl_step send_final(struct sasl *s, struct str auth_message)
{
	enum hash_kind kind = kind_of(s);
	unsigned char signature[HASH_SIZE_MAX];
	BUF_SCOPED text = {0};
	hmac(kind, (struct str){(const char *)s->verifier.server_key, hash_size(kind)}, auth_message,
	     signature);
	buf_add(&text, STR("v="));
	base64_encode(&text, (struct str){(const char *)signature, hash_size(kind)});
	secret_wipe(&s->verifier, sizeof s->verifier);
	return sasl_send(s, buf_str(&text), SASL_STATE_SCRAM_END);
}

struct final_message {
	struct str without_proof, binding, nonce, proof;
};

/* client-final-message = channel-binding "," nonce ["," extensions] "," proof */
static bool parse_final(struct str message, struct final_message *out)
{
	size_t comma = str_find_last_byte(message, ',');
	if (comma == STR_NPOS)
		return false;
	out->without_proof = str_sub(message, 0, comma);
	struct str rest = out->without_proof;
	out->binding = str_cut(&rest, ',');
	out->nonce = str_cut(&rest, ',');
	out->proof = str_from(message, comma + 1);
	if (!str_starts(out->binding, STR("c=")) || !str_starts(out->nonce, STR("r=")) ||
	    !str_starts(out->proof, STR("p=")))
		return false;
	out->binding = str_from(out->binding, 2);
	out->nonce = str_from(out->nonce, 2);
	out->proof = str_from(out->proof, 2);
	return true;
}

enum sasl_step sasl_scram_final(struct sasl *s, struct str message, struct err *err)
{
	struct final_message m;
	BUF_SCOPED proof = {0}, auth = {0};
	if (!parse_final(message, &m) || !base64_decode(&proof, m.proof))
		return sasl_fail(s, err, ERR_SYNTAX, "this is no message of SCRAM");
	if (!str_eq(m.nonce, buf_str(&s->nonce)))
		return sasl_fail(s, err, ERR_SYNTAX, "the nonce has changed");
	if (!binding_right(s, m.binding))
		return sasl_fail(s, err, ERR_CONFLICT, "the channel is not the one the client speaks of");
	buf_add(&auth, buf_str(&s->client_first));
	buf_byte(&auth, ',');
	buf_add(&auth, buf_str(&s->server_first));
	buf_byte(&auth, ',');
	buf_add(&auth, m.without_proof);
	if (!proof_right(s, buf_str(&auth), buf_str(&proof)))
		return sasl_fail(s, err, ERR_DENIED, "user name or password is wrong");
	return send_final(s, buf_str(&auth));
}
