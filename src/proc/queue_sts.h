/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/queue_sts.h: MTA-STS policies (RFC 8461) of the domains that mail is sent to: the TXT record by dns,
 * the policy by relay over HTTPS, both cached: in memory, and in spool/mta-sts, a file per domain ("id" LF,
 * when it was fetched LF, the policy), so that a policy outlives a restart and an attacker's silence.
 */
#pragma once
#include "base/err.h"
#include "policy/mta_sts.h"

struct role;
struct sts;

/* Before the sandbox: spool/mta-sts is opened below the spool. */
bool sts_new(struct role *r, int spool_fd, struct sts **out, struct err *err) MUST_CHECK;
/* done is called once, perhaps before this returns; policy NULL: there is none. It is valid during the
 * call. */
typedef void sts_done(void *ctx, const struct mta_sts_policy *policy);
void sts_find(struct sts *s, struct str domain, sts_done *done, void *ctx);
