/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * explain/pattern.h: the patterns of the table (its head describes them), searched anywhere in a text.
 *
 * No backtracking: a match is computed for all positions of the text at once, as a set of bits, so
 * that it costs at most (elements of the pattern) x (text / 64) steps, whatever text and pattern.
 */
#pragma once
#include "base/err.h"

struct arena;
struct pattern;

enum { PATTERN_LENGTH_MAX = 1000, PATTERN_DEPTH_MAX = 4, PATTERN_GAP_MAX = 500, PATTERN_TEXT_MAX = 2047 };

/* The pattern lives in the arena. */
bool pattern_compile(struct arena *a, struct str source, const struct pattern **out,
		     struct err *err) MUST_CHECK;

/* A text made ready for many patterns: lower case, at most PATTERN_TEXT_MAX octets (the rest is cut). */
struct pattern_text;
const struct pattern_text *pattern_text_new(struct arena *a, struct str text);
bool pattern_match(const struct pattern *p, const struct pattern_text *text);

/* Length of the IPv4 or IPv6 address that s begins with, or 0. */
size_t pattern_ip_length(struct str s);
