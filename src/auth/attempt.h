/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * auth/attempt.h: one session's authentication attempt: the callbacks of struct auth_client,
 * turned into an answer that a parked session finds when it is woken.
 */
#pragma once
#include "auth/client.h"

struct attempt;
struct attempt *attempt_new(struct conn *c, const struct auth_client *auth);
void attempt_free(struct attempt *a); /* cancels; an answer still under way finds nobody; accepts NULL */
void attempt_begin(struct attempt *a, struct str mechanism, const struct str *initial);
struct auth_origin;
void attempt_begin_for(struct attempt *a, const struct auth_origin *origin, struct str mechanism,
		       const struct str *initial);
void attempt_step(struct attempt *a, struct str response);
/* Has it come? Strings in *out live until the next begin, step or free. */
bool attempt_answer(struct attempt *a, struct auth_result *out);
