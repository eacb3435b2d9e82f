/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * cli/log_files.h: a log with those of its files that rotation put aside: NAME.1, NAME.2.gz,
 * NAME-20261124.gz ... The order is that of their first lines.
 */
#pragma once
#include "cli/cli.h"

struct log_files {
	const char **paths; /* oldest first */
	size_t n;
};
/* ERR_NOT_FOUND: not even the log itself is there. */
bool log_files_find(struct arena *a, const char *path, struct log_files *out, struct err *err) MUST_CHECK;

struct log_reader;
bool log_reader_open(const char *path, struct log_reader **out, struct err *err) MUST_CHECK;
void log_reader_close(struct log_reader *r); /* accepts NULL */
/* The next lines, with their newlines (the file's last may lack it), at most about a MiB; valid until the
 * next call. False: the end, or err->kind is set. */
bool log_reader_next(struct log_reader *r, struct str *out_lines, struct err *err);
