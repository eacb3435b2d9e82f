/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mime/summary.h: what the index keeps of a message, so that lists, sorting and most FETCHes need
 * not open it: rendered ENVELOPE and BODYSTRUCTURE, sizes, and decoded text of the main fields.
 */
#pragma once
#include "base/err.h"
#include "mime/message.h"

struct buf;

struct summary {
	uint64_t size_bytes;        /* of the message (RFC822.SIZE) */
	uint64_t header_bytes;      /* with the empty line */
	uint32_t body_lines;
	struct str envelope;        /* IMAP wire text, parentheses included */
	struct str bodystructure;
	struct str body;
	/* UTF-8, NFC, unfolded, at most SUMMARY_TEXT_MAX octets each, cut at a character. */
	struct str subject;
	struct str base_subject;    /* RFC 5256 2.1, not folded */
	struct str from, to, cc;    /* as address_list_display */
	struct str from_addr, to_addr, cc_addr; /* first address's local-part, RFC 5256 3 SORT keys */
	struct str from_name;       /* first address's display-name or address, for SORT DISPLAY (RFC 5957) */
	struct str message_id, in_reply_to; /* with angle brackets; the first */
	struct str references;      /* ids separated by one space; THREAD */
	int64_t date_unix;          /* Date field; SUMMARY_NO_DATE when unreadable */
	int date_offset_min;
	int flags;                  /* enum summary_flags */
};
#define SUMMARY_NO_DATE INT64_MIN
enum summary_flags {
	SUMMARY_HAS_ATTACHMENT = 1, /* a part with disposition attachment or a file name, not inline text */
	SUMMARY_SUBJECT_REFWD = 2,  /* base subject was cut from a reply or forward (RFC 5256 2.1) */
	SUMMARY_SIGNED = 4,
	SUMMARY_ENCRYPTED = 8,
	SUMMARY_HAS_NUL = 16,       /* BINARY: content with NUL */
	SUMMARY_IS_LIST = 32,       /* List-Id, List-Post, Precedence: list */
	SUMMARY_AUTO = 64,          /* Auto-Submitted other than no */
};
enum { SUMMARY_TEXT_MAX = 4096, SUMMARY_VERSION = 1, SUMMARY_BYTES_MAX = 32 << 20 };

/* Strings come from the arena. */
void summary_make(struct arena *a, const struct mime_message *m, struct summary *out);
void summary_encode(struct buf *out, const struct summary *s);
/* Strings are views of in. Unknown records are skipped; another version is ERR_CORRUPT (rebuild). */
bool summary_decode(struct str in, struct summary *out, struct err *err) MUST_CHECK;
/* The three IMAP texts alone: quicker. */
bool summary_decode_imap(struct str in, struct summary *out, struct err *err) MUST_CHECK;

/* RFC 5256 2.1 on decoded text; *out_refwd: something was removed that marks a reply or forward. */
struct str subject_base(struct arena *a, struct str subject, bool *out_refwd);
