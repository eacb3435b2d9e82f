/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* dns/server.h: name servers as people write them. */
#pragma once
#include "base/err.h"
#include <sys/socket.h>

struct dns_server {
	struct sockaddr_storage address;
	socklen_t size;
	bool loopback;
};

/* "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353", "localhost:5353". */
bool dns_server_parse(struct str text, struct dns_server *out, struct err *err) MUST_CHECK;
/* "192.0.2.1@53", as libunbound writes it; buf of at least DNS_SERVER_TEXT_MAX. */
enum { DNS_SERVER_TEXT_MAX = 64 };
void dns_server_text(const struct dns_server *s, char *out);

enum { DNS_SERVERS_MAX = 8 };
/* The nameserver lines of resolv.conf(5); ERR_NOT_FOUND when it has none. */
bool dns_server_system(const char *resolv_conf, struct dns_server out[DNS_SERVERS_MAX], size_t *out_n,
		       struct err *err) MUST_CHECK;
