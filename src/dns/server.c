/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "dns/server.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { PORT = 53, RESOLV_CONF_MAX = 65536 };

static bool set_address(struct str host, uint16_t port, struct dns_server *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;
	char text[INET6_ADDRSTRLEN];
	if (str_eq_nocase(host, STR("localhost")))
		host = STR("127.0.0.1");
	if (host.n >= sizeof text || str_has_ctl(host))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = 0;
	*out = (struct dns_server){0};
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		out->size = sizeof *v4;
		out->loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		return false;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	out->size = sizeof *v6;
	out->loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	return true;
}

/* [v6]:port, v6, host:port, host */
static bool split(struct str text, struct str *host, struct str *port)
{
	*port = STR("");
	if (str_starts(text, STR("["))) {
		size_t close = str_find_byte(text, ']');
		if (close == STR_NPOS)
			return false;
		*host = str_sub(text, 1, close - 1);
		text = str_from(text, close + 1);
		*port = str_from(text, 1);
		return text.n == 0 || (text.p[0] == ':' && port->n > 0);
	}
	size_t colon = str_find_byte(text, ':');
	*host = text;
	if (colon == STR_NPOS || str_find_last_byte(text, ':') != colon)
		return true;
	*host = str_sub(text, 0, colon);
	*port = str_from(text, colon + 1);
	return port->n > 0;
}

bool dns_server_parse(struct str text, struct dns_server *out, struct err *err)
{
	struct str host, port;
	uint64_t number = PORT;
	struct dns_server s;
	if (!split(str_trim(text), &host, &port) ||
	    (port.n > 0 && (!str_u64(port, UINT16_MAX, &number) || number == 0)) ||
	    !set_address(host, (uint16_t)number, &s))
		return err_set(err, ERR_SYNTAX, "\"%.*s\" is no name server (ADDRESS or ADDRESS:PORT)",
			       STR_ARG(text));
	*out = s;
	return true;
}

void dns_server_text(const struct dns_server *s, char *out)
{
	char text[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->address;
	bool is_v4 = s->address.ss_family == AF_INET;
	inet_ntop(s->address.ss_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
		  sizeof text);
	snprintf(out, DNS_SERVER_TEXT_MAX, "%s@%u", text, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
}

bool dns_server_system(const char *resolv_conf, struct dns_server out[DNS_SERVERS_MAX], size_t *out_n,
		       struct err *err)
{
	BUF_SCOPED content = {0};
	size_t n = 0;
	struct err ignored;
	if (!file_read_whole(AT_FDCWD, resolv_conf, RESOLV_CONF_MAX, &content, err))
		return false;
	for (struct str rest = buf_str(&content); rest.p && n < DNS_SERVERS_MAX;) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		if (!str_starts(line, STR("nameserver")))
			continue;
		if (dns_server_parse(str_from(line, 10), &out[n], &ignored))
			n++;
	}
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "%s names no name server", resolv_conf);
	*out_n = n;
	return true;
}
