/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/sendmail.h: what `pabal sendmail` reads before it speaks to the server: its options as sendmail
 * has had them for forty years, and the message's header (RFC 5322). The message goes to the running
 * server by the local listener, see cmd_sendmail.c.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum sendmail_mode {
	SENDMAIL_SEND,    /* -bm */
	SENDMAIL_SMTP,    /* -bs: SMTP on standard input and output */
	SENDMAIL_VERIFY,  /* -bv: would the recipients be taken? */
	SENDMAIL_LIST,    /* -bp: the queue */
	SENDMAIL_FLUSH,   /* -q: try what waits now */
	SENDMAIL_ALIASES, /* -bi, newaliases: nothing to do, aliases work at once */
};
struct sendmail_options {
	enum sendmail_mode mode;
	bool from_header;   /* -t */
	bool dots;          /* -i: a line with a dot alone is a line like any other */
	bool verbose;       /* -v */
	bool has_sender;    /* -f, -r: sender, empty for the null sender */
	struct str sender, full_name;
	unsigned notify;    /* -N: enum notify; 0: not given */
	struct str ret, envid; /* -R: FULL or HDRS; -V */
	bool eight_bit;     /* -B 8BITMIME */
	const char *config; /* --config, which is pabal's own; NULL: not given */
	const struct str *recipients;
	size_t recipients_n;
};
/* argv without the program's own name. What no mail server of today heeds is passed over. ERR_SYNTAX. */
bool sendmail_options_read(struct arena *a, int argc, char *const *argv, struct sendmail_options *out,
			   struct err *err) MUST_CHECK;

/* What of the message goes out, and to whom. Header fields that hold bare names get "@origin". */
struct sendmail_message {
	struct buf text;      /* as read, the header put right */
	struct str *recipients; /* "local@domain", each once */
	size_t recipients_n;
	bool eight_bit, utf8_address;
};
/* in: standard input. Bcc and Resent-Bcc are taken out; with o->from_header recipients come from
 * To, Cc and Bcc, or, where there is a Resent- field, from those. sender: "name@domain" for a missing
 * From. ERR_SYNTAX: an address cannot be read; ERR_NOT_FOUND: there is no recipient. */
bool sendmail_message_make(struct arena *a, struct str in, const struct sendmail_options *o,
			   struct str origin, struct str sender, struct sendmail_message *out,
			   struct err *err) MUST_CHECK;
/* "kim" to "kim@origin"; an address in any form of a header ("Kim <kim@x>"), the first of several.
 * False when there is none. */
bool sendmail_address(struct arena *a, struct str text, struct str origin, struct str *out);
/* Standard input ends at a line with a dot alone, unless told otherwise. */
struct str sendmail_until_dot(struct str in);
