/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Parse once, refuse what is ambiguous: several readers would see several authors. */
#include "sender_auth/dmarc/dmarc.h"
#include "base/arena.h"
#include "dns/resolver.h"
#include "mail/header.h"
#include "mime/address_list.h"

bool dmarc_author_domain(struct arena *a, struct str header, struct str *out, struct err *err)
{
	struct header_field from;
	struct address_list list;
	struct str domain = STR_NONE;
	unsigned n = header_count(header, STR("From"));
	if (n != 1 || !header_find(header, STR("From"), &from))
		return err_set(err, ERR_SYNTAX, n ? "the message has more than one From field"
						  : "the message has no From field");
	address_list_parse(a, from.body, &list);
	for (size_t i = 0; i < list.n; i++) {
		struct str one;
		struct err ignored;
		if (list.at[i].kind != ADDRESS_ITEM_MAILBOX)
			continue;
		if (!list.at[i].domain.p || !domain_canonical(a, list.at[i].domain, &one, &ignored) ||
		    !dns_name_valid(one) || one.p[0] == '[')
			return err_set(err, ERR_SYNTAX, "an address in From has no valid domain");
		if (domain.p && !str_eq(domain, one))
			return err_set(err, ERR_SYNTAX, "the addresses in From have different domains");
		domain = one;
	}
	if (!domain.p)
		return err_set(err, ERR_SYNTAX, "there is no address in From");
	*out = domain;
	return true;
}
