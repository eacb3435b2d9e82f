/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/envelope.h"
#include "mail/trace.h"
#include "base/arena.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct envelope e, again;
	struct err err;
	BUF_SCOPED b = {0}, line = {0};
	if (!envelope_decode((struct str){(const char *)data, size}, a, &e, &err)) return 0;
	envelope_encode(&b, &e);
	if (!envelope_decode(buf_str(&b), a, &again, &err) || again.rcpt_n != e.rcpt_n) abort();
	trace_received(&line, &e, STR("x"), 0);
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] == '\n' && i + 1 < line.n && line.p[i + 1] != '\t') abort();
	return 0;
}
