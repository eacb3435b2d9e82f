/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The files of a host that is taken over, each in its parser. */
#include "import/dovecot_config.h"
#include "import/mysqldump.h"
#include "import/postfix_config.h"
#include <assert.h>

static void main_cf(struct arena *a, struct str text)
{
	struct postfix_config c;
	struct err err = {0};
	struct str out;
	if (!postfix_config_parse(a, text, &c, &err))
		return;
	for (size_t i = 0; i < c.n && i < 50; i++) {
		if (postfix_config_expand(&c, a, c.v[i].value, &out, &err))
			assert(out.n <= POSTFIX_EXPAND_MAX);
	}
}

static void dump(struct arena *a, struct str text)
{
	struct mysqldump d;
	struct err err = {0};
	if (!mysqldump_parse(a, text, &d, &err))
		return;
	for (size_t i = 0; i < d.n; i++) {
		for (size_t k = 0; k < d.v[i].rows_n; k++) {
			for (size_t c = 0; c < d.v[i].columns_n; c++)
				assert(d.v[i].rows[k][c].n <= text.n);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct err err = {0};
	struct dovecot_config dovecot = {0};
	const struct postfix_service *services;
	size_t n;
	if (size == 0 || size > 65536)
		return 0;
	struct str text = {(const char *)data + 1, size - 1};
	switch (data[0] % 4) {
	case 0: main_cf(a, text); break;
	case 1: (void)!postfix_master_parse(a, text, &services, &n, &err); break;
	case 2: (void)!dovecot_config_parse(a, "/x/dovecot.conf", text, false, 0, &dovecot, &err); break;
	default: dump(a, text); break;
	}
	return 0;
}
