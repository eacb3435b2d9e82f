/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "queue/relay_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED again = {0};
	struct str in = {(const char *)data + 1, size - 1};
	struct err err = {0};
	struct relay_job job;
	struct relay_result result;
	if (data[0] & 1 ? relay_job_decode(in, a, &job, &err) : relay_result_decode(in, a, &result, &err)) {
		if (data[0] & 1)
			relay_job_encode(&again, &job);
		else
			relay_result_encode(&again, &result);
	}
	return 0;
}
