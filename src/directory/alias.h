/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* directory/alias.h: aliases: a source address, or "@domain" for every address of a domain that
 * has no other meaning, and one or more destinations, local or remote. An alias with the address
 * of an account redirects its mail; with itself among the destinations it keeps a copy. */
#pragma once
#include "directory/directory.h"

enum { ALIAS_DESTINATIONS_MAX = 1000 };

struct alias {
	struct str source;            /* folded */
	const struct str *destinations; /* folded, in the order they were added */
	size_t n;
};
struct alias_list {
	struct alias *v;
	size_t n;
};

/* Adds destinations to the source's; those it has already are kept once. ERR_NOT_FOUND: the
 * source's domain is not hosted. ERR_LIMIT: more than ALIAS_DESTINATIONS_MAX. */
bool alias_add(struct directory *d, struct str source, const struct str *destinations, size_t n,
	       struct err *err) MUST_CHECK;
/* out->n is 0 when there is none. One level, as written: nothing is expanded (R41). */
bool alias_find(struct directory *d, struct str source, struct arena *a, struct alias *out,
		struct err *err) MUST_CHECK;
bool alias_list(struct directory *d, struct str domain, struct arena *a, struct alias_list *out,
		struct err *err) MUST_CHECK;
/* Replaces all destinations. ERR_NOT_FOUND when there is no such alias. */
bool alias_set(struct directory *d, struct str source, const struct str *destinations, size_t n,
	       struct err *err) MUST_CHECK;
/* n 0: the whole alias, else only these destinations. */
bool alias_remove(struct directory *d, struct str source, const struct str *destinations, size_t n,
		  struct err *err) MUST_CHECK;
