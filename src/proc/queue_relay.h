/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/queue_relay.h: queue's way to dns and relay, and the routes of the configuration. */
#pragma once
#include "config/config.h"
#include "queue/queue.h"

struct role;
struct queue_dkim;
struct sts;

/* Mail is signed on its way to relay (queue_dkim.h). sts NULL: no MTA-STS. */
struct relay_services relay_services_of(struct role *r, struct queue_dkim *dkim, struct sts *sts);
/* The rows of setting `routes`; passwords are read from their files now, before the sandbox. */
bool relay_routes(const struct config *c, struct arena *a, struct queue_route **out, size_t *out_n,
		  struct err *err) MUST_CHECK;
