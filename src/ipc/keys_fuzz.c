/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every channel on which keys receives. */
#include "ipc/fuzz_int.h"

FUZZ_ROLE({CHANNEL_MASTER, CHANNEL_CLIENT}, {CHANNEL_SIGN, CHANNEL_SERVER},
	  {CHANNEL_DKIM, CHANNEL_SERVER})
