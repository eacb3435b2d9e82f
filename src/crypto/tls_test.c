/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Both ends in one thread over a socket pair; "keys" is a function that counts. */
#include "crypto/tls.h"
#include "base/buf.h"
#include "base/ids.h"
#include "crypto/crypto_int.h"
#include "crypto/selfsigned.h"
#include "crypto/tls_form.h"
#include "crypto/tls_int.h"
#include "crypto/tls_provider.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- what a server has ---- */

struct identity {
	struct key *key;
	struct buf cert, key_pem;
};

static struct identity identity_make(enum key_type type, const char *name)
{
	struct identity id = {0};
	struct err err;
	char san[256];
	assert_true(key_generate(type, 2048, &id.key, &err));
	assert_true(key_write_pem(id.key, STR_NONE, &id.key_pem, &err));
	X509 *x = X509_new();
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -100);
	X509_gmtime_adj(X509_getm_notAfter(x), 100000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
				   (const unsigned char *)"t", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key_evp(id.key));
	snprintf(san, sizeof san, "DNS:%s", name);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(x, key_evp(id.key), type == KEY_ED25519 ? NULL : EVP_sha256()) > 0);
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	PEM_write_bio_X509(bio, x);
	long n = BIO_get_mem_data(bio, &p);
	buf_add_bytes(&id.cert, p, (size_t)n);
	BIO_free(bio);
	X509_free(x);
	return id;
}

static void identity_free(struct identity *id)
{
	key_free(id->key);
	buf_free(&id->cert);
	buf_free(&id->key_pem);
}

/* ---- the keys role ---- */

struct keys {
	const struct identity *ids;
	size_t n;
	unsigned signatures;
	enum sign_form last;
	bool dead;
};

static bool keys_sign(void *ctx, const unsigned char id[KEY_ID_SIZE], enum sign_form form,
		      const void *text, size_t n, struct buf *sig, struct err *err)
{
	struct keys *keys = ctx;
	if (keys->dead)
		return err_set(err, ERR_TEMP, "keys is away");
	keys->signatures++;
	keys->last = form;
	for (size_t i = 0; i < keys->n; i++)
		if (memcmp(key_id(keys->ids[i].key), id, KEY_ID_SIZE) == 0)
			return tls_form_sign(keys->ids[i].key, form, (struct str){text, n}, sig, err);
	return err_set(err, ERR_NOT_FOUND, "no such key");
}

/* ---- a connection ---- */

struct pair {
	int fd[2];
	struct tls_session *server, *client;
	enum tls_result server_end, client_end;
	struct err server_err, client_err;
};

static void pair_handshake(struct pair *p)
{
	p->server_end = p->client_end = TLS_WANT_READ;
	for (int i = 0; i < 20; i++) {
		if (p->client_end == TLS_WANT_READ)
			p->client_end = tls_handshake(p->client, &p->client_err);
		if (p->server_end == TLS_WANT_READ)
			p->server_end = tls_handshake(p->server, &p->server_err);
	}
}

static void pair_open(struct pair *p, struct tls_context *server, struct tls_context *client,
		      const char *host)
{
	*p = (struct pair){0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
	p->server = tls_session_new(server, p->fd[0]);
	p->client = tls_session_new_client(client, p->fd[1], str_of(host));
}

static void pair_close(struct pair *p)
{
	tls_session_free(p->server);
	tls_session_free(p->client);
	close(p->fd[0]);
	if (p->fd[1] >= 0)
		close(p->fd[1]);
}

static void talk(struct tls_session *from, struct tls_session *to, const char *text)
{
	struct err err;
	char got[100];
	size_t n = 0;
	assert_int_equal(tls_write(from, text, strlen(text), &n, &err), TLS_OK);
	assert_int_equal(n, strlen(text));
	assert_int_equal(tls_read(to, got, 2, &n, &err), TLS_OK);
	assert_int_equal(tls_pending(to), strlen(text) - 2);
	assert_int_equal(tls_read(to, got + 2, sizeof got - 2, &n, &err), TLS_OK);
	assert_memory_equal(got, text, strlen(text));
	assert_int_equal(tls_read(to, got, sizeof got, &n, &err), TLS_WANT_READ);
}

static struct tls_context *server_of(struct tls_provider *provider, const struct identity *ids, size_t n)
{
	struct tls_chain chains[8] = {0};
	struct tls_context *c;
	struct err err;
	for (size_t i = 0; i < n; i++) {
		chains[i].cert_pem = buf_str(&ids[i].cert);
		if (!provider)
			chains[i].key_pem = buf_str(&ids[i].key_pem);
	}
	struct tls_server_settings settings = {
		.provider = provider, .chains = chains, .chain_count = n, .door = STR("smtp")};
	if (!tls_context_server(&settings, &c, &err))
		fail_msg("%s", err.cause);
	return c;
}

static struct tls_context *client_of(const struct tls_client_settings *settings)
{
	struct tls_context *c;
	struct err err;
	assert_true(tls_context_client(settings, &c, &err));
	return c;
}

static void same_binding(const struct pair *p, enum tls_binding type, bool want)
{
	BUF_SCOPED a = {0}, b = {0};
	assert_int_equal(tls_channel_binding(p->server, type, &a), want);
	assert_int_equal(tls_channel_binding(p->client, type, &b), want);
	assert_true(str_eq(buf_str(&a), buf_str(&b)));
	assert_int_equal(a.n > 0, want);
}

/* ---- every kind of key, both versions, here and behind the provider ---- */

static const struct {
	const char *name;
	enum key_type type;
	const char *version, *sigalgs;
	enum sign_form want;
} handshakes[] = {
	{"P-256, 1.3", KEY_EC_P256, "1.3", NULL, SIGN_ECDSA_SHA256},
	{"P-256, 1.2", KEY_EC_P256, "1.2", NULL, SIGN_ECDSA_SHA256},
	{"P-256, 1.2, SHA-384", KEY_EC_P256, "1.2", "ECDSA+SHA384:ECDSA+SHA256", SIGN_ECDSA_SHA256},
	{"P-384, 1.3", KEY_EC_P384, "1.3", NULL, SIGN_ECDSA_SHA384},
	{"P-384, 1.2", KEY_EC_P384, "1.2", "ECDSA+SHA384:ECDSA+SHA256", SIGN_ECDSA_SHA256},
	{"RSA, 1.3", KEY_RSA, "1.3", NULL, SIGN_RSA_PSS_SHA256},
	{"RSA, 1.3, SHA-512", KEY_RSA, "1.3", "RSA-PSS+SHA512:RSA+SHA256", SIGN_RSA_PSS_SHA512},
	{"RSA, 1.2", KEY_RSA, "1.2", NULL, SIGN_RSA_PSS_SHA256},
	{"RSA, 1.2, PKCS1", KEY_RSA, "1.2", "RSA+SHA256", SIGN_RSA_PKCS1_SHA256},
	{"RSA, 1.2, PKCS1, SHA-384", KEY_RSA, "1.2", "RSA+SHA384:RSA+SHA256", SIGN_RSA_PKCS1_SHA256},
	{"Ed25519, 1.3", KEY_ED25519, "1.3", NULL, SIGN_ED25519},
	{"Ed25519, 1.2", KEY_ED25519, "1.2", NULL, SIGN_ED25519},
};

static void check_handshake(struct tls_context *server, struct tls_context *client, const char *version)
{
	struct pair p;
	struct tls_facts facts;
	struct err err;
	size_t n;
	char c;
	pair_open(&p, server, client, "mail.example.org");
	pair_handshake(&p);
	if (p.server_end != TLS_OK || p.client_end != TLS_OK)
		fail_msg("server %d %s, client %d %s", p.server_end, p.server_err.cause, p.client_end,
			 p.client_err.cause);
	talk(p.client, p.server, "EHLO client");
	talk(p.server, p.client, "250 server");
	tls_facts(p.server, &facts);
	assert_string_equal(facts.version + 4, version);
	assert_true(str_eq(facts.sni, STR("mail.example.org")));
	assert_true(facts.bits >= 128);
	assert_false(facts.resumed);
	same_binding(&p, TLS_BINDING_EXPORTER, true);
	same_binding(&p, TLS_BINDING_UNIQUE, version[2] == '2');
	assert_int_equal(tls_shutdown(p.client, &err), TLS_OK);
	assert_int_equal(tls_read(p.server, &c, 1, &n, &err), TLS_CLOSED);
	pair_close(&p);
}

static void test_handshakes(void **state)
{
	for (size_t i = 0; i < sizeof handshakes / sizeof *handshakes; i++) {
		struct err err;
		struct identity id = identity_make(handshakes[i].type, "mail.example.org");
		struct keys keys = {.ids = &id, .n = 1};
		struct tls_provider *provider;
		assert_true(tls_provider_new(keys_sign, &keys, &provider, &err));
		struct tls_context *here = server_of(NULL, &id, 1), *away = server_of(provider, &id, 1);
		tls_provider_unref(provider);
		struct tls_context *client =
			client_of(&(struct tls_client_settings){.ca_pem = buf_str(&id.cert),
								.verify = true,
								.min_version = handshakes[i].version,
								.max_version = handshakes[i].version,
								.sigalgs = handshakes[i].sigalgs});
		check_handshake(here, client, handshakes[i].version);
		assert_int_equal(keys.signatures, 0);
		check_handshake(away, client, handshakes[i].version);
		assert_int_equal(keys.signatures, 1);
		assert_string_equal(sign_form_name(keys.last), sign_form_name(handshakes[i].want));
		tls_context_unref(here);
		tls_context_unref(away);
		tls_context_unref(client);
		identity_free(&id);
	}
}

/* Keys died: the handshake ends at once, with internal_error for the peer. */
static void test_keys_dead(void **state)
{
	struct err err;
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct keys keys = {.ids = &id, .n = 1, .dead = true};
	struct tls_provider *provider;
	assert_true(tls_provider_new(keys_sign, &keys, &provider, &err));
	struct tls_context *server = server_of(provider, &id, 1);
	static const char *const versions[] = {"1.2", "1.3"};
	for (size_t i = 0; i < 2; i++) {
		struct tls_context *client = client_of(&(struct tls_client_settings){
			.min_version = versions[i], .max_version = versions[i]});
		struct pair p;
		pair_open(&p, server, client, "");
		pair_handshake(&p);
		assert_int_equal(p.server_end, TLS_FAILED);
		assert_int_equal(p.server_err.kind, ERR_TEMP);
		assert_non_null(strstr(p.server_err.cause, "keys is away"));
		assert_int_equal(p.client_end, TLS_FAILED);
		assert_non_null(strstr(p.client_err.cause, "internal error"));
		assert_int_equal(tls_handshake(p.server, &err), TLS_FAILED);
		pair_close(&p);
		tls_context_unref(client);
	}
	tls_context_unref(server);
	tls_provider_unref(provider);
	identity_free(&id);
}

/* ---- choice of the certificate ---- */

static void check_choice(struct tls_context *server, const char *sni, const char *sigalgs,
			 const struct identity *want)
{
	struct tls_context *client = client_of(&(struct tls_client_settings){.sigalgs = sigalgs});
	struct pair p;
	unsigned char id[KEY_ID_SIZE];
	struct err err;
	pair_open(&p, server, client, sni);
	pair_handshake(&p);
	assert_int_equal(p.client_end, TLS_OK);
	BUF_SCOPED a = {0};
	struct pair *q = &p;
	same_binding(q, TLS_BINDING_SERVER_END_POINT, key_type(want->key) != KEY_ED25519);
	/* the certificate the client saw: by its hash */
	assert_true(tls_channel_binding(p.client, TLS_BINDING_SERVER_END_POINT, &a));
	BIO *bio = BIO_new_mem_buf(want->cert.p, (int)want->cert.n);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_true(spki_id(X509_get0_pubkey(cert), id, &err));
	unsigned char hash[32];
	X509_digest(cert, EVP_sha256(), hash, NULL);
	assert_memory_equal(a.p, hash, 32);
	X509_free(cert);
	BIO_free(bio);
	pair_close(&p);
	tls_context_unref(client);
}

static void test_choice(void **state)
{
	struct identity ids[] = {
		identity_make(KEY_EC_P256, "mail.example.org"),
		identity_make(KEY_RSA, "mail.example.org"),
		identity_make(KEY_EC_P256, "*.example.net"),
		identity_make(KEY_EC_P384, "one.example.net"),
		identity_make(KEY_RSA, "rsa.example.com"),
	};
	static const char *const rsa = "RSA-PSS+SHA256:RSA+SHA256";
	static const struct {
		const char *sni, *sigalgs;
		size_t want;
	} cases[] = {
		{"", NULL, 0},
		{"mail.example.org", NULL, 0},
		{"mail.example.org", rsa, 1},
		{"", rsa, 1},
		{"unknown.example", NULL, 0},
		{"unknown.example", rsa, 1},
		{"two.example.net", NULL, 2},
		{"ONE.example.net", NULL, 3},
		{"rsa.example.com", NULL, 4},
		{"a.b.example.net", NULL, 0},
	};
	struct keys keys = {.ids = ids, .n = 5};
	struct tls_provider *provider;
	struct err err;
	assert_true(tls_provider_new(keys_sign, &keys, &provider, &err));
	struct tls_context *here = server_of(NULL, ids, 5), *away = server_of(provider, ids, 5);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		check_choice(here, cases[i].sni, cases[i].sigalgs, &ids[cases[i].want]);
		check_choice(away, cases[i].sni, cases[i].sigalgs, &ids[cases[i].want]);
	}
	tls_context_unref(here);
	tls_context_unref(away);
	tls_provider_unref(provider);
	for (size_t i = 0; i < 5; i++)
		identity_free(&ids[i]);
}

static void test_bad_settings(void **state)
{
	struct identity a = identity_make(KEY_EC_P256, "a.example"),
			b = identity_make(KEY_EC_P256, "b.example");
	struct tls_chain swapped = {.cert_pem = buf_str(&a.cert), .key_pem = buf_str(&b.key_pem)};
	struct tls_chain keyless = {.cert_pem = buf_str(&a.cert)};
	struct tls_chain garbage = {.cert_pem = STR("hello"), .key_pem = buf_str(&b.key_pem)};
	struct tls_chain good = {.cert_pem = buf_str(&a.cert), .key_pem = buf_str(&a.key_pem)};
	const struct {
		struct tls_server_settings s;
		enum err_kind want;
	} cases[] = {
		{{.chains = &swapped, .chain_count = 1}, ERR_CONFLICT},
		{{.chains = &keyless, .chain_count = 1}, ERR_CONFLICT},
		{{.chains = &garbage, .chain_count = 1}, ERR_SYNTAX},
		{{.chain_count = 0}, ERR_CONFLICT},
		{{.chains = &good, .chain_count = 1, .min_version = "1.1"}, ERR_SYNTAX},
		{{.chains = &good, .chain_count = 1, .ciphers = "NOSUCH"}, ERR_SYNTAX},
		{{.chains = &good, .chain_count = 1, .door = STR("123456789012345678901234567890123")},
		 ERR_LIMIT},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_context *c;
		struct err err;
		assert_false(tls_context_server(&cases[i].s, &c, &err));
		assert_int_equal(err.kind, cases[i].want);
	}
	identity_free(&a);
	identity_free(&b);
}

/* ---- resumption ---- */

/* The session the client got, after it has read something (TLS 1.3 sends tickets afterwards). */
static SSL_SESSION *session_of(struct tls_context *server, struct tls_context *client, SSL_SESSION *use,
			       bool *resumed)
{
	struct pair p;
	struct tls_facts facts;
	pair_open(&p, server, client, "mail.example.org");
	/* struct tls_session begins with its context and its SSL: the test looks inside */
	SSL *ssl = ((struct {
			    struct tls_context *c;
			    SSL *ssl;
		    } *)(void *)p.client)
			   ->ssl;
	if (use)
		SSL_set_session(ssl, use);
	pair_handshake(&p);
	assert_int_equal(p.server_end, TLS_OK);
	assert_int_equal(p.client_end, TLS_OK);
	talk(p.server, p.client, "220 hello");
	tls_facts(p.server, &facts);
	*resumed = facts.resumed;
	if (facts.resumed)
		same_binding(&p, TLS_BINDING_EXPORTER, true);
	SSL_SESSION *s = SSL_get1_session(ssl);
	struct err err;
	tls_shutdown(p.client, &err);
	pair_close(&p);
	return s;
}

static void test_tickets(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_context *server = server_of(NULL, &id, 1), *other = server_of(NULL, &id, 1);
	struct tls_context *client = client_of(&(struct tls_client_settings){.min_version = "1.3"});
	struct tls_ticket_key keys[3];
	bool resumed;
	SSL_SESSION *s = session_of(server, client, NULL, &resumed);
	assert_false(SSL_SESSION_has_ticket(s)); /* no keys, no ticket */
	SSL_SESSION_free(s);

	for (size_t i = 0; i < 3; i++)
		tls_ticket_key_new(&keys[i]);
	tls_context_set_ticket_keys(server, &keys[0], 1);
	tls_context_set_ticket_keys(other, &keys[0], 1);
	s = session_of(server, client, NULL, &resumed);
	assert_true(SSL_SESSION_has_ticket(s));
	assert_false(resumed);
	SSL_SESSION_free(session_of(other, client, s, &resumed)); /* another process with the same set */
	assert_true(resumed);

	struct tls_ticket_key rotated[2] = {keys[1], keys[0]};
	tls_context_set_ticket_keys(server, rotated, 2);
	SSL_SESSION *renewed = session_of(server, client, s, &resumed);
	assert_true(resumed);
	tls_context_set_ticket_keys(server, &keys[1], 1);
	SSL_SESSION_free(session_of(server, client, s, &resumed));
	assert_false(resumed); /* its key is gone */
	SSL_SESSION_free(session_of(server, client, renewed, &resumed));
	assert_true(resumed);
	tls_context_set_ticket_keys(server, &keys[2], 1);
	SSL_SESSION_free(session_of(server, client, renewed, &resumed));
	assert_false(resumed);
	tls_context_set_ticket_keys(server, NULL, 0);
	SSL_SESSION_free(session_of(server, client, renewed, &resumed));
	assert_false(resumed);
	SSL_SESSION_free(renewed);
	SSL_SESSION_free(s);
	tls_context_unref(client);

	/* TLS 1.2 never gets one */
	tls_context_set_ticket_keys(server, keys, 2);
	client = client_of(&(struct tls_client_settings){.max_version = "1.2"});
	s = session_of(server, client, NULL, &resumed);
	assert_false(SSL_SESSION_has_ticket(s));
	SSL_SESSION_free(session_of(server, client, s, &resumed));
	assert_false(resumed);
	SSL_SESSION_free(s);
	tls_context_unref(client);
	tls_context_unref(server);
	tls_context_unref(other);
	identity_free(&id);
}

/* A ticket of one kind of door opens nothing at another, even with the same keys. */
static void test_ticket_door(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_chain chain = {.cert_pem = buf_str(&id.cert), .key_pem = buf_str(&id.key_pem)};
	struct tls_context *smtp = server_of(NULL, &id, 1), *login;
	struct err err;
	assert_true(tls_context_server(
		&(struct tls_server_settings){.chains = &chain, .chain_count = 1, .door = STR("login")},
		&login, &err));
	struct tls_context *client = client_of(&(struct tls_client_settings){.min_version = "1.3"});
	struct tls_ticket_key key;
	bool resumed;
	tls_ticket_key_new(&key);
	tls_context_set_ticket_keys(smtp, &key, 1);
	tls_context_set_ticket_keys(login, &key, 1);
	SSL_SESSION *s = session_of(smtp, client, NULL, &resumed);
	SSL_SESSION_free(session_of(login, client, s, &resumed));
	assert_false(resumed);
	SSL_SESSION_free(s);
	tls_context_unref(client);
	tls_context_unref(smtp);
	tls_context_unref(login);
	identity_free(&id);
}

/* ---- peers that are wrong ---- */

static void test_peers(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_context *server = server_of(NULL, &id, 1);
	static const struct {
		const char *send;
		size_t n;
		enum err_kind want;
	} cases[] = {
		{"EHLO plain.example\r\n", 20, ERR_SYNTAX},
		{"GET / HTTP/1.0\r\n\r\n", 18, ERR_SYNTAX},
		{"\x16\x03\x01\x00\x05hello", 10, ERR_SYNTAX},
		{"\x16\x03\x01\xff\xff", 5, ERR_SYNTAX},
		{"\x15\x03\x01\x00\x02\x02\x28", 7, ERR_SYNTAX},
		{"", 0, ERR_GONE},
		{"\x16\x03\x01", 3, ERR_GONE},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int fd[2];
		struct err err = {0};
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		struct tls_session *s = tls_session_new(server, fd[0]);
		assert_int_equal(tls_handshake(s, &err), TLS_WANT_READ);
		assert_int_equal(send(fd[1], cases[i].send, cases[i].n, 0), cases[i].n);
		shutdown(fd[1], SHUT_WR);
		assert_int_equal(tls_handshake(s, &err), TLS_FAILED);
		if (err.kind != cases[i].want)
			fail_msg("%zu: %s: %s", i, err_kind_name(err.kind), err.cause);
		tls_session_free(s);
		close(fd[0]);
		close(fd[1]);
	}
	tls_context_unref(server);
	identity_free(&id);
}

static void test_gone(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_context *server = server_of(NULL, &id, 1);
	struct tls_context *client = client_of(&(struct tls_client_settings){0});
	struct pair p;
	struct err err;
	char c;
	size_t n;
	pair_open(&p, server, client, "");
	pair_handshake(&p);
	close(p.fd[1]);
	p.fd[1] = -1;
	assert_int_equal(tls_read(p.server, &c, 1, &n, &err), TLS_FAILED); /* no close_notify */
	assert_int_equal(err.kind, ERR_GONE);
	assert_int_equal(tls_write(p.server, "x", 1, &n, &err), TLS_FAILED);
	assert_int_equal(tls_shutdown(p.server, &err), TLS_FAILED);
	pair_close(&p);
	tls_context_unref(server);
	tls_context_unref(client);
	identity_free(&id);
}

/* The client checks chain and name. */
static void test_verify(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org"),
			other = identity_make(KEY_EC_P256, "x.example");
	struct tls_context *server = server_of(NULL, &id, 1);
	const struct {
		struct str ca;
		const char *host;
		bool want;
	} cases[] = {
		{buf_str(&id.cert), "mail.example.org", true},
		{buf_str(&id.cert), "other.example.org", false},
		{buf_str(&other.cert), "mail.example.org", false},
		{buf_str(&id.cert), "", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_context *client =
			client_of(&(struct tls_client_settings){.ca_pem = cases[i].ca, .verify = true});
		struct pair p;
		pair_open(&p, server, client, cases[i].host);
		pair_handshake(&p);
		assert_int_equal(p.client_end, cases[i].want ? TLS_OK : TLS_FAILED);
		pair_close(&p);
		tls_context_unref(client);
	}
	tls_context_unref(server);
	identity_free(&id);
	identity_free(&other);
}

/* Bulk in both directions of the buffer: partial writes go on where they stopped. */
static void test_bulk(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_context *server = server_of(NULL, &id, 1),
			   *client = client_of(&(struct tls_client_settings){0});
	struct pair p;
	struct err err;
	enum { TOTAL = 3 << 20 };
	BUF_SCOPED in = {0}, out = {0};
	pair_open(&p, server, client, "");
	pair_handshake(&p);
	random_bytes(buf_room(&in, TOTAL), TOTAL);
	in.n = TOTAL;
	size_t sent = 0, n;
	while (out.n < TOTAL) {
		enum tls_result r = TLS_OK;
		while (sent < TOTAL &&
		       (r = tls_write(p.server, in.p + sent, TOTAL - sent, &n, &err)) == TLS_OK)
			sent += n;
		assert_true(r == TLS_OK || r == TLS_WANT_WRITE);
		while ((r = tls_read(p.client, buf_room(&out, 65536), 65536, &n, &err)) == TLS_OK)
			out.n += n;
		assert_int_equal(r, TLS_WANT_READ);
	}
	assert_int_equal(out.n, TOTAL);
	assert_memory_equal(in.p, out.p, TOTAL);
	pair_close(&p);
	tls_context_unref(server);
	tls_context_unref(client);
	identity_free(&id);
}

static void test_hello(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool want;
		size_t need;
	} cases[] = {
		{"", 0, true, 0},
		{"\x16", 1, true, 0},
		{"\x16\x03\x01\x02", 4, true, 0},
		{"\x16\x03\x01\x02\x00", 5, true, 517},
		{"\x16\x03\x03\x02\x00\x01", 6, true, 517},
		{"\x16\x03\x03\x02\x00\x02", 6, false, 0},
		{"\x16\x03\x03\x00\x00", 5, false, 0},
		{"\x16\x03\x03\x40\x01", 5, false, 0},
		{"\x16\x03\x03\x40\x00", 5, true, 16389},
		{"\x15\x03\x03", 3, false, 0},
		{"\x16\x02", 2, false, 0},
		{"E", 1, false, 0},
		{"\x16\x03\x05", 3, false, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t need = 99;
		assert_int_equal(tls_looks_like_hello((struct str){cases[i].bytes, cases[i].n}, &need),
				 cases[i].want);
		assert_int_equal(need, cases[i].want ? cases[i].need : 0);
	}
}

/* Contexts are shared by threads, tickets change meanwhile (TSan). */
static void *many_handshakes(void *arg)
{
	struct tls_context *server = arg;
	struct tls_context *client = client_of(&(struct tls_client_settings){0});
	for (int i = 0; i < 20; i++) {
		struct pair p;
		pair_open(&p, server, client, "mail.example.org");
		pair_handshake(&p);
		assert_int_equal(p.server_end, TLS_OK);
		pair_close(&p);
	}
	tls_context_unref(client);
	return NULL;
}

static bool sign_quietly(void *ctx, const unsigned char id[KEY_ID_SIZE], enum sign_form form,
			 const void *text, size_t n, struct buf *sig, struct err *err)
{
	(void)id;
	return tls_form_sign(ctx, form, (struct str){text, n}, sig, err);
}

static void test_threads(void **state)
{
	struct identity id = identity_make(KEY_EC_P256, "mail.example.org");
	struct tls_provider *provider;
	struct err err;
	assert_true(tls_provider_new(sign_quietly, id.key, &provider, &err));
	struct tls_context *server = server_of(provider, &id, 1);
	tls_provider_unref(provider);
	pthread_t t[3];
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_handshakes, server), 0);
	for (int i = 0; i < 50; i++) {
		struct tls_ticket_key key;
		tls_ticket_key_new(&key);
		tls_context_set_ticket_keys(server, &key, 1);
	}
	for (size_t i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	tls_context_unref(server);
	identity_free(&id);
}

int main(void)
{
	tls_init();
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshakes), cmocka_unit_test(test_keys_dead),
		cmocka_unit_test(test_choice),     cmocka_unit_test(test_bad_settings),
		cmocka_unit_test(test_tickets),    cmocka_unit_test(test_ticket_door),
		cmocka_unit_test(test_peers),      cmocka_unit_test(test_gone),
		cmocka_unit_test(test_verify),     cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_hello),      cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
