/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/acl.h: rights (RFC 4314 2.1), for cmd_acl.c and LIST. */
#pragma once
#include "imap/imap_int.h"

#define ACL_RIGHTS "lrswipkxtea"
/* "* MYRIGHTS INBOX lrswipkxtea" */
void acl_write_myrights(struct imap *s, struct str mailbox);
