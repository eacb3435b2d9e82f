/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every channel on which auth receives. */
#include "ipc/fuzz_int.h"

FUZZ_ROLE({CHANNEL_MASTER, CHANNEL_CLIENT}, {CHANNEL_LOGIN, CHANNEL_SERVER},
	  {CHANNEL_LOOKUP, CHANNEL_SERVER}, {CHANNEL_TICKET, CHANNEL_CLIENT})
