/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * audit/act.h: what an administrator asks of a role ({"verb": "account.set", "address": ...}) as an audit
 * line:
 *
 *   ... audit admin.act ... user_id=0 pid=12 command="account.set" value="address=a@b, enabled=false"
 *
 * Written before it is done; a refusal follows as admin.refused. Verbs that only look are not recorded.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

struct audit_act {
	struct str verb;
	struct str details; /* members of the request; secrets are "(set)" */
};
/* False: the request changes nothing, or is none. */
bool audit_act_read(struct arena *a, struct str request_json, struct audit_act *out);
/* By log_audit: of a process with a log role. */
void audit_act_log(const struct audit_act *act, uint32_t uid, int32_t pid);
/* The reply's {"ok": false, "text": ...}; nothing when it was done. */
void audit_act_log_refused(const struct audit_act *act, uint32_t uid, int32_t pid, struct str reply_json);
/* The same line for audit_add, of a process that has none. */
void audit_act_line(struct buf *out, const struct audit_act *act, struct str role, uint32_t uid, int32_t pid);
