/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "policy/alarm.h"

enum { RAISE_TIMES = 2, CLEAR_TIMES = 5, HOUR_S = 3600, DAY_S = 86400 };

static const char *const names[ALARM_COUNT] = {
	[ALARM_QUEUE_AGE] = "queue_age",     [ALARM_QUEUE_GROWTH] = "queue_growth",
	[ALARM_DEFERRALS] = "deferrals",     [ALARM_DISK] = "disk",
	[ALARM_CERTIFICATE] = "certificate", [ALARM_RESTARTS] = "restarts",
};

const char *alarm_name(enum alarm_kind kind)
{
	return names[kind];
}

/* One a minute at most, so that the ring is an hour long whatever the pace. */
static void remember(struct alarms *a, const struct alarm_figures *f)
{
	const struct alarm_sample *last =
		a->history_n ? &a->history[(a->history_at + ALARM_HISTORY - 1) % ALARM_HISTORY] : NULL;
	if (last && f->now_s >= last->at_s && f->now_s - last->at_s < HOUR_S / ALARM_HISTORY)
		return;
	a->history[a->history_at] = (struct alarm_sample){f->now_s, f->waiting, f->attempts, f->failures};
	a->history_at = (a->history_at + 1) % ALARM_HISTORY;
	if (a->history_n < ALARM_HISTORY)
		a->history_n++;
}

/* The oldest one of the last hour; the process may be younger. */
static const struct alarm_sample *hour_ago(const struct alarms *a, int64_t now_s)
{
	const struct alarm_sample *oldest = NULL;
	for (size_t i = 0; i < a->history_n; i++) {
		const struct alarm_sample *s = &a->history[i];
		if (s->at_s <= now_s && now_s - s->at_s <= HOUR_S && (!oldest || s->at_s < oldest->at_s))
			oldest = s;
	}
	return oldest;
}

static int64_t growth(const struct alarms *a, const struct alarm_figures *f)
{
	const struct alarm_sample *then = hour_ago(a, f->now_s);
	return then && f->waiting > then->waiting ? (int64_t)(f->waiting - then->waiting) : 0;
}

/* A few failures among few attempts say nothing. */
static int64_t deferrals(const struct alarms *a, const struct alarm_figures *f)
{
	const struct alarm_sample *then = hour_ago(a, f->now_s);
	if (!then || f->attempts < then->attempts || f->failures < then->failures ||
	    f->attempts - then->attempts < ALARM_ATTEMPTS_LEAST)
		return 0;
	return (int64_t)((f->failures - then->failures) * 100 / (f->attempts - then->attempts));
}

/* How many of the wanted days are missing: counts up to the limit as the others do. */
static int64_t days_missing(const struct alarm_figures *f, int64_t wanted)
{
	int64_t left = (f->certificate_until_s - f->now_s) / DAY_S;
	if (!f->certificate_until_s || left >= wanted)
		return 0;
	return wanted;
}

static int64_t value_of(const struct alarms *a, enum alarm_kind kind, const struct alarm_figures *f,
			int64_t limit)
{
	switch (kind) {
	case ALARM_QUEUE_AGE: return (int64_t)f->oldest_age_s;
	case ALARM_QUEUE_GROWTH: return growth(a, f);
	case ALARM_DEFERRALS: return deferrals(a, f);
	case ALARM_DISK: return f->disk_percent;
	case ALARM_CERTIFICATE: return days_missing(f, limit);
	case ALARM_RESTARTS: return f->restarts;
	case ALARM_COUNT: break;
	}
	return 0;
}

/* Of a disk four fifths would be too far. */
static bool is_below(enum alarm_kind kind, int64_t value, int64_t limit)
{
	return kind == ALARM_DISK ? value <= limit - 3 : value * 5 <= limit * 4;
}

/* What people are told: of a certificate the days it is still good. */
static int64_t shown(enum alarm_kind kind, int64_t value, const struct alarm_figures *f)
{
	return kind == ALARM_CERTIFICATE && f->certificate_until_s
		       ? (f->certificate_until_s - f->now_s) / DAY_S
		       : value;
}

void alarms_judge(struct alarms *a, const struct alarm_limits *limits, const struct alarm_figures *f,
		  void (*fn)(void *ctx, enum alarm_kind kind, bool on, int64_t value, int64_t limit),
		  void *ctx)
{
	for (int k = 0; k < ALARM_COUNT; k++) {
		enum alarm_kind kind = (enum alarm_kind)k;
		int64_t limit = limits->at[k], value = limit > 0 ? value_of(a, kind, f, limit) : 0;
		bool high = limit > 0 && value >= limit, low = limit <= 0 || is_below(kind, value, limit);
		a->v[k].at_limit = high ? a->v[k].at_limit + 1 : 0;
		a->v[k].below = low ? a->v[k].below + 1 : 0;
		if (!a->v[k].on && a->v[k].at_limit >= RAISE_TIMES) {
			a->v[k].on = true;
			a->v[k].since_s = f->now_s;
			fn(ctx, kind, true, shown(kind, value, f), limit);
		} else if (a->v[k].on && a->v[k].below >= CLEAR_TIMES) {
			a->v[k].on = false;
			fn(ctx, kind, false, shown(kind, value, f), limit);
		}
	}
	remember(a, f);
}

void alarms_save(const struct alarms *a, struct buf *out)
{
	for (int k = 0; k < ALARM_COUNT; k++)
		if (a->v[k].on)
			buf_fmt(out, "%s %lld\n", names[k], (long long)a->v[k].since_s);
}

void alarms_load(struct alarms *a, struct str text)
{
	while (text.n) {
		struct str rest = str_cut(&text, '\n'), name = str_cut(&rest, ' ');
		uint64_t since;
		for (int k = 0; k < ALARM_COUNT; k++)
			if (str_eq(name, str_of(names[k])) && str_u64(rest, INT64_MAX, &since)) {
				a->v[k].on = true;
				a->v[k].since_s = (int64_t)since;
			}
	}
}
