/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What queue reads back: the first byte says which record it is. */
#include "queue/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	ARENA_SCOPED a = arena_new();
	struct str in = {(const char *)data + 1, size - 1};
	struct err err = {0};
	struct envelope e;
	struct id id;
	struct str content;
	struct plan p;
	struct ended_record ended;
	BUF_SCOPED again = {0};
	struct scan s = scan_of(in);
	struct attempt attempt;
	switch (data[0] % 4) {
	case 0:
		(void)message_record_id(in, &id);
		if (message_record_split(in, a, &e, &content, &err))
			message_record_head(&again, &e);
		break;
	case 1:
		if (plan_decode(in, a, &p, &err)) {
			plan_encode(&again, &p);
			if (!str_eq(buf_str(&again), in))
				abort();
		}
		break;
	case 2:
		while (attempt_decode(&s, &attempt))
			attempt_encode(&again, &attempt);
		if (!str_eq(buf_str(&again), str_sub(in, 0, in.n - scan_left(&s))))
			abort();
		break;
	default:
		if (ended_decode(in, &ended)) {
			ended_encode(&again, &ended);
			if (!str_eq(buf_str(&again), in))
				abort();
		}
	}
	return 0;
}
