/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/testing.h: for unit tests only: cmocka with what it needs before it, and comparisons that
 * show both sides.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/str.h"

/* "name" says which case of a table it is. */
static inline void assert_str_at(const char *file, int line, const char *name, struct str got,
				 struct str want)
{
	if (str_eq(got, want))
		return;
	print_error("%s: got \"%.*s\" (%zu), wanted \"%.*s\" (%zu)\n", name, STR_ARG(got), got.n,
		    STR_ARG(want), want.n);
	_fail(file, line);
}
/* The last argument may hold commas: (struct str){p, n}. */
#define assert_str(name, got, ...) assert_str_at(__FILE__, __LINE__, (name), (got), (__VA_ARGS__))

/* A condition of one case. */
static inline void assert_case_at(const char *file, int line, const char *name, const char *what,
				  bool holds)
{
	if (holds)
		return;
	print_error("%s: %s does not hold\n", name, what);
	_fail(file, line);
}
#define assert_case(name, condition) assert_case_at(__FILE__, __LINE__, (name), #condition, (condition))

#define RUN_TESTS(tests) cmocka_run_group_tests((tests), NULL, NULL)
