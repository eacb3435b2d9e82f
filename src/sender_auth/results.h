/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/results.h: the Authentication-Results field (RFC 8601), written and read.
 *
 * What others wrote is read as hostile: it may name our own authserv-id, and then has to go
 * (auth_results_names) before ours is put on top.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct arena;

enum { AUTH_RESULTS_MAX = 200, AUTH_PROPERTIES_MAX = 16, AUTH_RESULTS_FIELD_MAX = 32768 };

struct auth_property {
	struct str type, name, value; /* "smtp" "mailfrom" "a@example.com", unquoted */
};
struct auth_result {
	struct str method, result; /* "dkim", "pass"; in lower case when read */
	struct str comment;        /* written in parentheses behind the result; not read */
	struct str reason;
	struct auth_property properties[AUTH_PROPERTIES_MAX];
	size_t property_n;
	struct str text;           /* read: as it stood, without ";" and the blanks around */
};
struct auth_results {
	struct str authserv_id; /* unquoted */
	struct auth_result *at;
	size_t n;               /* 0 also where it says "none" */
};

/* "Authentication-Results: id;\r\n\tspf=pass smtp.mailfrom=a@b;...\r\n". No value can break out. */
void auth_results_write(struct buf *out, struct str authserv_id, const struct auth_result *at, size_t n);
void auth_result_add_property(struct auth_result *r, const char *type, const char *name, struct str value);

/* body: of the field, folded or not. ERR_SYNTAX, ERR_LIMIT. */
bool auth_results_parse(struct arena *a, struct str body, struct auth_results *out,
			struct err *err) MUST_CHECK;
/* Does the field claim to be that server's? Needs no more than the start of it to be readable; case
 * is ignored, and so are comments before the id. */
bool auth_results_names(struct arena *a, struct str body, struct str authserv_id);
