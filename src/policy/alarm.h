/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * policy/alarm.h: when an administrator is to be told that something goes wrong, and that it is over (R85).
 *
 * Figures come in at a steady pace. An alarm is raised when its figure has been at its limit twice in a
 * row, and is over when it has been clearly below (four fifths of it) five times in a row: one alarm and
 * one all-clear, however the figure trembles. Queue process; one thread.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

enum alarm_kind {
	ALARM_QUEUE_AGE,   /* seconds that the oldest mail has waited */
	ALARM_QUEUE_GROWTH,/* messages more than an hour ago */
	ALARM_DEFERRALS,   /* percent of the last hour's attempts that were not taken */
	ALARM_DISK,        /* percent in use */
	ALARM_CERTIFICATE, /* days over which the certificate should still be good, and is not */
	ALARM_RESTARTS,    /* processes started again in the last hour */
	ALARM_COUNT
};
const char *alarm_name(enum alarm_kind kind); /* "queue_age" */

struct alarm_limits {
	int64_t at[ALARM_COUNT]; /* 0: never */
};
struct alarm_figures {
	int64_t now_s;
	uint64_t waiting, oldest_age_s;
	uint64_t attempts, failures;  /* since the process's start */
	unsigned disk_percent;        /* of the fullest file system in use */
	int64_t certificate_until_s;  /* 0: there is none */
	unsigned restarts;            /* in the last hour */
};

enum { ALARM_HISTORY = 60, ALARM_ATTEMPTS_LEAST = 50 };
struct alarm_sample {
	int64_t at_s;
	uint64_t waiting, attempts, failures;
};
struct alarms {
	struct {
		bool on;
		int64_t since_s;
		unsigned at_limit, below; /* times in a row */
	} v[ALARM_COUNT];
	struct alarm_sample history[ALARM_HISTORY]; /* of the last hour, a ring */
	size_t history_n, history_at;
};
/* Calls fn for each alarm that begins or is over; value and limit are in the kind's unit. */
void alarms_judge(struct alarms *a, const struct alarm_limits *limits, const struct alarm_figures *f,
		  void (*fn)(void *ctx, enum alarm_kind kind, bool on, int64_t value, int64_t limit),
		  void *ctx);

/* Those that are on, with their beginnings, to be known after a restart: "queue_age 1795566378\n". What
 * cannot be read is passed over. */
void alarms_save(const struct alarms *a, struct buf *out);
void alarms_load(struct alarms *a, struct str text);
