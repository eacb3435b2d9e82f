/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/selfsigned.h: a key and a certificate signed with itself, for the first start of a server.
 */
#pragma once
#include "base/err.h"

struct buf;

enum { SELFSIGNED_DAYS = 3653 }; /* ten years */
/* EC P-256. names: at least one, DNS names (A-labels) or IP addresses as text; the first is the
 * subject's common name too. key_pem is PKCS#8 without passphrase: the caller writes it 0600 and
 * wipes it. ERR_SYNTAX: a name that cannot stand in a certificate. */
bool selfsigned_make(const struct str *names, size_t n, struct buf *key_pem, struct buf *cert_pem,
		     struct err *err) MUST_CHECK;
