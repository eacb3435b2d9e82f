/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/ids.h: identifiers.
 *
 * A message id (queue id) is 18 characters of Crockford base32 in lower case, without vowels that
 * make words: 50 bits of microseconds since 2020, then 40 random bits, so ids ascend with time
 * and never repeat across processes. It is part of file names and replies: only [0-9a-z].
 */
#pragma once
#include "base/str.h"

enum { ID_LEN = 18 };
struct id {
	char c[ID_LEN]; /* no terminator */
};
struct id id_new(void);
static inline struct str id_str(const struct id *id) { return (struct str){id->c, ID_LEN}; }
bool id_parse(struct str s, struct id *out);

void random_bytes(void *p, size_t n); /* getrandom; never fails */
uint64_t random_u64(void);
/* n letters and digits, unambiguous: printed passwords */
void random_password(char *out, size_t n);
