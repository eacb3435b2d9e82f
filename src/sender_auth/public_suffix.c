/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/public_suffix.h"
#include "base/arena.h"
#include "base/mem.h"

#include <libpsl.h>
#include <stdlib.h>
#include <string.h>

struct public_suffixes {
	psl_ctx_t *latest;
};

struct public_suffixes *public_suffixes_open(void)
{
	struct public_suffixes *s = mem_new(struct public_suffixes);
	s->latest = psl_latest(NULL);
	return s;
}

void public_suffixes_close(struct public_suffixes *s)
{
	if (!s)
		return;
	psl_free(s->latest);
	free(s);
}

static const psl_ctx_t *list(const struct public_suffixes *s)
{
	return s && s->latest ? s->latest : psl_builtin();
}

bool public_suffix_is(const struct public_suffixes *s, struct str domain)
{
	ARENA_SCOPED a = arena_new();
	const char *name = arena_cstr(a, arena_lower(a, domain));
	return name && domain.n > 0 && domain.p[0] != '.' &&
	       psl_is_public_suffix2(list(s), name, PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE) == 1;
}

struct str public_suffix_registrable(const struct public_suffixes *s, struct str domain)
{
	ARENA_SCOPED a = arena_new();
	char *lower = NULL;
	const char *name = arena_cstr(a, arena_lower(a, domain));
	if (!name || domain.n == 0 || domain.p[0] == '.')
		return STR("");
	/* In NFC and lower case beyond ASCII; an A-label comes back as it is. */
	if (!str_is_ascii(domain) && psl_str_to_utf8lower(name, "utf-8", NULL, &lower) == PSL_SUCCESS)
		name = arena_cstr(a, str_of(lower));
	psl_free_string(lower);
	const char *found = psl_registrable_domain(list(s), name);
	if (!found)
		return STR("");
	/* Folding may change lengths beyond ASCII: count the labels. */
	unsigned labels = 1;
	for (const char *p = found; *p; p++)
		labels += *p == '.';
	size_t at = domain.n;
	while (at > 0 && (domain.p[at - 1] != '.' || --labels > 0))
		at--;
	return str_from(domain, at);
}
