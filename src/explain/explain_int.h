/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* explain/explain_int.h: for this folder alone. */
#pragma once
#include "explain/explain.h"
#include "explain/pattern.h"

enum explain_action {
#define ACTION(id, name) ACTION_##id,
#include "explain/words.def"
};

struct explain_provider {
	struct str id;
	bool mailbox;               /* has mailboxes of its own, unlike gateways and block lists */
	struct str hosts;           /* ".suffix" and domains, blanks between, lower case */
	struct explain_words name, needs;
};

/* A row of type code, status, reply, host or hint. */
struct explain_row {
	struct str id;
	bool host;                  /* only when the provider's host spoke */
	bool hint;                  /* only when the status tells little */
	const struct explain_provider *provider; /* NULL: anybody's */
	const struct pattern *pattern;
	enum explain_cause cause;
	enum explain_kind kind;     /* UNKNOWN: any */
	enum explain_action action;
	bool final;                 /* give up even on 4xx */
	enum explain_fault fault;
	struct explain_words text;
	const struct explain_advice *advice[EXPLAIN_ADVICE_MAX];
	size_t advice_n;
	struct str example;
	bool assumed;
	uint16_t subject, detail;   /* of a status */
	uint16_t code;              /* of a code */
};
struct explain_rows {
	struct explain_row *at;
	size_t n, cap;
};

struct explain {
	struct arena *arena;
	struct explain_advice **advice;   /* rows point to them: they stay where they are */
	size_t advice_n, advice_cap;
	struct explain_provider **providers;
	size_t provider_n, provider_cap;
	struct explain_rows replies, statuses, codes;
};

const struct explain_row *explain_code_row(const struct explain *e, unsigned code);
const struct explain_row *explain_status_row(const struct explain *e, struct status st);
/* By host name or domain; NULL: nobody we know. */
const struct explain_provider *explain_provider_of(const struct explain *e, struct str host);

/* A reply taken apart. */
struct reply_form {
	uint16_t code;
	struct status status;
	enum explain_stage stage;
	bool several;      /* lines: "550-" */
	struct str text;   /* for matching: "CODE STATUS text" */
	size_t at;         /* where in the line it begins; its length when there is none */
	struct str shown;  /* the line without what is wrapped around the reply */
	bool sure;         /* something that looks like a reply was found in it */
};
/* line is clean: explain_clean(). */
void reply_form_of(struct arena *a, struct str line, struct reply_form *out);
/* Valid UTF-8 on one line: control characters and line ends become blanks, runs of them one blank,
 * what reorders text on a screen "?"; at most max octets. */
struct str explain_clean(struct arena *a, struct str raw, size_t max);
/* The name of the server that spoke, as a log line or bounce tells it; empty: not told. */
struct str explain_find_host(struct str line);
/* Whom a line is about: "to=<a@b>", an address in angle brackets, or one before the reply. */
struct str explain_find_recipient(struct arena *a, struct str line);
/* The first e-mail address; empty: none. */
struct str explain_find_address(struct str text);

/* Replies put together by kind. */
struct collector {
	const struct explain *e;
	struct arena *a, *scratch;
	struct explain_report *report;
	size_t cap;
	struct str action;      /* for the items of a bounce */
	struct str host;        /* of lines that name none */
};
/* false: it was no reply (unless any is true, then anything with a known wording counts). Uses scratch,
 * which the caller resets. */
bool collector_add(struct collector *c, struct str reply, struct str host, struct str recipient, bool any);
/* Lines of a log or transcript. wrapped: lines without a reply go on the one before. */
void collect_lines(struct collector *c, struct str text, bool wrapped);
/* A whole message or its delivery-status part; false: it is none. */
bool collect_message(struct collector *c, struct str text);
