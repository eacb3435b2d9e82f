/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/findings.h: what `pabal check ...` found: each thing looked at is good, worth a look, or wrong; then
 * why, and what to type next. A list for people, an array for programs; the exit code is 0 when nothing is
 * wrong.
 */
#pragma once
#include "cli/cli.h"

enum finding_state { FINDING_OK, FINDING_WARN, FINDING_FAIL };
struct finding {
	enum finding_state state;
	struct str what; /* "port 25 (smtp)" */
	struct str text; /* what is so, in the user's language */
	struct str next; /* a command, or a sentence; empty: nothing to do */
};
struct findings {
	struct cli *cli;
	struct finding *v;
	size_t n, cap, warnings, failures;
};
void finding_add(struct findings *f, enum finding_state state, struct str what, struct str next,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Prints them; CLI_OK or CLI_NOT_FOUND. */
int findings_print(struct findings *f);
