/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/secret.c */
#include "base/secret.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

void secret_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}

struct secret secret_of(struct str s)
{
	struct secret copy = {mem_alloc(s.n + 1), s.n};

	if (s.n)
		memcpy(copy.p, s.p, s.n);
	copy.p[s.n] = '\0'; /* crypt(3) and friends want it */
	return copy;
}

void secret_free(struct secret *s)
{
	if (!s || !s->p)
		return;
	explicit_bzero(s->p, s->n);
	free(s->p);
	*s = (struct secret){0};
}

bool secret_eq(struct str a, struct str b)
{
	/* volatile: the compiler may not leave early */
	volatile unsigned char differ = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		differ |= (unsigned char)(a.p[i] ^ b.p[i]);
	return differ == 0;
}
