/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* OpenSSL's error queue into struct err: the newest reason says what failed, and texts attached
 * anywhere in the queue say why (the provider puts the answer of keys there). */
#include "crypto/crypto_int.h"
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

bool crypto_err_at(struct err *err, const char *where, enum err_kind kind, const char *fmt, ...)
{
	char text[sizeof err->text], reason[160] = "", detail[120] = "";
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	unsigned long code;
	const char *data;
	int flags;
	while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
		ERR_error_string_n(code, reason, sizeof reason);
		if ((flags & ERR_TXT_STRING) && data && data[0])
			snprintf(detail, sizeof detail, " (%s)", data);
	}
	err_set_at(err, where, kind, "%s", text);
	if (reason[0])
		err_cause(err, "%s: %s%s", text, reason, detail);
	return false;
}
