/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every channel on which smtp receives. */
#include "ipc/fuzz_int.h"

FUZZ_ROLE({CHANNEL_MASTER, CHANNEL_CLIENT}, {CHANNEL_DNS, CHANNEL_CLIENT}, {CHANNEL_LOGIN, CHANNEL_CLIENT},
	  {CHANNEL_LOOKUP, CHANNEL_CLIENT}, {CHANNEL_SIGN, CHANNEL_CLIENT},
	  {CHANNEL_ACCEPTED, CHANNEL_CLIENT})
