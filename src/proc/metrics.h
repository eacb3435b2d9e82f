/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/metrics.h: figures for a monitoring system (R87), as OpenMetrics text over HTTP: GET /metrics on the
 * listener "metrics", in the login role, which has nothing worth taking.
 *
 * What is told is what the master knows of all roles (`pabal status --json`); it is asked at most once a
 * second, however often somebody scrapes.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

struct json_value;
struct message;
struct metrics;
struct protocol;
struct role;

/* The status as OpenMetrics 1.0 text. Roles' words are hostile: only numbers and escaped labels go out. */
void metrics_write(const struct json_value *status, struct buf *out);

/* What a request's head asks for (RFC 9112 3): HTTP/1.0 or 1.1, GET or HEAD. */
enum metrics_request {
	METRICS_MORE,      /* the head is not whole */
	METRICS_GET, METRICS_HEAD, METRICS_NOT_FOUND, METRICS_BAD_METHOD, METRICS_BAD, METRICS_TOO_LARGE,
};
enum { METRICS_HEAD_MAX = 8192 };
enum metrics_request metrics_request_read(struct str in);

/* The listener's protocol; its owner is a struct metrics. */
extern const struct protocol metrics_protocol;
struct metrics *metrics_new(struct role *r); /* for the process's life */
/* status_told of the master. */
void metrics_on_master(struct metrics *m, struct message *msg);
