/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every channel on which queue receives. */
#include "ipc/fuzz_int.h"

FUZZ_ROLE({CHANNEL_MASTER, CHANNEL_CLIENT}, {CHANNEL_LOOKUP, CHANNEL_CLIENT},
	  {CHANNEL_ACCEPTED, CHANNEL_SERVER}, {CHANNEL_STORE, CHANNEL_CLIENT},
	  {CHANNEL_STORE, CHANNEL_SERVER}, {CHANNEL_DKIM, CHANNEL_CLIENT})
