/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* queue/relay_wire.h: jobs and results of queue/relay.h as bytes between queue and relay. Decoding
 * treats them as hostile; strings are views of the input, arrays live in the arena. */
#pragma once
#include "base/buf.h"
#include "queue/relay.h"

/* Content is not in it: it travels beside. */
void relay_job_encode(struct buf *out, const struct relay_job *job);
bool relay_job_decode(struct str in, struct arena *a, struct relay_job *out, struct err *err) MUST_CHECK;
void relay_result_encode(struct buf *out, const struct relay_result *r);
bool relay_result_decode(struct str in, struct arena *a, struct relay_result *out,
			 struct err *err) MUST_CHECK;
