/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/state.h"
#include "base/crc32c.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With a right checksum, so that the fields are reached. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char slot[STATE_SLOT] = "pabalst1", again[STATE_SLOT];
	struct state s;

	if (size > STATE_SLOT - 12)
		size = STATE_SLOT - 12;
	if (size)
		memcpy(slot + 8, data, size);
	uint32_t crc = crc32c(0, slot, STATE_SLOT - 4);
	memcpy(slot + STATE_SLOT - 4, &crc, 4);
	if (!state_decode(slot, &s))
		return 0;
	state_encode(&s, again);
	struct state t;
	if (!state_decode(again, &t) || t.uidnext != s.uidnext || t.modseq != s.modseq)
		abort();
	return 0;
}
