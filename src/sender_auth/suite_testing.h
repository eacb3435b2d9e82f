/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sender_auth/suite_testing.h: for unit tests only: published suites, which stand beside the
 * checkout in ../shared/testdata or where PABAL_TESTDATA says, and are no part of the project.
 */
#pragma once
#include "base/testing.h"
#include "base/arena.h"
#include "base/file.h"
#include "dns/table.h"
#include "json/json.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { SUITE_FILE_MAX = 4 << 20 };

/* The whole file, or false after saying so. */
static inline bool suite_read(struct arena *a, const char *name, struct str *out)
{
	const char *dir = getenv("PABAL_TESTDATA");
	struct str path = arena_fmt(a, "%s/%s", dir && *dir ? dir : "../shared/testdata", name);
	BUF_SCOPED content = {0};
	struct err err;
	if (!file_read_whole(AT_FDCWD, arena_cstr(a, path), SUITE_FILE_MAX, &content, &err)) {
		print_message("SKIPPED: %.*s is not there, none of its cases was run\n", STR_ARG(path));
		return false;
	}
	*out = arena_str(a, buf_str(&content));
	return true;
}

static inline struct json_doc *suite_json(struct arena *a, const char *name)
{
	struct str text;
	struct json_doc *doc = NULL;
	struct err err;
	if (!suite_read(a, name, &text))
		return NULL;
	if (!json_doc_parse(text, SUITE_FILE_MAX, &doc, &err))
		fail_msg("%s: %s", name, err.text);
	return doc;
}

static inline struct str suite_str(const struct json_value *object, const char *member)
{
	return json_value_str_or(json_value_member(object, member), STR(""));
}

static inline struct dns_resolver *suite_zone(const struct json_value *zone)
{
	struct dns_resolver *r = dns_table_new();
	struct err err;
	if (!dns_table_add_json(r, zone, &err))
		fail_msg("zone: %s", err.text);
	return r;
}

/* How a suite went; the last line of each. */
struct suite {
	const char *name;
	struct arena *a;
	unsigned passed, failed;
};
static inline void suite_result(struct suite *s, struct str name, bool right, struct str got, struct str want)
{
	s->passed += right;
	s->failed += !right;
	if (!right)
		print_error("%s: %.*s: got \"%.*s\", wanted \"%.*s\"\n", s->name, STR_ARG(name), STR_ARG(got),
			    STR_ARG(want));
}
static inline void suite_end(const struct suite *s)
{
	print_message("%s: %u of %u cases pass\n", s->name, s->passed, s->passed + s->failed);
	assert_int_equal(s->failed, 0);
}
