/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Certificate and key files, as an administrator may give any file. */
#include "base/arena.h"
#include "crypto/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str pem = {(const char *)data, size};
	struct err err;
	struct cert_facts facts;
	struct key *key;
	size_t need;
	ARENA_SCOPED a = arena_new();
	if (cert_facts(a, pem, &facts, &err) && facts.name_count)
		cert_name_matches(facts.names[0], STR("mail.example.org"));
	if (key_load(pem, STR("passphrase"), &key, &err))
		key_free(key);
	tls_looks_like_hello(pem, &need);
	return 0;
}
