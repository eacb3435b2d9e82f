/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* bench/message.c: messages made from a seed and a number, so that what arrived can be compared. */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LINE_LETTERS = 72 };

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	return x * 0xc4ceb9fe1a85ec53ULL;
}

/* Eight letters a to p for the nibbles of x: cheap, as the load shares the cores with the server. */
static void letters(char *out, uint32_t x)
{
	uint64_t v = x;
	v = (v | v << 16) & 0x0000ffff0000ffffULL;
	v = (v | v << 8) & 0x00ff00ff00ff00ffULL;
	v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fULL;
	v += 0x6161616161616161ULL;
	memcpy(out, &v, sizeof v);
}

size_t message_make(char *out, size_t size, const char *seed, unsigned i, const char *rcpt)
{
	return message_make_from(out, size, seed, i, "bench@example.org", rcpt);
}

/* Servers may put these before the message, and nothing else. */
static bool is_trace_field(const char *line)
{
	static const char *const names[] = {"Received:", "Return-Path:", "Delivered-To:", "X-Original-To:",
					    "DKIM-Signature:"};
	if (*line == ' ' || *line == '\t')
		return true;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strncasecmp(line, names[i], strlen(names[i])))
			return true;
	return false;
}

bool message_only_trace(const char *text)
{
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		if (!is_trace_field(line) || !strchr(line, '\n'))
			return false;
	return true;
}

size_t message_make_from(char *out, size_t size, const char *seed, unsigned i, const char *from,
			 const char *rcpt)
{
	int head = snprintf(out, HEAD_BYTES,
			    "From: %s\r\nTo: %s\r\nSubject: bench %s %u\r\n"
			    "Message-ID: <%s.%u@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0900\r\n"
			    "X-Bench: %s-%u\r\n\r\n",
			    from, rcpt, seed, i, seed, i, seed, i);
	if (head < 0 || head >= HEAD_BYTES)
		die("the header is too long");
	size_t n = (size_t)head;
	uint64_t x = mix(i + 1);
	for (const char *s = seed; *s; s++)
		x = mix(x ^ (unsigned char)*s);
	while (n + LINE_LETTERS + 2 <= size) {
		for (int k = 0; k < LINE_LETTERS; k += 8) {
			x = mix(x + 1);
			letters(out + n, (uint32_t)(x >> 16));
			n += 8;
		}
		out[n++] = '\r';
		out[n++] = '\n';
	}
	return n;
}
