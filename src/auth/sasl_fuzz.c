/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A hostile client: the first byte chooses the mechanism, the rest are responses divided by 0xFE, and
 * auth answers as it would. Nobody may get in: the verifier is of a random password. */
#include "auth/sasl.h"
#include "auth/scram.h"
#include <stdlib.h>

static enum sasl_step answer(struct sasl *s, enum sasl_step step, struct err *err)
{
	struct scram_verifier v;
	if (step == SASL_NEED_VERDICT)
		return sasl_verdict(s, false, err);
	if (step != SASL_NEED_CREDENTIALS)
		return step;
	scram_verifier_fake((enum scram_hash)sasl_scram_hash(s), STR("secret"), sasl_user(s), 4096, &v);
	return sasl_credentials(s, &v, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct err err;
	struct sasl *s;
	struct str rest = {(const char *)data + 1, size - 1};
	struct sasl_start start = {
		.mechanism = str_of(
			sasl_mechanism_name((enum sasl_mechanism)(data[0] % SASL_MECHANISM_COUNT))),
		.has_initial = (data[0] & 0x40) != 0,
		.plus_offered = (data[0] & 0x80) != 0,
		.binding_exporter = STR("exporter"),
		.nonce = STR("nonce"),
	};
	if (start.has_initial)
		start.initial = str_cut(&rest, (char)0xfe);
	enum sasl_step step = sasl_begin(&start, &s, &err);
	step = answer(s, step, &err);
	while (step == SASL_CHALLENGE && rest.p) {
		step = sasl_step(s, str_cut(&rest, (char)0xfe), &err);
		step = answer(s, step, &err);
	}
	if (step == SASL_SUCCESS)
		abort();
	sasl_free(s);
	return 0;
}
