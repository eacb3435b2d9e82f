/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/envelope.h: what travels with a message and is not in it (RFC 5321 2.3.1, RFC 3461,
 * RFC 6531, RFC 8689), and who handed it to us. Journals and queue files hold its encoded form.
 *
 * A plain value: the strings belong to whoever filled them in (a transaction's arena, the decoded
 * bytes). Decoding treats its input as hostile. Nothing blocks or locks.
 */
#pragma once
#include "base/ids.h"
#include "mail/address.h"

enum envelope_origin {
	ENVELOPE_MX, ENVELOPE_SUBMISSION, ENVELOPE_LMTP, ENVELOPE_LOCAL, ENVELOPE_ORIGIN_COUNT,
};
enum envelope_body { ENVELOPE_7BIT, ENVELOPE_8BITMIME, ENVELOPE_BINARYMIME, ENVELOPE_BODY_COUNT };
enum envelope_ret { ENVELOPE_RET_UNSET, ENVELOPE_RET_FULL, ENVELOPE_RET_HDRS, ENVELOPE_RET_COUNT };
enum notify { NOTIFY_UNSET = 0, NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct recipient {
	struct str forward_path;   /* as given in RCPT, without brackets and source route */
	struct address address;    /* canonical */
	struct str orcpt;          /* "rfc822;bob@example.com", decoded (no xtext); empty: none given */
	unsigned notify;           /* enum notify bits */
};

struct envelope_peer {
	struct str address;      /* text of the IP address, no brackets; empty for local origin */
	uint16_t port;
	struct str name;         /* reverse DNS name that resolves forward again; empty: none */
	struct str helo;         /* argument of EHLO, HELO or LHLO */
	bool esmtp;              /* EHLO or LHLO was used */
	struct str tls_version;  /* "TLSv1.3"; empty: no TLS */
	struct str tls_cipher;
	struct str tls_client;   /* verified client certificate's name; empty: none */
};

struct envelope {
	struct id id;
	int64_t received_us;       /* wall clock */
	enum envelope_origin origin;
	struct address reverse_path; /* canonical; both parts empty for <> */
	struct str reverse_path_text;/* as given in MAIL, without brackets */
	struct recipient *rcpt;
	size_t rcpt_n;
	enum envelope_ret ret;
	struct str envid;          /* decoded (no xtext) */
	enum envelope_body body;
	bool smtputf8;
	bool requiretls;           /* RFC 8689 */
	bool junk;                 /* its author's domain wants it set aside (DMARC): to Junk, not to INBOX */
	uint64_t size_bytes;       /* octets of the content as stored */
	struct str account;        /* who authenticated; empty: nobody */
	struct str auth_mech;      /* SASL mechanism, for Received and log */
	struct str submission_mac; /* ticket of auth (auth/ticket.h): for which domain mail may be signed */
	struct envelope_peer peer;
	bool has_uid;              /* handed in by a user of this host, the kernel says which */
	uint32_t uid;
	uint32_t listener;         /* index of the listener in the configuration, for policy */
};

enum {
	ENVELOPE_RCPT_MAX = 10000,       /* recipients that decode accepts */
	ENVELOPE_STR_MAX = 4096,         /* octets of one string */
	ENVELOPE_BYTES_MAX = 16 << 20,   /* octets of the encoded form */
};

/* Appends the encoded form: version, then records of type (u16), length (u32), value. */
void envelope_encode(struct buf *out, const struct envelope *e);
/* The whole of in. Strings are views of in, the recipients' array comes from the arena. Records
 * of unknown type are skipped. ERR_CORRUPT when it is not well-formed. */
bool envelope_decode(struct str in, struct arena *a, struct envelope *out, struct err *err) MUST_CHECK;
/* The id, which is its first record, without decoding the rest. */
bool envelope_peek_id(struct str in, struct id *out);
/* Everything copied, strings too. */
void envelope_copy(struct arena *a, const struct envelope *e, struct envelope *out);

/* Parameters of RFC 3461 4 and 6533 4.4, from and to their wire form (without keyword and "="). */
bool notify_parse(struct str value, unsigned *out);
void notify_format(struct buf *out, unsigned notify);
bool ret_parse(struct str value, enum envelope_ret *out);
/* ORCPT=type;xtext to "type;decoded". Types rfc822 and utf-8 are understood, others kept as text. */
bool orcpt_parse(struct arena *a, struct str value, bool smtputf8, struct str *out,
		 struct err *err) MUST_CHECK;
void orcpt_format(struct buf *out, struct str orcpt, bool smtputf8);
const char *envelope_origin_name(enum envelope_origin origin);
const char *envelope_body_name(enum envelope_body body); /* as BODY= wants it */
