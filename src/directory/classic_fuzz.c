/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The classic setup's files, each of three forms; what was read is expanded for a hostile key: between
 * two quotes of the query no quote of the key stands bare. */
#include "directory/dovecot_sql.h"
#include "directory/postfix_map.h"
#include <assert.h>

static void as_hex(void *ctx, struct str s, struct buf *out)
{
	(void)ctx;
	for (size_t i = 0; i < s.n; i++)
		buf_fmt(out, "%02x", (unsigned char)s.p[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {0};
	struct err err = {0};
	struct postfix_map map;
	struct dovecot_sql sql;
	struct str value;
	if (size == 0 || size > POSTFIX_MAP_FILE_MAX)
		return 0;
	struct str text = {(const char *)data + 1, size - 1};
	switch (data[0] % 3) {
	case 0:
		if (!postfix_map_parse(a, text, &map, &err))
			break;
		assert(map.hosts_n > 0 && map.query.p && map.user && map.password);
		(void)postfix_map_expand(&map, STR("a'b@c.d"), as_hex, NULL, &out);
		postfix_map_add(&map, STR("k@l"), STR("v@w"), out.n, &out);
		break;
	case 1:
		if (!dovecot_sql_parse(a, text, &sql, &err))
			break;
		const struct dovecot_vars v = {.user = STR("a'b@c"), .home = STR("")};
		assert(!sql.password_query.p ||
		       dovecot_expand(sql.password_query, &v, as_hex, NULL, &out, &err));
		break;
	default:
		(void)!postfix_text_find(text, STR("a"), a, &value, &err);
		break;
	}
	return 0;
}
