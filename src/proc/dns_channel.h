/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/dns_channel.h: the dns role as a resolver for code that blocks. */
#pragma once
#include "dns/resolver.h"

struct role;

/* For one thread. All its questions together have so long: what comes later is DNS_TIMEOUT at once. A
 * worker that waits is counted as waiting (net_block_begin). */
struct dns_resolver *dns_channel_new(struct role *r, int64_t limit_ms);
