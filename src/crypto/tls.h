/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/tls.h: TLS contexts and sessions over a non-blocking descriptor.
 *
 * Server: TLS 1.2 and 1.3, ECDHE with AEAD only, server's order, no compression, no renegotiation,
 * no early data; tickets in TLS 1.3 only, with keys given from outside. Parked sessions hold no
 * record buffers (SSL_MODE_RELEASE_BUFFERS). Client: for tests and the command line.
 *
 * A context is used by all threads; a session by one thread at a time. Nothing here waits: the
 * descriptor is non-blocking and its owner is src/net. SIGPIPE must be ignored in the process.
 */
#pragma once
#include "crypto/key.h"

struct arena;
struct buf;
struct tls_provider;

/* OpenSSL's tables and random numbers, before the sandbox and the first thread. No configuration
 * file is read. */
void tls_init(void);
/* Frees what OpenSSL keeps for the calling thread, which must not use it again. */
void tls_thread_end(void);
/* "OpenSSL 3.0.22 ..." */
const char *tls_library_version(void);

/* ---- certificates ---- */

struct cert_facts {
	struct str *names;         /* DNS names of subjectAltName, lower case, "*." first label possible */
	size_t name_count;
	struct str subject, issuer;/* one line */
	int64_t not_before, not_after; /* seconds since 1970 */
	const char *key;           /* "EC P-256", "RSA 2048", ... static or in the arena */
	unsigned char key_id[KEY_ID_SIZE];
	unsigned char fingerprint[32]; /* SHA-256 of the DER */
	size_t chain_count;        /* certificates in the file, this one included */
};
/* Of the first certificate in a PEM file; results in the arena. */
bool cert_facts(struct arena *a, struct str pem, struct cert_facts *out, struct err *err) MUST_CHECK;
/* RFC 6125 6.4: name against "example.org" or "*.example.org"; ASCII case ignored. */
bool cert_name_matches(struct str pattern, struct str name);

/* ---- contexts ---- */

struct tls_chain {
	struct str cert_pem;       /* leaf first, then intermediates */
	struct str key_pem;        /* empty: the key is behind the provider */
	struct str passphrase;     /* of key_pem */
};
struct tls_server_settings {
	struct tls_provider *provider; /* NULL if every chain brings its key; a reference is taken */
	const struct tls_chain *chains;/* at least one; the first (and a second one of another key type
	                                * with the same first name) answers clients without SNI */
	size_t chain_count;
	struct str door;           /* "smtp", "login", "web": session id context; at most 32 bytes */
	const char *min_version;   /* "1.2" (or NULL) or "1.3" */
	const char *ciphers;       /* OpenSSL list for TLS 1.2; NULL: ours */
};
struct tls_context;
/* Copies all it needs. ERR_SYNTAX/ERR_CONFLICT: a certificate that cannot be read or does not belong
 * to its key; err names the chain by number (from 1). Immutable afterwards but for ticket keys. */
bool tls_context_server(const struct tls_server_settings *settings, struct tls_context **out,
			struct err *err) MUST_CHECK;

struct tls_client_settings {
	struct str ca_pem;         /* trusted roots; empty: the system's */
	bool verify;               /* certificate and name must be valid */
	const char *min_version, *max_version; /* "1.2", "1.3" or NULL */
	bool dane;                 /* for tls_session_new_dane: no roots, every session has its own proof */
	bool no_tickets;
	const char *ciphers;       /* TLS 1.2 list or NULL; tests choose the key type with it */
	const char *sigalgs;       /* OpenSSL list or NULL: the same */
};
bool tls_context_client(const struct tls_client_settings *settings, struct tls_context **out,
			struct err *err) MUST_CHECK;
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* accepts NULL; sessions hold references themselves */

/* One key of a set. The set comes from the keys role, one per kind of door, and rotates: [0] makes
 * new tickets, all of them open old ones. */
struct tls_ticket_key {
	unsigned char name[16];
	unsigned char aes[32];
	unsigned char mac[32];
};
enum { TLS_TICKET_KEYS_MAX = 4 };
void tls_ticket_key_new(struct tls_ticket_key *out); /* random */
/* n = 0 (the state at first): no tickets. May be called at any time from any thread. */
void tls_context_set_ticket_keys(struct tls_context *c, const struct tls_ticket_key *keys, size_t n);

/* ---- sessions ---- */

enum tls_result {
	TLS_OK,         /* done, or some bytes moved */
	TLS_WANT_READ,  /* again when the descriptor is readable */
	TLS_WANT_WRITE, /* again when it is writable */
	TLS_CLOSED,     /* the peer said goodbye (close_notify) */
	TLS_FAILED,     /* err says why; the session is dead. ERR_GONE: the peer or its network went away
	                 * without goodbye; ERR_SYNTAX: what it sent is no TLS we speak; else ERR_TEMP */
};

struct tls_session;
/* Does not own fd. */
struct tls_session *tls_session_new(struct tls_context *c, int fd);
/* host: SNI, and the name that is verified; may be empty. */
struct tls_session *tls_session_new_client(struct tls_context *c, int fd, struct str host);
/* DANE (RFC 7672): host is the TLSA base domain, and SNI; names are the others that a certificate by
 * usage 2 may be for. Usages 2 and 3 only. *out_usable: records that can be used; with none the session
 * verifies nothing and the caller decides (RFC 7672 2.2: encrypt). */
struct tls_tlsa {
	uint8_t usage, selector, matching;
	struct str data;
};
struct tls_session *tls_session_new_dane(struct tls_context *c, int fd, struct str host,
					 const struct str *names, size_t names_n,
					 const struct tls_tlsa *records, size_t n, size_t *out_usable);
/* More names that the peer's certificate may be for, beside the host's; ".example.org": its subdomains.
 * Before the handshake of a verifying session; only: not the host's. */
void tls_session_names(struct tls_session *s, const struct str *names, size_t n, bool only);
void tls_session_free(struct tls_session *s); /* sends nothing; accepts NULL */

enum tls_result tls_handshake(struct tls_session *s, struct err *err);
/* TLS_OK: *out_n > 0 bytes. The buffer of an unfinished write may move, its bytes may not change. */
enum tls_result tls_read(struct tls_session *s, void *p, size_t room, size_t *out_n, struct err *err);
enum tls_result tls_write(struct tls_session *s, const void *p, size_t n, size_t *out_n, struct err *err);
/* Sends close_notify, does not wait for the peer's. */
enum tls_result tls_shutdown(struct tls_session *s, struct err *err);
size_t tls_pending(const struct tls_session *s); /* decrypted bytes that tls_read gives at once */

struct tls_facts {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
	int bits;
	struct str sni;      /* empty if none; lives as long as the session */
	bool resumed;
};
void tls_facts(const struct tls_session *s, struct tls_facts *out); /* after the handshake */

/* Channel bindings, raw bytes appended to out. False: this session has none of that type.
 * tls-exporter (RFC 9266): 1.3, or 1.2 with extended master secret. tls-unique (RFC 5929 3): 1.2 with
 * extended master secret. tls-server-end-point (RFC 5929 4): all. */
enum tls_binding { TLS_BINDING_EXPORTER, TLS_BINDING_UNIQUE, TLS_BINDING_SERVER_END_POINT };
bool tls_channel_binding(const struct tls_session *s, enum tls_binding type, struct buf *out);

/* For the first bytes of a connection: true if they can be the start of a TLS handshake record, and the
 * length of that whole record in *out_need once 5 bytes are there (else 0). */
bool tls_looks_like_hello(struct str bytes, size_t *out_need);
