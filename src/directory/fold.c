/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The form in which addresses are stored and looked up. */
#include "directory/directory_int.h"

bool directory_fold_domain(struct arena *a, struct str domain, struct str *out, struct err *err)
{
	return domain_canonical(a, domain, out, err);
}

bool directory_fold(struct arena *a, struct str address, struct address *out, struct err *err)
{
	struct address parsed;
	if (!address_parse(a, address, ADDRESS_UTF8, &parsed, err))
		return false;
	return address_canonical(a, parsed, ADDRESS_FOLD, out, err);
}

bool directory_fold_address(struct arena *a, struct str address, struct str *out, struct err *err)
{
	struct address folded;
	if (!directory_fold(a, address, &folded, err))
		return false;
	*out = address_str(a, folded);
	return true;
}
