/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Sessions: one SSL each, and the translation of its results. */
#include "crypto/tls.h"
#include "base/arena.h"
#include "base/buf.h"
#include "crypto/crypto_int.h"
#include "crypto/tls_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct tls_session {
	struct tls_context *context;
	SSL *ssl;
	bool dead; /* failed: SSL must not be called again (SSL_get_error(3)) */
};

static struct tls_session *session_alloc(struct tls_context *c, int fd)
{
	struct tls_session *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	ERR_clear_error();
	s->context = tls_context_ref(c);
	s->ssl = SSL_new(c->ssl);
	if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1)
		abort();
	return s;
}

struct tls_session *tls_session_new(struct tls_context *c, int fd)
{
	struct tls_session *s = session_alloc(c, fd);
	SSL_set_accept_state(s->ssl);
	return s;
}

/* Names that cannot be sent or checked make a verifying handshake fail, not succeed unchecked. */
static void expect_host(struct tls_session *s, struct str host)
{
	unsigned char bytes[16];
	ARENA_SCOPED a = arena_new();
	const char *name = arena_cstr(a, host);
	bool address =
		name && (inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1);
	bool done = name != NULL;
	if (done && address)
		done = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), name) == 1;
	else if (done && name[0])
		done = SSL_set_tlsext_host_name(s->ssl, name) == 1 && SSL_set1_host(s->ssl, name) == 1;
	if (s->context->verify && (!done || host.n == 0))
		s->dead = true;
}

struct tls_session *tls_session_new_client(struct tls_context *c, int fd, struct str host)
{
	struct tls_session *s = session_alloc(c, fd);
	SSL_set_connect_state(s->ssl);
	expect_host(s, host);
	return s;
}

void tls_session_names(struct tls_session *s, const struct str *names, size_t n, bool only)
{
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < n; i++) {
		const char *name = arena_cstr(a, names[i]);
		int done = !name       ? 0
			   : only && !i ? SSL_set1_host(s->ssl, name)
					: SSL_add1_host(s->ssl, name);
		if (done != 1)
			s->dead = true;
	}
}

struct tls_session *tls_session_new_dane(struct tls_context *c, int fd, struct str host,
					 const struct str *names, size_t names_n,
					 const struct tls_tlsa *records, size_t n, size_t *out_usable)
{
	ARENA_SCOPED a = arena_new();
	struct tls_session *s = session_alloc(c, fd);
	const char *base = arena_cstr(a, host);
	SSL_set_connect_state(s->ssl);
	SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	*out_usable = 0;
	if (!base || !base[0] || SSL_dane_enable(s->ssl, base) != 1) {
		s->dead = true;
		return s;
	}
	tls_session_names(s, names, names_n, false);
	for (size_t i = 0; i < n; i++) {
		const struct tls_tlsa *r = &records[i];
		/* 0 and 1 need a list of authorities that nobody agrees on (RFC 7672 3.1.3). */
		if (r->usage == 2 || r->usage == 3)
			*out_usable += SSL_dane_tlsa_add(s->ssl, r->usage, r->selector, r->matching,
							 (const unsigned char *)r->data.p, r->data.n) == 1;
	}
	ERR_clear_error();
	if (!*out_usable)
		SSL_set_verify(s->ssl, SSL_VERIFY_NONE, NULL);
	return s;
}

void tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	tls_context_unref(s->context);
	free(s);
}

static bool gone(int reason, int sys)
{
	return sys == 0 || sys == ECONNRESET || sys == EPIPE || sys == ETIMEDOUT || sys == EHOSTUNREACH ||
	       sys == ENETUNREACH || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static enum tls_result failed(struct tls_session *s, int ssl_error, int sys, struct err *err)
{
	int reason = ERR_GET_REASON(ERR_peek_last_error());
	s->dead = true;
	if (ssl_error == SSL_ERROR_SYSCALL || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		if (gone(reason, sys)) {
			crypto_err(err, ERR_GONE, "the connection ended inside TLS");
		} else {
			errno = sys;
			err_sys(err, "reading or writing a TLS connection");
			ERR_clear_error();
		}
	} else if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255) { /* alerts */
		crypto_err(err, ERR_GONE, "the peer ended TLS");
	} else if (reason == ERR_R_INTERNAL_ERROR || reason == ERR_R_OPERATION_FAIL ||
		   reason == SSL_R_CERT_CB_ERROR || ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_PROV) {
		crypto_err(err, ERR_TEMP, "TLS failed here");
	} else {
		crypto_err(err, ERR_SYNTAX, "no TLS that is spoken here");
	}
	return TLS_FAILED;
}

static enum tls_result result(struct tls_session *s, int ret, struct err *err)
{
	int sys = errno;
	int e = SSL_get_error(s->ssl, ret);
	switch (e) {
	case SSL_ERROR_NONE:
		return TLS_OK;
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_CLOSED;
	default:
		return failed(s, e, sys, err);
	}
}

static bool start(struct tls_session *s, struct err *err)
{
	if (s->dead)
		return err_set(err, ERR_CONFLICT, "the TLS session has failed already");
	ERR_clear_error();
	errno = 0;
	return true;
}

enum tls_result tls_handshake(struct tls_session *s, struct err *err)
{
	if (!start(s, err))
		return TLS_FAILED;
	return result(s, SSL_do_handshake(s->ssl), err);
}

enum tls_result tls_read(struct tls_session *s, void *p, size_t room, size_t *out_n, struct err *err)
{
	if (!start(s, err))
		return TLS_FAILED;
	return result(s, SSL_read_ex(s->ssl, p, room, out_n), err);
}

enum tls_result tls_write(struct tls_session *s, const void *p, size_t n, size_t *out_n, struct err *err)
{
	if (!start(s, err))
		return TLS_FAILED;
	if (n == 0)
		return *out_n = 0, TLS_OK;
	return result(s, SSL_write_ex(s->ssl, p, n, out_n), err);
}

/* SSL_shutdown gives 0 when ours is sent and the peer's has not come: that is enough. */
enum tls_result tls_shutdown(struct tls_session *s, struct err *err)
{
	if (!start(s, err))
		return TLS_FAILED;
	if (!SSL_is_init_finished(s->ssl))
		return TLS_OK; /* nobody to say goodbye to */
	int ret = SSL_shutdown(s->ssl);
	return ret >= 0 ? TLS_OK : result(s, ret, err);
}

size_t tls_pending(const struct tls_session *s)
{
	return (size_t)SSL_pending(s->ssl);
}

void tls_facts(const struct tls_session *s, struct tls_facts *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);
	*out = (struct tls_facts){
		.version = SSL_get_version(s->ssl),
		.cipher = cipher ? SSL_CIPHER_get_name(cipher) : "",
		.bits = cipher ? SSL_CIPHER_get_bits(cipher, NULL) : 0,
		.sni = str_of(SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name)),
		.resumed = SSL_session_reused(s->ssl) == 1,
	};
}

/* ---- channel bindings ---- */

static bool strong_session(const SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support((SSL *)ssl) == 1;
}

/* RFC 9266 2: label, and a context of zero length. */
static bool binding_exporter(const struct tls_session *s, struct buf *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char bytes[32];
	if (!strong_session(s->ssl) ||
	    SSL_export_keying_material(s->ssl, bytes, sizeof bytes, label, sizeof label - 1,
				       (const unsigned char *)"", 0, 1) != 1)
		return false;
	buf_add_bytes(out, bytes, sizeof bytes);
	return true;
}

/* RFC 5929 3.1: the first Finished of the handshake. There are no resumed sessions in 1.2, so it is
 * always the client's. */
static bool binding_unique(const struct tls_session *s, struct buf *out)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	if (SSL_version(s->ssl) != TLS1_2_VERSION || !strong_session(s->ssl) ||
	    SSL_session_reused(s->ssl))
		return false;
	size_t n = s->context->server ? SSL_get_peer_finished(s->ssl, bytes, sizeof bytes)
				      : SSL_get_finished(s->ssl, bytes, sizeof bytes);
	if (n == 0 || n > sizeof bytes)
		return false;
	buf_add_bytes(out, bytes, n);
	return true;
}

/* RFC 5929 4.1: the hash of the certificate's signature; MD5 and SHA-1 become SHA-256; undefined
 * where the signature has no hash of its own (Ed25519). */
static bool hash_certificate(const X509 *cert, struct buf *out)
{
	int md_nid;
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned int n;
	if (X509_get_signature_info((X509 *)cert, &md_nid, NULL, NULL, NULL) != 1 || md_nid == NID_undef)
		return false;
	if (md_nid == NID_md5 || md_nid == NID_sha1 || md_nid == NID_md5_sha1)
		md_nid = NID_sha256;
	const EVP_MD *md = EVP_get_digestbynid(md_nid);
	if (!md || X509_digest(cert, md, bytes, &n) != 1)
		return false;
	buf_add_bytes(out, bytes, n);
	return true;
}

static bool binding_server_end_point(const struct tls_session *s, struct buf *out)
{
	if (!s->context->server) {
		X509 *cert = SSL_get1_peer_certificate(s->ssl);
		bool done = cert && hash_certificate(cert, out);
		X509_free(cert);
		return done;
	}
	/* After resumption no certificate was sent; which one the client remembers is certain only
	 * where there is but one. */
	if (SSL_session_reused(s->ssl) && s->context->entry_count != 1)
		return false;
	const X509 *cert = SSL_get_certificate(s->ssl);
	return cert && hash_certificate(cert, out);
}

bool tls_channel_binding(const struct tls_session *s, enum tls_binding type, struct buf *out)
{
	bool done = false;
	if (s->dead || !SSL_is_init_finished(s->ssl))
		return false;
	switch (type) {
	case TLS_BINDING_EXPORTER:
		done = binding_exporter(s, out);
		break;
	case TLS_BINDING_UNIQUE:
		done = binding_unique(s, out);
		break;
	case TLS_BINDING_SERVER_END_POINT:
		done = binding_server_end_point(s, out);
		break;
	}
	ERR_clear_error();
	return done;
}

/* RFC 8446 5.1: type 22, legacy version 3.x, length up to 2^14; B.3: the message begins with 1. */
bool tls_looks_like_hello(struct str bytes, size_t *out_need)
{
	static const struct {
		unsigned char least, most;
	} head[] = {{22, 22}, {3, 3}, {0, 4}};
	const unsigned char *p = (const unsigned char *)bytes.p;
	*out_need = 0;
	for (size_t i = 0; i < 3 && i < bytes.n; i++)
		if (p[i] < head[i].least || p[i] > head[i].most)
			return false;
	if (bytes.n < 5)
		return true;
	size_t length = (size_t)p[3] << 8 | p[4];
	if (length == 0 || length > 16384 || (bytes.n > 5 && p[5] != 1))
		return false;
	*out_need = 5 + length;
	return true;
}
