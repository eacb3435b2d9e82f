/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * config/networks.h: sets of IP networks, as settings name them ("10.0.0.0/8", "::1", "*").
 *
 * IPv4 is kept as IPv4-mapped IPv6 (RFC 4291 2.5.5.2), so both kinds of socket address match.
 * Values are immutable once parsed; any process and thread may match.
 */
#pragma once
#include "base/err.h"
#include <sys/socket.h>

struct arena;

struct network {
	uint8_t address[16]; /* network order, host bits zero */
	uint8_t bits;        /* 0..128 */
};
struct networks {
	const struct network *v;
	size_t n;
};

/* "192.0.2.1", "192.0.2.0/24", "[2001:db8::]/32", "2001:db8::1", "*" (every address). Host bits
 * set beyond the prefix are an error: they are nearly always a slip. */
bool network_parse(struct str s, struct network *out, struct err *err) MUST_CHECK;
/* AF_INET and AF_INET6 match by address; AF_UNIX and others never match. */
bool networks_match(const struct networks *set, const struct sockaddr *address);
