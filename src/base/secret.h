/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/secret.h: bytes that are wiped when freed, compared in constant time and never formatted.
 */
#pragma once
#include "base/str.h"

struct secret {
	char *p;
	size_t n;
};
struct secret secret_of(struct str s); /* copies; the caller wipes its own */
void secret_free(struct secret *s);    /* wipes; accepts an empty one */
bool secret_eq(struct str a, struct str b); /* constant time for equal lengths */
void secret_wipe(void *p, size_t n);
#define SECRET_SCOPED __attribute__((cleanup(secret_free))) struct secret
