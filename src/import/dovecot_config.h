/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * import/dovecot_config.h: Dovecot 2.x's dovecot.conf with what it includes, for the takeover of a host.
 * Sections become paths: "ssl", "passdb/args", "service lmtp/unix_listener /run/x/mode".
 * Read only, by the command line; strings live in the arena.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

enum { DOVECOT_FILES_MAX = 200, DOVECOT_DEPTH_MAX = 10, DOVECOT_SETTINGS_MAX = 10000,
       DOVECOT_FILE_MAX = 1 << 20 };

struct dovecot_setting {
	const char *file;
	unsigned line;
	unsigned section; /* number of the outermost section: tells one passdb from the next; 0: none */
	struct str path, value;
};
struct dovecot_config {
	const struct dovecot_setting *v;
	size_t n, cap;
	unsigned sections, files;
};
/* Reads the file and, by their patterns, those that it includes; !include_try ones may be missing. */
bool dovecot_config_read(struct arena *a, const char *path, struct dovecot_config *out,
			 struct err *err) MUST_CHECK;
/* One text; follow: whether includes are read (false: passed over). Appends to out. */
bool dovecot_config_parse(struct arena *a, const char *file, struct str text, bool follow, unsigned depth,
			  struct dovecot_config *out, struct err *err) MUST_CHECK;
/* The last value of a path; p NULL when it is not set. */
const struct dovecot_setting *dovecot_config_find(const struct dovecot_config *c, struct str path);
struct str dovecot_config_get(const struct dovecot_config *c, struct str path);
