/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "config/networks.h"
#include "base/scan.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* The bits of an address, 0: not one. Addresses are at most 45 characters (RFC 4291 2.2). */
static unsigned address_parse_text(struct str s, uint8_t out[16])
{
	char text[INET6_ADDRSTRLEN];
	if (s.n == 0 || s.n >= sizeof text || str_has_byte(s, '\0'))
		return 0;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET6, text, out) == 1)
		return 128;
	memcpy(out, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, out + 12) == 1 ? 32 : 0;
}

static bool host_bits_zero(const struct network *net)
{
	for (unsigned i = net->bits; i < 128; i++) {
		if (net->address[i / 8] & (0x80 >> (i % 8)))
			return false;
	}
	return true;
}

bool network_parse(struct str s, struct network *out, struct err *err)
{
	s = str_trim(s);
	struct network net = {0};
	if (str_eq(s, STR("*"))) {
		*out = net;
		return true;
	}
	size_t slash = str_find_last_byte(s, '/');
	struct str address = slash == STR_NPOS ? s : str_sub(s, 0, slash);
	if (address.n >= 2 && address.p[0] == '[' && address.p[address.n - 1] == ']')
		address = str_sub(address, 1, address.n - 2);
	unsigned width = address_parse_text(address, net.address);
	if (width == 0)
		return err_set(err, ERR_SYNTAX, "\"%.*s\" is not an IP address or network",
			       STR_ARG(str_sub(s, 0, 60)));
	uint64_t bits = width;
	if (slash != STR_NPOS && !str_u64(str_from(s, slash + 1), width, &bits))
		return err_set(err, ERR_SYNTAX, "the prefix of \"%.*s\" is not 0-%u",
			       STR_ARG(str_sub(s, 0, 60)), width);
	net.bits = (uint8_t)(bits + 128 - width);
	if (!host_bits_zero(&net))
		return err_set(err, ERR_SYNTAX, "\"%.*s\" has bits set beyond its prefix",
			       STR_ARG(str_sub(s, 0, 60)));
	*out = net;
	return true;
}

static bool network_has(const struct network *net, const uint8_t address[16])
{
	unsigned bytes = net->bits / 8, rest = net->bits % 8;
	if (memcmp(net->address, address, bytes) != 0)
		return false;
	return rest == 0 || ((net->address[bytes] ^ address[bytes]) & (uint8_t)(0xff00 >> rest)) == 0;
}

bool networks_match(const struct networks *set, const struct sockaddr *sa)
{
	uint8_t address[16];
	if (sa->sa_family == AF_INET6) {
		memcpy(address, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	} else if (sa->sa_family == AF_INET) {
		memcpy(address, mapped, sizeof mapped);
		memcpy(address + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	} else {
		return false;
	}
	for (size_t i = 0; i < set->n; i++) {
		if (network_has(&set->v[i], address))
			return true;
	}
	return false;
}
