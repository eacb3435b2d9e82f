/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/buf.h"
#include "mime/summary.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct summary s, again;
	struct err err;
	BUF_SCOPED b = {0};
	if (!summary_decode((struct str){(const char *)data, size}, &s, &err)) return 0;
	if (!summary_decode_imap((struct str){(const char *)data, size}, &again, &err)) abort();
	if (!str_eq(again.envelope, s.envelope) || !str_eq(again.body, s.body)) abort();
	if (!str_eq(again.bodystructure, s.bodystructure)) abort();
	summary_encode(&b, &s);
	if (!summary_decode(buf_str(&b), &again, &err)) abort();
	if (again.date_unix != s.date_unix || !str_eq(again.envelope, s.envelope)) abort();
	return 0;
}
