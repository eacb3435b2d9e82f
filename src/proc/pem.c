/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/keys_int.h"

#define MARK STR("# chain\n")

void pem_chain_add(struct buf *out, struct str pem)
{
	buf_add(out, MARK);
	buf_add(out, pem);
	if (pem.n && pem.p[pem.n - 1] != '\n')
		buf_byte(out, '\n');
}

bool pem_chain_next(struct str *rest, struct str *out)
{
	if (!str_starts(*rest, MARK))
		return false;
	struct str body = str_from(*rest, MARK.n);
	size_t next = str_find(body, MARK);
	*out = next == STR_NPOS ? body : str_sub(body, 0, next);
	*rest = next == STR_NPOS ? STR_NONE : str_from(body, next);
	return true;
}
