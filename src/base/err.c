/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/err.c: formats into the caller's fixed-size value. */
#include "base/err.h"
#include "base/codec.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* No control byte may reach a reply or a log line through here, and no half character. */
static void clean(char *text)
{
	struct str s = str_of(text);

	for (size_t i = 0; i < s.n; i++)
		if (ascii_is((unsigned char)text[i], ASCII_CTL))
			text[i] = ' ';
	for (size_t cut = 1; cut <= 3 && cut <= s.n; cut++) {
		unsigned char c = (unsigned char)text[s.n - cut];
		if (c >= 0xc0) {
			if (!utf8_valid(str_from(s, s.n - cut)))
				text[s.n - cut] = '\0';
			return;
		}
		if (c < 0x80)
			return;
	}
}

static void reset(struct err *err, enum err_kind kind, int sys, const char *where)
{
	while (strncmp(where, "../", 3) == 0)
		where += 3;
	err->kind = kind;
	err->sys = sys;
	err->where = where;
	err->text[0] = err->cause[0] = '\0';
}

bool err_set_at(struct err *err, const char *where, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	reset(err, kind, 0, where);
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	clean(err->text);
	memcpy(err->cause, err->text, sizeof(err->text));
	return false;
}

bool err_sys_at(struct err *err, const char *where, const char *fmt, ...)
{
	int sys = errno;
	const char *name = strerrordesc_np(sys);
	va_list ap;

	reset(err, ERR_IO, sys, where);
	strcpy(err->text, "temporary failure");
	va_start(ap, fmt);
	vsnprintf(err->cause, sizeof(err->cause), fmt, ap);
	va_end(ap);
	clean(err->cause);
	size_t n = strlen(err->cause);
	snprintf(err->cause + n, sizeof(err->cause) - n, ": %s", name ? name : "unknown error");
	errno = sys;
	return false;
}

bool err_cause(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->cause, sizeof(err->cause), fmt, ap);
	va_end(ap);
	clean(err->cause);
	return false;
}

bool err_while(struct err *err, const char *fmt, ...)
{
	static const char word[] = " while ";
	size_t n = strlen(err->cause);
	va_list ap;

	if (n + sizeof(word) >= sizeof(err->cause))
		return false;
	memcpy(err->cause + n, word, sizeof(word));
	n += sizeof(word) - 1;
	va_start(ap, fmt);
	vsnprintf(err->cause + n, sizeof(err->cause) - n, fmt, ap);
	va_end(ap);
	clean(err->cause);
	return false;
}

void err_clear(struct err *err)
{
	*err = (struct err){0};
}

const char *err_kind_name(enum err_kind kind)
{
	switch (kind) {
	case ERR_NONE: return "none";
	case ERR_SYNTAX: return "syntax";
	case ERR_LIMIT: return "limit";
	case ERR_DENIED: return "denied";
	case ERR_NOT_FOUND: return "not_found";
	case ERR_EXISTS: return "exists";
	case ERR_CONFLICT: return "conflict";
	case ERR_QUOTA: return "quota";
	case ERR_TEMP: return "temp";
	case ERR_IO: return "io";
	case ERR_CORRUPT: return "corrupt";
	case ERR_GONE: return "gone";
	}
	return "unknown";
}
