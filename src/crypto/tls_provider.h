/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * crypto/tls_provider.h: an OpenSSL provider whose private keys are elsewhere (PROCESSES C1).
 *
 * Run by the doors. Private-key operations of the handshake leave through one callback, with the
 * text to be signed, never a bare digest. EC P-256 and P-384, RSA (PSS and PKCS #1 v1.5), Ed25519;
 * TLS 1.2 and 1.3. The object carries its own OpenSSL library context, so nothing else in the process
 * changes.
 */
#pragma once
#include "crypto/key.h"

/* Called on the thread that runs the handshake; may block (the caller's deadline: 2 s). On false
 * the handshake ends with internal_error. Called from several threads at once. */
typedef bool tls_sign_fn(void *ctx, const unsigned char key_id[KEY_ID_SIZE], enum sign_form form,
			 const void *text, size_t n, struct buf *sig, struct err *err);

struct tls_provider;
/* sign and ctx must live until the last context made with it is freed. */
bool tls_provider_new(tls_sign_fn *sign, void *ctx, struct tls_provider **out, struct err *err) MUST_CHECK;
struct tls_provider *tls_provider_ref(struct tls_provider *p);
void tls_provider_unref(struct tls_provider *p); /* accepts NULL */
