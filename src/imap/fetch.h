/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/fetch.h: what FETCH asks for (RFC 9051 6.4.5; BINARY RFC 3516; CONDSTORE and QRESYNC
 * RFC 7162; OBJECTID RFC 8474).
 */
#pragma once
#include "imap/search.h"
#include "mime/part.h"

enum fetch_item {
	FETCH_UID = 1,
	FETCH_FLAGS = 2,
	FETCH_INTERNALDATE = 4,
	FETCH_SIZE = 8,
	FETCH_ENVELOPE = 16,
	FETCH_BODY = 32,
	FETCH_BODYSTRUCTURE = 64,
	FETCH_MODSEQ = 128,
	FETCH_EMAILID = 256,
	FETCH_THREADID = 512,
	FETCH_PREVIEW = 1024,  /* RFC 8970 */
	FETCH_SAVEDATE = 2048, /* RFC 8514 */
};
enum fetch_how { FETCH_OCTETS, FETCH_DECODED, FETCH_DECODED_SIZE };
struct fetch_section {
	enum fetch_how how;
	bool seen;               /* sets \Seen */
	struct section section;
	bool partial;
	uint64_t at, n;          /* of partial */
	struct str label;        /* as it stands in the response: "BODY[HEADER]<0>" */
};
struct fetch_args {
	struct sequence_set set;
	unsigned items;          /* enum fetch_item */
	struct fetch_section *sections;
	size_t sections_n;
	bool has_changed_since, vanished;
	uint64_t changed_since;
	bool has_partial;        /* RFC 9394 3.3 */
	struct partial partial;
};
enum { FETCH_SECTIONS_MAX = 1000 };

/* sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
 * [fetch-modifiers] */
bool parse_fetch(struct parse *p, struct fetch_args *out);
/* "(" fetch-att *(SP fetch-att) ")" */
bool parse_fetch_items(struct parse *p, struct fetch_args *out);
/* section = "[" [section-spec] "]"; binary: only part numbers */
bool parse_section(struct parse *p, bool binary, struct section *out);
