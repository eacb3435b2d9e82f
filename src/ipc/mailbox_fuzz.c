/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every channel on which mailbox receives. */
#include "ipc/fuzz_int.h"

FUZZ_ROLE({CHANNEL_MASTER, CHANNEL_CLIENT},
	  {CHANNEL_TICKET, CHANNEL_SERVER}, {CHANNEL_HANDOVER, CHANNEL_SERVER},
	  {CHANNEL_STORE, CHANNEL_CLIENT}, {CHANNEL_STORE, CHANNEL_SERVER})
