/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#pragma once
#include "proc/sandbox.h"

/* Each sets what it did in *out. */
bool landlock_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err) MUST_CHECK;
bool seccomp_enter(const struct sandbox *s, struct sandbox_state *out, struct err *err) MUST_CHECK;
