/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/keys_int.h: the parts of the keys role that its test plays with. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "ipc/messages.h"

struct role;
struct peer;
struct keys_role;
void *keys_create(struct role *r);
void keys_free(struct keys_role *k); /* the role itself lives as long as its process */
/* All keys, each preceded by a line "# chain". */
bool keys_load(struct keys_role *k, struct str pems, uint32_t generation, struct err *err) MUST_CHECK;
bool keys_sign(struct keys_role *k, struct peer *p, const struct msg_sign *m, struct buf *sig,
	       struct err *err) MUST_CHECK;
void keys_credit(struct keys_role *k, struct peer *p, uint32_t connections);

/* proc/pem.c: files in one buffer, each preceded by a line "# chain". */
void pem_chain_add(struct buf *out, struct str pem);
bool pem_chain_next(struct str *rest, struct str *out);
