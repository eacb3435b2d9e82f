/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/codec.h"
#include "mime/words.h"
#include <stdlib.h>

/* What is accepted encodes to itself; what is encoded is accepted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	BUF_SCOPED utf8 = {0}, wire = {0}, again = {0};
	if (mutf7_decode(&utf8, in)) {
		if (!utf8_valid(buf_str(&utf8))) abort();
		if (!mutf7_encode(&wire, buf_str(&utf8)) || !str_eq(buf_str(&wire), in)) abort();
	}
	buf_clear(&wire);
	if (!mutf7_encode(&wire, in)) return utf8_valid(in) ? abort(), 0 : 0;
	if (!mutf7_decode(&again, buf_str(&wire)) || !str_eq(buf_str(&again), in)) abort();
	return 0;
}
