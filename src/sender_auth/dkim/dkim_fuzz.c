/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "dns/table.h"
#include "mail/header.h"
#include "sender_auth/dkim/dkim_int.h"
#include "sender_auth/dkim/verify.h"
#include <stdlib.h>

/* A message whose signatures find the key of RFC 8463: verification ends, and only a pass has no
 * reason. The start of the input is read as a key record too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str message = {(const char *)data, size};
	ARENA_SCOPED a = arena_new();
	struct dns_resolver *r = dns_table_new();
	struct dkim_verdicts got;
	struct dkim_public_key key;
	struct err err;
	if (!dns_table_add(r, STR("brisbane._domainkey.football.example.com"), STR("TXT"),
			   STR("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), &err))
		abort();
	size_t header = header_length(message);
	struct dkim_verify *v = dkim_verify_new(a, str_sub(message, 0, header), NULL);
	dkim_verify_body(v, str_from(message, header));
	dkim_verify_end(v, r, 1528637909, &got);
	dkim_verify_free(v);
	if (got.n > DKIM_REPORTED_MAX || (got.n == 0) != (got.result == DKIM_NONE))
		abort();
	for (size_t i = 0; i < got.n; i++) {
		if ((got.at[i].result == DKIM_PASS) != (got.at[i].reason.n == 0))
			abort();
	}
	(void)!dkim_key_parse(a, message, DKIM_RSA_SHA256, &key, &err);
	(void)!dkim_key_parse(a, message, DKIM_ED25519_SHA256, &key, &err);
	dns_resolver_free(r);
	return 0;
}
