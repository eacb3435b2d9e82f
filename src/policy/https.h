/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * policy/https.h: one small document over HTTPS, as MTA-STS wants it (RFC 8461 3.3): the certificate must be
 * valid for the host, redirects are not followed, nothing is sent but the request. HTTP/1.0, so that the end
 * of the connection or Content-Length ends the body (RFC 9112 6.3). Blocking, for a thread of relay's.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <sys/socket.h>

struct arena;
struct tls_context;

enum { HTTPS_BODY_MAX = 60000, HTTPS_HEAD_MAX = 16384 };

struct https_request {
	struct sockaddr_storage address;
	socklen_t address_len;
	struct str host, path;
	struct tls_context *context; /* one that verifies */
	int64_t until_ms;            /* monotonic clock */
	size_t body_max;
};
/* The body of a 200. ERR_NOT_FOUND: 404 and the like; ERR_DENIED: the certificate; ERR_TEMP: the rest. */
bool https_get(const struct https_request *r, struct arena *a, struct str *out_body,
	       struct err *err) MUST_CHECK;

/* POST of a JSON text; nothing is read but the reply's first line, which must say 2xx. Errors as above. */
bool https_post_json(const struct https_request *r, struct str json, struct arena *a,
		     struct err *err) MUST_CHECK;

/* "https://host[:port][/path]", host a name. */
struct https_url {
	struct str host, path;
	uint16_t port;
};
bool https_url_parse(struct str url, struct https_url *out);

struct http_reply {
	unsigned status;
	struct str type; /* Content-Type without parameters; empty: none */
	struct str body; /* what is there of it */
	bool whole;      /* as long as Content-Length says, if it does */
	bool has_length;
};
/* Of what has come so far. False: not HTTP, or too long; *out_more: the head is not there yet. */
bool http_reply_parse(struct str bytes, struct http_reply *out, bool *out_more);
