/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * policy/mta_sts.h: MTA-STS (RFC 8461): the TXT record, the policy, and hosts against it. Pure; who
 * fetches and caches is somebody else.
 */
#pragma once
#include "base/err.h"

struct arena;

enum {
	MTA_STS_ID_MAX = 32, MTA_STS_RECORD_MAX = 4096, MTA_STS_POLICY_MAX = 65536, /* 3.2: 64 KiB */
	MTA_STS_MX_MAX = 1000, MTA_STS_MAX_AGE = 31557600,
};

/* sts-text-record (3.1) of _mta-sts.<domain>; *out_id is a view. ERR_SYNTAX. */
bool mta_sts_record_parse(struct str text, struct str *out_id, struct err *err) MUST_CHECK;
/* Begins with "v=STSv1;": several such records count as none (3.1). */
bool mta_sts_is_record(struct str text);

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };
const char *mta_sts_mode_name(enum mta_sts_mode mode);

struct mta_sts_policy {
	enum mta_sts_mode mode;
	uint32_t max_age_s;    /* at most MTA_STS_MAX_AGE */
	const struct str *mx;  /* patterns in lower case: "mx.example.com", "*.example.com" */
	size_t mx_n;           /* at least 1 unless MTA_STS_NONE */
};
/* sts-policy-record (3.2). ERR_SYNTAX, ERR_LIMIT. */
bool mta_sts_policy_parse(struct arena *a, struct str text, struct mta_sts_policy *out,
			  struct err *err) MUST_CHECK;
/* 4.1: A-labels, any case, a final dot is nothing. "*" stands for exactly one label. */
bool mta_sts_policy_has(const struct mta_sts_policy *p, struct str host);
