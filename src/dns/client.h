/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/client.h: the plain client of recursive servers that somebody else runs: UDP, TCP when the
 * answer does not fit, EDNS0. It validates nothing; the AD bit is believed only when that is asked
 * for, and then from a loopback address alone (RFC 4035 4.9.3: the path must be secure). Answers
 * are matched by socket, id and question.
 */
#pragma once
#include "dns/server.h"

struct dns_resolver;

struct dns_client_options {
	const struct dns_server *servers; /* copied; asked in turn */
	size_t server_n;                  /* 1 to DNS_SERVERS_MAX */
	int timeout_ms;                   /* of one dns_query with all its tries; 0: 5,000 */
	bool trust_ad;
};
struct dns_resolver *dns_client_new(const struct dns_client_options *options);
