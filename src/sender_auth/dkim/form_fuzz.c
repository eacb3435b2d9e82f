/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Whatever is taken for a form ends in its DKIM-Signature, with views of the text alone. */
#include "base/arena.h"
#include "sender_auth/dkim/form.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str s, struct str text)
{
	if (s.n && (s.p < text.p || s.p + s.n > text.p + text.n))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct str text = {(const char *)data, size};
	struct dkim_form form;
	struct err err = {0};
	if (!dkim_form_check(a, text, 1790000000, &form, &err)) {
		if (err.kind != ERR_DENIED)
			abort();
		return 0;
	}
	inside(form.domain, text);
	inside(form.selector, text);
	inside(form.from, text);
	if (!form.domain.n || !form.selector.n || (!form.from_n && form.kind != DKIM_FORM_ARC_SEAL))
		abort();
	if (form.kind == DKIM_FORM_MAIL &&
	    (!str_ends(text, STR("b=")) || str_find(text, STR("dkim-signature:")) == STR_NPOS))
		abort();
	return 0;
}
