/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The PROXY protocol header: one line of text (version 1) or a binary block (version 2). */
#include "net/proxy.h"
#include "base/scan.h"
#include <arpa/inet.h>
#include <string.h>

static const char signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

static void set_v4(struct conn_addr *a, const void *ip, uint16_t port)
{
	a->addr.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	memcpy(&a->addr.v4.sin_addr, ip, 4);
	a->len = sizeof a->addr.v4;
}

static void set_v6(struct conn_addr *a, const void *ip, uint16_t port)
{
	a->addr.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&a->addr.v6.sin6_addr, ip, 16);
	a->len = sizeof a->addr.v6;
}

static bool scan_ip(struct scan *s, int family, unsigned char out[16])
{
	struct scan at = *s;
	struct str text = scan_until_byte(&at, ' ');
	char z[INET6_ADDRSTRLEN];
	if (text.n == 0 || text.n >= sizeof z || !scan_byte(&at, ' '))
		return false;
	memcpy(z, text.p, text.n);
	z[text.n] = 0;
	if (strlen(z) != text.n || inet_pton(family, z, out) != 1)
		return false;
	*s = at;
	return true;
}

/* "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25", without the line end. */
static bool parse_line(struct str line, struct proxy_header *out)
{
	struct scan s = scan_of(line);
	unsigned char from[16], to[16];
	uint32_t from_port, to_port;
	if (!scan_lit(&s, STR("PROXY ")))
		return false;
	if (scan_lit(&s, STR("UNKNOWN"))) /* the rest of the line says nothing we may believe */
		return scan_end(&s) || scan_peek(&s) == ' ';
	int family = scan_lit(&s, STR("TCP4 ")) ? AF_INET : scan_lit(&s, STR("TCP6 ")) ? AF_INET6 : -1;
	if (family < 0 || !scan_ip(&s, family, from) || !scan_ip(&s, family, to) ||
	    !scan_u32(&s, 65535, &from_port) || !scan_byte(&s, ' ') || !scan_u32(&s, 65535, &to_port) ||
	    !scan_end(&s))
		return false;
	if (family == AF_INET) {
		set_v4(&out->peer, from, (uint16_t)from_port);
		set_v4(&out->local, to, (uint16_t)to_port);
	} else {
		set_v6(&out->peer, from, (uint16_t)from_port);
		set_v6(&out->local, to, (uint16_t)to_port);
	}
	out->told = true;
	return true;
}

static enum proxy_result parse_v1(struct str bytes, struct proxy_header *out, size_t *out_need)
{
	size_t end = str_find(str_sub(bytes, 0, PROXY_V1_MAX), STR("\r\n"));
	if (end == STR_NPOS) {
		*out_need = bytes.n + 1;
		return bytes.n < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
	}
	out->length = end + 2;
	return parse_line(str_sub(bytes, 0, end), out) ? PROXY_DONE : PROXY_BAD;
}

static enum proxy_result parse_v2(struct str bytes, struct proxy_header *out, size_t *out_need)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	if (bytes.n < 16) {
		*out_need = 16;
		return PROXY_MORE;
	}
	size_t length = (size_t)p[14] << 8 | p[15];
	if (p[12] >> 4 != 2 || (p[12] & 15) > 1 || length > PROXY_HEADER_MAX - 16)
		return PROXY_BAD;
	if (bytes.n < 16 + length) {
		*out_need = 16 + length;
		return PROXY_MORE;
	}
	out->length = 16 + length;
	if ((p[12] & 15) == 0) /* LOCAL: health checks of the proxy itself */
		return PROXY_DONE;
	if (p[13] == 0x11) {
		if (length < 12)
			return PROXY_BAD;
		set_v4(&out->peer, p + 16, (uint16_t)(p[24] << 8 | p[25]));
		set_v4(&out->local, p + 20, (uint16_t)(p[26] << 8 | p[27]));
		out->told = true;
	} else if (p[13] == 0x21) {
		if (length < 36)
			return PROXY_BAD;
		set_v6(&out->peer, p + 16, (uint16_t)(p[48] << 8 | p[49]));
		set_v6(&out->local, p + 32, (uint16_t)(p[50] << 8 | p[51]));
		out->told = true;
	}
	return PROXY_DONE;
}

enum proxy_result proxy_parse(struct str bytes, struct proxy_header *out, size_t *out_need)
{
	struct str v2 = {signature, sizeof signature};
	*out = (struct proxy_header){0};
	*out_need = bytes.n + 1;
	if (bytes.n == 0)
		return PROXY_MORE;
	if (str_starts(bytes, str_sub(v2, 0, bytes.n)))
		return parse_v2(bytes, out, out_need);
	if (str_starts(bytes, str_sub(STR("PROXY "), 0, bytes.n)))
		return parse_v1(bytes, out, out_need);
	return PROXY_BAD;
}
