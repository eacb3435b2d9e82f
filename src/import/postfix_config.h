/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * import/postfix_config.h: Postfix's main.cf and master.cf, postconf(5), master(5), for the takeover of a
 * host. Read only, by the command line; strings live in the arena.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "directory/postfix_map.h"

enum { POSTFIX_EXPAND_MAX = 64 * 1024, POSTFIX_EXPAND_DEPTH = 20, POSTFIX_SERVICES_MAX = 500 };

struct postfix_config {
	const struct postfix_line *v; /* in the file's order; of two with one name the last counts */
	size_t n;
};
bool postfix_config_parse(struct arena *a, struct str text, struct postfix_config *out, struct err *err)
	MUST_CHECK;
/* As written; p NULL when it is not set. */
struct str postfix_config_get(const struct postfix_config *c, struct str name);
/* $name, ${name}, $(name), ${name?text}, ${name:text}, $$; a few defaults of Postfix's own (mydomain) are
 * known, other names that are not set are empty. ERR_LIMIT: names that lead to themselves. */
bool postfix_config_expand(const struct postfix_config *c, struct arena *a, struct str text, struct str *out,
			   struct err *err) MUST_CHECK;

struct postfix_service {
	unsigned line;
	struct str name, type, command; /* "submission", "inet", "smtpd -o ..." */
	const struct postfix_line *options; /* -o name=value */
	size_t options_n;
};
bool postfix_master_parse(struct arena *a, struct str text, const struct postfix_service **out, size_t *out_n,
			  struct err *err) MUST_CHECK;
/* The value of an option of the service; p NULL: not set there. */
struct str postfix_service_option(const struct postfix_service *s, struct str name);
