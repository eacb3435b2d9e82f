/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/embed.h: files that the build puts into the program (tools/embed.py).
 *
 * Declare an array where it is read: extern const struct embedded_file directory_migrations[];
 */
#pragma once
#include <stddef.h>

struct embedded_file {
	const char *name; /* without folders; NULL in the last row */
	const char *bytes; /* followed by a NUL byte that size does not count */
	size_t size;
};
