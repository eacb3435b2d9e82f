/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Stored hashes may come from a foreign database. Only cheap kinds are hashed, or the fuzzer would do
 * little else. */
#include "auth/password.h"
#include "auth/scram.h"
#include "base/buf.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str stored = {(const char *)data, size};
	struct err err;
	BUF_SCOPED out = {0};
	struct scram_verifier v;
	const char *scheme = password_scheme(stored);
	password_is_weak(stored);
	password_plain(stored, &out);
	if (scram_verifier_parse(stored, &v, &err))
		scram_verifier_format(&v, &out);
	bool costly = scheme && (strstr(scheme, "CRYPT") || strstr(scheme, "ARGON2") ||
				 strstr(scheme, "PBKDF2") || strstr(scheme, "SCRAM"));
	enum password_check check = costly ? PASSWORD_MISMATCH : password_verify(stored, STR("x"), &err);
	(void)check;
	buf_clear(&out);
	bool prepared = saslprep(stored, (size & 1) != 0, &out, &err);
	(void)prepared;
	return 0;
}
