/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * directory/control.h: the directory's administration as JSON requests, so that the auth role
 * (over its control socket) and the command line (offline) do exactly the same.
 *
 * A request is one JSON object: {"verb": "account.add", "address": "a@b", ...}. The reply is one
 * object without newline: {"ok": true, ...} or {"ok": false, "kind": "exists", "text": "..."}.
 * Passwords never travel here: only hashes that cli/ or auth/ made. Hashes are never in replies.
 * Verbs: rows of directory/control.def.
 */
#pragma once
#include "base/buf.h"
#include "directory/directory.h"

enum { DIRECTORY_CONTROL_MAX = 1 << 20 }; /* bytes of a request */

/* Always writes a reply. The caller has checked who asks. Returns true when the directory was
 * changed: the caller then tells the caches. */
bool directory_control(struct directory *d, struct str request_json, struct buf *reply_json);
/* True for verbs that directory_control knows. */
bool directory_control_knows(struct str verb);
