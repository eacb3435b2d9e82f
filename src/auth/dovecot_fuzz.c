/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/dovecot.h"
#include "base/secret.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = {(const char *)data, size};
	BUF_SCOPED field = {0};
	while (rest.p) {
		struct dovecot_request r;
		struct err err = {0};
		struct str line = str_cut(&rest, '\n');
		if (dovecot_request_parse(line, &r, &err))
			assert(r.verb != DOVECOT_AUTH || (r.mechanism.n > 0 && r.mechanism.n <= 32));
		else
			assert(err.kind == ERR_SYNTAX);
		dovecot_request_free(&r);
		buf_clear(&field);
		dovecot_escape(&field, line);
		assert(!field.n ||
		       (!str_has_byte(buf_str(&field), '\t') && !str_has_byte(buf_str(&field), '\n')));
	}
	return 0;
}
