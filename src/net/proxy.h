/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * net/proxy.h: inside net/: the PROXY protocol header, versions 1 and 2 (the specification of
 * HAProxy, "The PROXY protocol", sections 2.1 and 2.2).
 */
#pragma once
#include "net/conn.h"

enum { PROXY_V1_MAX = 107, PROXY_HEADER_MAX = 16 + 4096 };

enum proxy_result {
	PROXY_MORE, /* so far it can become a header */
	PROXY_DONE,
	PROXY_BAD,
};
struct proxy_header {
	size_t length;  /* bytes of the header */
	bool told;      /* false: LOCAL, UNKNOWN or not TCP over IP: the connection's own addresses hold */
	struct conn_addr peer, local;
};
/* bytes: what the connection begins with. With PROXY_MORE *out_need is a length that is surely
 * needed, more than there is. Lengths above PROXY_HEADER_MAX are refused. */
enum proxy_result proxy_parse(struct str bytes, struct proxy_header *out, size_t *out_need);
