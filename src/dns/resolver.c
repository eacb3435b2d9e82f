/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What all back ends share: names that cannot exist never reach them. */
#include "dns/backend.h"
#include "base/arena.h"

const char *dns_status_name(enum dns_status s)
{
	switch (s) {
	case DNS_FOUND:
		return "found";
	case DNS_NODATA:
		return "nodata";
	case DNS_NXDOMAIN:
		return "nxdomain";
	case DNS_BOGUS:
		return "bogus";
	case DNS_SERVFAIL:
		return "servfail";
	case DNS_TIMEOUT:
		return "timeout";
	}
	return "?";
}

static struct str without_final_dot(struct str name)
{
	return str_ends(name, STR(".")) ? str_sub(name, 0, name.n - 1) : name;
}

bool dns_name_valid(struct str name)
{
	struct str rest = without_final_dot(name);
	if (rest.n == 0 || rest.n > DNS_NAME_MAX)
		return false;
	while (rest.p) {
		struct str label = str_cut(&rest, '.');
		if (label.n == 0 || label.n > DNS_LABEL_MAX)
			return false;
	}
	return true;
}

void dns_query(struct dns_resolver *r, struct arena *a, struct str name, enum dns_type type,
	       struct dns_answer *out)
{
	*out = (struct dns_answer){.status = DNS_NXDOMAIN};
	if (!dns_name_valid(name))
		return;
	name = arena_lower(a, without_final_dot(name));
	out->canonical = name;
	r->query(r, a, name, type, out);
}

void dns_resolver_free(struct dns_resolver *r)
{
	if (r)
		r->free(r);
}

struct str dns_reverse_name(struct arena *a, struct str address)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)address.p;
	if (address.n == 4)
		return arena_fmt(a, "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
	char text[64];
	for (size_t i = 0; i < 16; i++) {
		unsigned char byte = i < address.n ? p[address.n - 1 - i] : 0;
		text[i * 4] = hex[byte & 15];
		text[i * 4 + 2] = hex[byte >> 4];
		text[i * 4 + 1] = text[i * 4 + 3] = '.';
	}
	return arena_cat(a, (struct str){text, sizeof text}, STR("ip6.arpa"));
}
