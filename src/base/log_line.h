/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/log_line.h: reading what base/log.h wrote: "TIME LEVEL EVENT key=value key="value" ...".
 *
 * Views of the line; nothing is allocated. The line may come from anybody (an edited file, a captured
 * process): whatever it holds, reading ends at its end.
 */
#pragma once
#include "base/buf.h"

struct log_line {
	struct str time, level, event;
	struct str fields; /* the rest, for log_line_next */
};
/* False: there are no three words. */
bool log_line_read(struct str line, struct log_line *out);

struct log_value {
	struct str key;
	struct str raw;   /* as written, without quotes, still escaped */
	bool quoted;
};
/* The next field; *rest begins as log_line.fields. False: there is none. */
bool log_line_next(struct str *rest, struct log_value *out);
/* The first field of that name; raw.p == NULL: none. */
struct log_value log_line_find(const struct log_line *l, struct str key);
/* The value without its escapes. "\xNN" of octets that are no ASCII stay as they are written: they were no
 * UTF-8. */
void log_value_text(struct buf *out, const struct log_value *v);
