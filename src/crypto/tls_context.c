/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Contexts. All certificates are read once; the default ones sit in the SSL_CTX, and a client that
 * names another gets its own put into its SSL by the certificate callback, one per kind of key.
 */
#include "base/arena.h"
#include "crypto/crypto_int.h"
#include "crypto/tls_int.h"
#include "crypto/tls_provider.h"
#include <assert.h>
#include <openssl/pem.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { TICKET_SECONDS = 12 * 3600, SECURITY_LEVEL = 2 };

/* ECDHE with AEAD: forward secrecy, and the only key exchange whose signed text keys knows. */
#define CIPHERS                                                                                          \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"       \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"
#define SIGALGS                                                                                          \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"   \
	"RSA+SHA256:RSA+SHA384:RSA+SHA512"

void tls_init(void)
{
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS |
				     OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
			     NULL) != 1)
		abort();
	unsigned char seed[16];
	if (EVP_default_properties_is_fips_enabled(NULL) || RAND_bytes(seed, sizeof seed) != 1)
		abort();
}

void tls_thread_end(void)
{
	OPENSSL_thread_stop();
}

const char *tls_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static bool parse_version(const char *text, int otherwise, int *out)
{
	if (!text || text[0] == '\0')
		return *out = otherwise, true;
	if (strcmp(text, "1.2") == 0)
		return *out = TLS1_2_VERSION, true;
	if (strcmp(text, "1.3") == 0)
		return *out = TLS1_3_VERSION, true;
	return false;
}

/* ---- certificates of a server ---- */

static bool entry_key(struct tls_context *c, struct tls_entry *e, const struct tls_chain *chain,
		      struct err *err)
{
	EVP_PKEY *pub = X509_get0_pubkey(e->cert);
	if (!pkey_accepted(pub, &e->type, err))
		return false;
	if (chain->key_pem.n == 0) {
		if (!c->provider)
			return err_set(err, ERR_CONFLICT, "there is no private key");
		return tls_provider_key(c->provider, pub, &e->pkey, err);
	}
	struct key *key;
	if (!key_load(chain->key_pem, chain->passphrase, &key, err))
		return false;
	e->pkey = key_evp(key);
	EVP_PKEY_up_ref(e->pkey);
	key_free(key);
	if (EVP_PKEY_eq(pub, e->pkey) != 1)
		return crypto_err(err, ERR_CONFLICT,
				  "the private key does not belong to the certificate");
	return true;
}

static bool entry_read(struct tls_context *c, struct tls_entry *e, const struct tls_chain *chain,
		       struct err *err)
{
	OSSL_LIB_CTX *libctx = c->provider ? tls_provider_libctx(c->provider) : NULL;
	if (!cert_read(chain->cert_pem, libctx, &e->cert, &e->chain, err) || !entry_key(c, e, chain, err))
		return false;
	cert_names(c->arena, e->cert, &e->names, &e->name_count);
	return true;
}

static bool read_entries(struct tls_context *c, const struct tls_server_settings *s, struct err *err)
{
	c->entries = arena_array(c->arena, s->chain_count, sizeof *c->entries);
	memset(c->entries, 0, s->chain_count * sizeof *c->entries);
	for (size_t i = 0; i < s->chain_count; i++) {
		c->entry_count = i + 1;
		if (!entry_read(c, &c->entries[i], &s->chains[i], err))
			return err_while(err, "reading certificate chain %zu", i + 1);
	}
	return true;
}

static struct str first_name(const struct tls_entry *e)
{
	return e->name_count ? e->names[0] : STR_NONE;
}

static int key_slot(enum key_type type)
{
	return type == KEY_RSA ? 0 : type == KEY_ED25519 ? 1 : 2; /* as OpenSSL: one certificate each */
}

/* Whether clients without SNI may get it: the first chain, and the first one of each other kind of key
 * that bears the same name. */
static void mark_standard(struct tls_context *c)
{
	bool taken[3] = {false};
	for (size_t i = 0; i < c->entry_count; i++) {
		struct tls_entry *e = &c->entries[i];
		bool *slot = &taken[key_slot(e->type)];
		e->standard = !*slot && (i == 0 || str_eq(first_name(e), first_name(&c->entries[0])));
		*slot = *slot || e->standard;
	}
}

static bool install_defaults(struct tls_context *c, struct err *err)
{
	mark_standard(c);
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct tls_entry *e = &c->entries[i];
		if (e->standard && SSL_CTX_use_cert_and_key(c->ssl, e->cert, e->pkey, e->chain, 1) != 1) {
			crypto_err(err, ERR_CONFLICT, "the certificate cannot be used");
			return err_while(err, "taking certificate chain %zu", i + 1);
		}
	}
	return true;
}

/* 2: named exactly, 1: by a wildcard, 0: not. */
static int match_rank(const struct tls_entry *e, struct str name)
{
	int rank = 0;
	for (size_t i = 0; i < e->name_count; i++) {
		if (str_eq_nocase(e->names[i], name))
			return 2;
		if (cert_name_matches(e->names[i], name))
			rank = 1;
	}
	return rank;
}

/* The best entry per kind of key; entries that stand first win. */
static bool choose(const struct tls_context *c, struct str name, const struct tls_entry *out[3])
{
	int best = 0;
	for (size_t i = 0; i < c->entry_count; i++) {
		int rank = match_rank(&c->entries[i], name);
		best = rank > best ? rank : best;
	}
	bool other = false;
	for (size_t i = 0; best && i < c->entry_count; i++) {
		const struct tls_entry *e = &c->entries[i];
		if (out[key_slot(e->type)] || match_rank(e, name) != best)
			continue;
		out[key_slot(e->type)] = e;
		other = other || !e->standard;
	}
	return other;
}

static int on_certificate(SSL *ssl, void *arg)
{
	const struct tls_context *c = arg;
	if (SSL_version(ssl) < TLS1_3_VERSION || !tls_tickets_any(c->tickets)) {
		SSL_set_options(ssl, SSL_OP_NO_TICKET);
		SSL_set_num_tickets(ssl, 0);
	}
	const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct tls_entry *chosen[3] = {NULL};
	if (!sni || !choose(c, str_of(sni), chosen))
		return 1;
	SSL_certs_clear(ssl);
	for (size_t i = 0; i < 3; i++)
		if (chosen[i] &&
		    SSL_use_cert_and_key(ssl, chosen[i]->cert, chosen[i]->pkey, chosen[i]->chain, 1) != 1)
			return 0;
	return 1;
}

/* ---- contexts ---- */

static struct tls_context *context_alloc(bool server)
{
	struct tls_context *c = calloc(1, sizeof *c);
	if (!c)
		abort();
	atomic_init(&c->refs, 1);
	c->server = server;
	c->arena = arena_new();
	ERR_clear_error();
	return c;
}

static bool set_common(struct tls_context *c, const char *min, const char *max, const char *ciphers,
		       const char *sigalgs, struct err *err)
{
	int low, high;
	if (!parse_version(min, TLS1_2_VERSION, &low) || !parse_version(max, TLS1_3_VERSION, &high) ||
	    low > high)
		return err_set(err, ERR_SYNTAX, "TLS versions are 1.2 and 1.3");
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_security_level(c->ssl, SECURITY_LEVEL);
	if (SSL_CTX_set_min_proto_version(c->ssl, low) != 1 ||
	    SSL_CTX_set_max_proto_version(c->ssl, high) != 1 ||
	    SSL_CTX_set1_groups_list(c->ssl, GROUPS) != 1)
		return crypto_err(err, ERR_TEMP, "TLS cannot be set up");
	if (SSL_CTX_set_cipher_list(c->ssl, ciphers && ciphers[0] ? ciphers : CIPHERS) != 1 ||
	    SSL_CTX_set1_sigalgs_list(c->ssl, sigalgs && sigalgs[0] ? sigalgs : SIGALGS) != 1)
		return crypto_err(err, ERR_SYNTAX,
				  "the list of ciphers or signature algorithms holds none");
	return true;
}

static bool set_server(struct tls_context *c, const struct tls_server_settings *s, struct err *err)
{
	if (s->door.n > SSL_MAX_SID_CTX_LENGTH ||
	    SSL_CTX_set_session_id_context(c->ssl, (const unsigned char *)(s->door.n ? s->door.p : ""),
					   (unsigned)s->door.n) != 1)
		return err_set(err, ERR_LIMIT, "the name of the door is too long");
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(c->ssl, TICKET_SECONDS);
	SSL_CTX_set_num_tickets(c->ssl, 1);
	SSL_CTX_set_max_early_data(c->ssl, 0);
	SSL_CTX_set_recv_max_early_data(c->ssl, 0);
	c->tickets = tls_tickets_new();
	tls_tickets_attach(c->tickets, c->ssl);
	SSL_CTX_set_cert_cb(c->ssl, on_certificate, c);
	return true;
}

bool tls_context_server(const struct tls_server_settings *settings, struct tls_context **out,
			struct err *err)
{
	if (settings->chain_count == 0)
		return err_set(err, ERR_CONFLICT, "there is no certificate");
	struct tls_context *c = context_alloc(true);
	c->provider = settings->provider ? tls_provider_ref(settings->provider) : NULL;
	c->ssl = SSL_CTX_new_ex(c->provider ? tls_provider_libctx(c->provider) : NULL,
				c->provider ? TLS_PROPERTIES : NULL, TLS_server_method());
	if (!c->ssl)
		abort();
	if (!set_common(c, settings->min_version, NULL, settings->ciphers, NULL, err) ||
	    !set_server(c, settings, err) || !read_entries(c, settings, err) ||
	    !install_defaults(c, err)) {
		tls_context_unref(c);
		return false;
	}
	*out = c;
	return true;
}

enum { ROOTS_MAX = 8 << 20 };

static bool trust(SSL_CTX *ctx, struct str pem, struct err *err)
{
	if (pem.n == 0)
		return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
		       crypto_err(err, ERR_IO, "the trusted roots of the system cannot be read");
	/* A bundle of any number of roots; its size is its limit. */
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = pem.n <= ROOTS_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	bool done = bio != NULL;
	int n = 0;
	for (X509 *root; done && (root = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; n++) {
		done = X509_STORE_add_cert(store, root) == 1;
		X509_free(root);
	}
	BIO_free(bio);
	done = done && n > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	if (done)
		ERR_clear_error();
	return done || crypto_err(err, ERR_SYNTAX, "the trusted roots cannot be used");
}

bool tls_context_client(const struct tls_client_settings *settings, struct tls_context **out,
			struct err *err)
{
	struct tls_context *c = context_alloc(false);
	c->verify = settings->verify;
	c->ssl = SSL_CTX_new(TLS_client_method());
	if (!c->ssl)
		abort();
	if (settings->no_tickets)
		SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
	SSL_CTX_set_verify(c->ssl, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (settings->dane && SSL_CTX_dane_enable(c->ssl) != 1) {
		tls_context_unref(c);
		return crypto_err(err, ERR_TEMP, "DANE cannot be set up");
	}
	/* the certificate itself is named: its names and dates say nothing (RFC 7672 3.1.1) */
	if (settings->dane)
		SSL_CTX_dane_set_flags(c->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	if (!set_common(c, settings->min_version, settings->max_version, settings->ciphers,
			settings->sigalgs, err) ||
	    (c->verify && !settings->dane && !trust(c->ssl, settings->ca_pem, err))) {
		tls_context_unref(c);
		return false;
	}
	*out = c;
	return true;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

static void entry_fini(struct tls_entry *e)
{
	X509_free(e->cert);
	sk_X509_pop_free(e->chain, X509_free);
	EVP_PKEY_free(e->pkey);
}

void tls_context_unref(struct tls_context *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	SSL_CTX_free(c->ssl);
	for (size_t i = 0; i < c->entry_count; i++)
		entry_fini(&c->entries[i]);
	tls_tickets_free(c->tickets);
	tls_provider_unref(c->provider); /* after all keys of it */
	arena_free(c->arena);
	free(c);
}

void tls_context_set_ticket_keys(struct tls_context *c, const struct tls_ticket_key *keys, size_t n)
{
	assert(c->server);
	tls_tickets_set(c->tickets, keys, n);
}
