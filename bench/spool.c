/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * bench/spool.c: many copies of one deferred message, as if each had been queued: a file that pabal has
 * written, with another id (18 letters, by which the file is named as well) and another recipient: where it
 * says q000000@q000.test, numbers take the place of the zeros. The check sum at its end is made anew.
 */
#include "load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_LETTERS = 18, TEMPLATE_MAX = 65536, TAIL_MAX = 4096 };

static uint32_t crc_table[256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc32c_of(const unsigned char *p, size_t n)
{
	uint32_t c = 0xffffffffU;
	while (n--)
		c = crc_table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

static void replace_all(char *text, size_t n, const char *from, const char *to)
{
	size_t m = strlen(from);
	for (char *at = text; (at = memmem(at, n - (size_t)(at - text), from, m)); at += m)
		memcpy(at, to, m);
}

static uint64_t little_64(const unsigned char *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* spool TEMPLATE DIRECTORY COUNT UID GID */
int run_spool(char **a)
{
	static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
	static char whole[TEMPLATE_MAX], copy[TEMPLATE_MAX];
	unsigned count = number(a[2]), uid = number(a[3]), gid = number(a[4]);
	const char *name = strrchr(a[0], '/');
	int fd = open(a[0], O_RDONLY), dir = open(a[1], O_RDONLY | O_DIRECTORY);
	ssize_t n = fd < 0 ? -1 : read(fd, whole, sizeof whole);
	if (n < 64 || dir < 0 || !name || strlen(name + 1) < ID_LETTERS + 2)
		die("spool: cannot read %s", a[0]);
	/* magic 8, content length 8, plan length 4, plan, envelope length 4, envelope, content, check
	 * sum 4 */
	const unsigned char *u = (const unsigned char *)whole;
	size_t at = 20 + (little_64(u + 16) & 0xffffffff);
	at += 4 + (little_64(u + at) & 0xffffffff) + little_64(u + 8);
	if (at + 4 > (size_t)n)
		die("spool: %s is not such a file", a[0]);
	char id[ID_LETTERS + 1] = "", fresh[ID_LETTERS + 1] = "", file[64], number_text[32];
	memcpy(id, name + 1, ID_LETTERS);
	crc_init();
	double t = now();
	for (unsigned i = 0; i < count; i++) {
		memcpy(copy, whole, (size_t)n);
		memcpy(fresh, id, ID_LETTERS);
		for (unsigned k = 0, v = i; k < 8; k++, v >>= 5)
			fresh[ID_LETTERS - 1 - k] = alphabet[v & 31];
		replace_all(copy, (size_t)n, id, fresh);
		snprintf(number_text, sizeof number_text, "q%06u@q%03u.test", i % 1000000, i % 1000);
		replace_all(copy, (size_t)n, "q000000@q000.test", number_text);
		uint32_t crc = crc32c_of((unsigned char *)copy, at);
		for (int k = 0; k < 4; k++)
			copy[at + (size_t)k] = (char)(crc >> 8 * k);
		snprintf(file, sizeof file, "%s%s", fresh, name + 1 + ID_LETTERS);
		int out = openat(dir, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (out < 0 || write(out, copy, (size_t)n) != n || fchown(out, uid, gid))
			die("spool: cannot write %s", file);
		close(out);
	}
	printf("{\"messages\": %u, \"seconds\": %.3f}\n", count, now() - t);
	return 0;
}
