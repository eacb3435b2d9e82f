/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * smtp/server/server_int.h: inside smtp/server/.
 *
 * A session (session.c) reads lines, finds the verb's row in verbs.def and calls its function, which
 * writes the reply and may move the session to another state. A transaction (transaction.c) is
 * made by MAIL and freed whole by RSET, EHLO, STARTTLS, the end of data, or a failure. What a
 * service answers later (a login, the commit of a message) comes to an object of its own that
 * session and callback share; the last one frees it.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"
#include "mail/envelope.h"
#include "mail/status.h"
#include "smtp/grammar.h"
#include "smtp/reply.h"
#include "smtp/server.h"
#include <stdatomic.h>

enum smtp_state {
	SMTP_STATE_COMMAND,
	SMTP_STATE_AUTH_WAIT,  /* auth is asked */
	SMTP_STATE_AUTH_DELAY, /* it has answered; the client waits */
	SMTP_STATE_AUTH_LINE,  /* the client's response is awaited */
	SMTP_STATE_DATA,
	SMTP_STATE_BDAT,
	SMTP_STATE_ACCEPT,     /* the commit is awaited */
	SMTP_STATE_PRESSURE,   /* MAIL waits for room in the journal */
	SMTP_STATE_STARTTLS,
	SMTP_STATE_CLOSE,
};

enum {
	INPUT_COMMAND = 16 * 1024,  /* input limit: a line of AUTH is 12,288 octets (RFC 4954 4) */
	AUTH_LINE_MAX = 12288,
	INPUT_DATA = 64 * 1024,
	BODY_SPILL = 64 * 1024,     /* bodies may grow in memory beyond this only while there is room: */
	BODY_MEMORY = 64 << 20,     /* of all sessions */
	HEADROOM = 1536,            /* in front of a body, for the fields added */
	PRESSURE_TIMEOUT_MS = 30000,
	PRESSURE_STEP_MS = 20, PRESSURE_WAIT_MS = 2000, /* before MAIL is answered 452 */
};

/* A login under way. */
struct smtp_auth {
	atomic_uint refs; /* session, callback */
	struct conn *conn;
	uint64_t attempt;
	atomic_bool answered;
	enum auth_outcome outcome;
	uint32_t delay_ms;
	struct arena *arena;
	struct str data, account, ticket, user, why;
};

/* Text on its way in, see scan.c. */
struct smtp_text {
	bool line_start;     /* at first true */
	bool normalise;
	bool bare;           /* a CR, LF or NUL that is none of CRLF was there */
	bool cr;             /* BDAT: the last chunk ended with a CR */
	uint64_t line, longest;
};

struct smtp_tx {
	atomic_uint refs; /* session; the commit's callback */
	struct arena *arena;
	struct envelope envelope;
	size_t rcpt_cap;
	unsigned rcpt_refused;
	struct str ticket; /* of the author's domain, or of the sender's; empty: the login's */
	uint64_t size_told;
	bool bdat;         /* chunks have begun: DATA is not allowed any more (RFC 3030 2) */
	bool started;      /* content has begun */
	int64_t begun_ms;

	/* content */
	struct buf body;   /* HEADROOM, then the message */
	size_t body_at;    /* where the message begins in it */
	size_t counted;    /* bytes of the body counted in limits */
	void *side;
	uint64_t octets;   /* of the message as received, dots removed */
	uint64_t side_octets; /* written to the side file */
	bool header_done;
	struct str message_id; /* of the header, for the log */
	struct incoming *incoming; /* NULL: it is not checked */
	size_t fed_at;     /* the body before that has been given to it */
	size_t header_looked;  /* octets that had come when its end was last looked for */
	struct smtp_text text;
	enum outcome failure; /* OUTCOME_OK: none yet; replied at the end of data */
	char failure_text[160];

	/* commit */
	struct conn *conn;
	atomic_bool answered;
	struct err err;
	bool failed;
};

struct smtp_session {
	struct conn *conn;
	struct smtp_server *server;
	const struct smtp_listener *listener;
	const struct config *config;
	enum smtp_state state;
	bool greeted;     /* EHLO, HELO or LHLO was said */
	bool esmtp;
	bool trusted;     /* the client's network is one of mynetworks; never on submission */
	bool plain_auth;  /* may log in without TLS */
	bool xclient;     /* may use XCLIENT */
	bool unlisted;    /* SMTP_LOCAL: unknown recipients are taken and bounced */
	bool draining, first_seen, skipping;
	bool acted;       /* a command was carried out: its deadline is over */
	struct conn_addr peer;
	struct buf peer_text, peer_name, helo, account, mechanism, ticket;
	struct buf local_command, local_directory; /* XLOCAL: the client's word */
	uint16_t peer_port;
	unsigned pressed_ms; /* how long MAIL has waited */
	unsigned errors, commands, transactions, auth_failures, messages;
	uint64_t chunk_left;
	bool chunk_last, chunk_void; /* void: octets are passed over, the reply is written already */
	char mechanism_asked[24];    /* of the login under way */
	struct smtp_auth *auth;
	struct smtp_tx *tx;
};

/* verbs.def */
enum smtp_verb_flags {
	VERB_FREE = 1,      /* allowed where TLS is required and not there yet */
	VERB_NOT_LMTP = 2, VERB_LMTP = 4, VERB_LOCAL = 32,
	VERB_HELO = 8,      /* needs EHLO, HELO or LHLO before it */
	VERB_NO_ARGS = 16,
};
struct smtp_verb {
	struct str name;
	void (*run)(struct smtp_session *s, struct str args);
	unsigned flags;
	const char *syntax;
};
const struct smtp_verb *smtp_verb_find(struct str name);
const struct smtp_verb *smtp_verb_at(size_t i); /* NULL after the last */
#define VERB(name, function, flags, syntax) void function(struct smtp_session *s, struct str args);
#include "smtp/server/verbs.def"
#undef VERB

/* extensions.def */
struct smtp_param_use { /* one MAIL or RCPT command */
	struct smtp_session *s;
	struct smtp_tx *tx;
	struct recipient *rcpt; /* NULL in MAIL */
};
void smtp_ehlo_lines(struct smtp_session *s);
/* Applies all parameters; replies and answers false at the first that is not good. */
bool smtp_params_apply(struct smtp_session *s, struct smtp_tx *tx, struct recipient *rcpt,
		       const struct smtp_params *params);
bool smtp_starttls_offered(const struct smtp_session *s);
bool smtp_auth_offered(const struct smtp_session *s);
bool smtp_mechanism_offered(const struct smtp_session *s, struct str name);

/* session.c */
struct buf *smtp_out(struct smtp_session *s);
struct str smtp_hostname(const struct smtp_session *s);
bool smtp_is(const struct smtp_session *s, enum smtp_kind kind);
void smtp_error(struct smtp_session *s, unsigned code, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5))); /* counts, replies */
void smtp_refuse(struct smtp_session *s, enum outcome o, struct str extra); /* the same from the table */
void smtp_close(struct smtp_session *s, const char *status, const char *why); /* 421, then the end */
void smtp_greet(struct smtp_session *s);
void smtp_peer_changed(struct smtp_session *s); /* XCLIENT: everything that follows from the address */
void smtp_forget(struct smtp_session *s);       /* EHLO and the end of data: the transaction is gone */

/* verb_auth.c */
void smtp_auth_response(struct smtp_session *s, struct str line); /* a line of the client's */
void smtp_auth_answered(struct smtp_session *s);
void smtp_auth_abandon(struct smtp_session *s);

/* verb_data.c: octets of a chunk are there, or none are wanted */
void smtp_bdat_more(struct smtp_session *s);

/* transaction.c */
struct smtp_tx *smtp_tx_new(struct smtp_session *s);
/* May the login use the address? As smtp_services.sender. authorises: its ticket goes with the message. */
int smtp_tx_sender(struct smtp_session *s, struct smtp_tx *tx, struct str address, bool authorises);
void smtp_tx_drop(struct smtp_session *s); /* session's reference; accepts none */
void smtp_tx_unref(struct smtp_tx *tx, struct smtp_server *server);
void smtp_tx_fail(struct smtp_tx *tx, enum outcome o, const char *fmt, ...)
	__attribute__((format(printf, 3, 4))); /* the first one counts */
void smtp_tx_reply(struct smtp_session *s, enum outcome o, struct str extra); /* to the end of data */

/* content.c */
void smtp_content_begin(struct smtp_session *s);
/* DATA: takes what it can of the input. True: the end was there. */
bool smtp_content_data(struct smtp_session *s);
void smtp_content_chunk(struct smtp_session *s, struct str bytes); /* BDAT */
void smtp_content_end(struct smtp_session *s); /* checks, then commits or refuses */
void smtp_content_answered(struct smtp_session *s);
void smtp_envelope_complete(struct smtp_session *s); /* all but the recipients and the size */

/* scan.c: dots and line ends. */
/* Appends the message text at the start of in; returns how many octets are used up, at the end of
 * data with *out_end. What remains must come again with more behind it. */
size_t smtp_text_scan(struct smtp_text *t, struct str in, struct buf *out, bool *out_end);
/* The same without dots and end: octets of a BDAT chunk. ends: the chunk does, and nothing remains. */
size_t smtp_text_chunk(struct smtp_text *t, struct str in, bool ends, struct buf *out);

/* header.c: what is looked at and added in a message's header. */
bool smtp_header_absent(struct str body); /* not one field at its beginning: all of it is body */
bool smtp_header_fix(struct smtp_session *s, struct smtp_tx *tx, size_t header_n);

/* Into the room in front of the message, or by moving it. */
void smtp_put_in_front(struct smtp_tx *tx, struct str fields);

/* incoming.c: SPF, DKIM and DMARC of what strangers hand in. */
/* The message in the buffer has a whole header of that length; before anything in it is changed. */
void smtp_incoming_begin(struct smtp_session *s, struct smtp_tx *tx, size_t header_n);
void smtp_incoming_feed(struct smtp_tx *tx); /* what has come of the body since */
/* Asks the DNS, which blocks; puts the results in front; may fail the transaction. */
void smtp_incoming_end(struct smtp_session *s, struct smtp_tx *tx);
struct str smtp_authserv_id(const struct smtp_session *s);

/* limits.c */
/* One more message whose senders are being looked up; false: too many. */
bool smtp_lookups_take(struct smtp_limits *l);
void smtp_lookups_give(struct smtp_limits *l);
enum smtp_rate {
	SMTP_RATE_MESSAGES_SOURCE, SMTP_RATE_RCPTS_SOURCE, SMTP_RATE_RCPTS_ACCOUNT, SMTP_RATE_MESSAGES_USER,
	SMTP_RATE_RCPTS_USER,
};
bool smtp_rate_take(struct smtp_session *s, enum smtp_rate rate);
/* false: there is no room for so much more in memory; nothing was counted. */
bool smtp_memory_take(struct smtp_limits *l, size_t bytes);
void smtp_memory_give(struct smtp_limits *l, size_t bytes);
