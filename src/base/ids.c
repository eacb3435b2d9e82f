/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/ids.c: identifiers and random bytes.
 *
 * The microseconds of an id are counted from 2020, so that 50 bits ascend until 2055. The
 * letters ascend in ASCII: names sort as the times do.
 */
#include "base/ids.h"
#include "base/clock.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ID_EPOCH_US (INT64_C(1577836800) * 1000000)
#define ID_TIME_MASK ((UINT64_C(1) << 50) - 1)

enum { ID_TIME_LEN = 10 };

static const char id_letters[32] = {"0123456789abcdefghjkmnpqrstvwxyz"};

void random_bytes(void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* no kernel that we run on can refuse */
		}
		at += got;
		n -= (size_t)got;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

/* n letters, five bits each, the highest first */
static void put_letters(char *out, uint64_t v, size_t n)
{
	while (n--) {
		out[n] = id_letters[v & 31];
		v >>= 5;
	}
}

struct id id_new(void)
{
	struct id id = {0};

	put_letters(id.c, (uint64_t)(clock_wall_us() - ID_EPOCH_US) & ID_TIME_MASK, ID_TIME_LEN);
	put_letters(id.c + ID_TIME_LEN, random_u64(), ID_LEN - ID_TIME_LEN);
	return id;
}

bool id_parse(struct str s, struct id *out)
{
	if (s.n != ID_LEN)
		return false;
	for (size_t i = 0; i < ID_LEN; i++)
		if (!memchr(id_letters, s.p[i], sizeof(id_letters)))
			return false;
	memcpy(out->c, s.p, ID_LEN);
	return true;
}

void random_password(char *out, size_t n)
{
	/* without 0 O o 1 l I i */
	static const char letters[] = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	enum { COUNT = sizeof(letters) - 1, FAIR = 256 / COUNT * COUNT };
	unsigned char c;

	for (size_t i = 0; i < n;) {
		random_bytes(&c, 1);
		if (c < FAIR) /* the rest would favour the first letters */
			out[i++] = letters[c % COUNT];
	}
}
