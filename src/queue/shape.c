/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Token buckets for minute and hour, a concurrency that grows by one per clean round, and pauses that
 * double. The rules are those of common practice: see docs/sending.md.
 */
#include "queue/shape.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/scan.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { CONN_START = 2, FIELDS_MIN = 11 };
static const int64_t second_us = 1000000, minute_us = 60 * 1000000LL, hour_us = 3600 * 1000000LL;

struct row {
	struct row *next;
	struct str group, suffixes, domains; /* lists by commas */
	struct shape_limits limits;
};

struct shapes {
	struct arena *arena;
	struct row *rows, *otherwise;
	struct map *by_name;
	struct shape *all;
};

/* "5m", "1h", "30s" */
static bool duration_us(struct str s, int64_t *out)
{
	uint64_t n;
	if (s.n < 2 || !str_u64(str_sub(s, 0, s.n - 1), 1000000, &n))
		return false;
	switch (s.p[s.n - 1]) {
	case 's': *out = (int64_t)n * second_us; return true;
	case 'm': *out = (int64_t)n * minute_us; return true;
	case 'h': *out = (int64_t)n * hour_us; return true;
	}
	return false;
}

static bool number(struct str s, uint32_t *out)
{
	uint64_t n;
	if (!str_u64(s, 100000000, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool row_parse(struct shapes *s, struct str line, struct row *out)
{
	struct str f[FIELDS_MIN];
	struct str rest = line;
	size_t n = 0;
	while (n < FIELDS_MIN && rest.p)
		f[n++] = str_trim(str_cut(&rest, '\t'));
	if (n < FIELDS_MIN)
		return false;
	*out = (struct row){
		.group = arena_str(s->arena, f[0]),
		.suffixes = arena_lower(s->arena, f[1]),
		.domains = arena_lower(s->arena, f[2]),
	};
	struct shape_limits *l = &out->limits;
	uint32_t warm;
	l->tls_required = str_eq(f[9], STR("require"));
	struct str pause = str_trim(str_cut(&rest, '\t'));
	return out->group.n && number(f[3], &l->max_conn) && number(f[4], &l->msgs_per_conn) &&
	       number(f[5], &l->rcpts_per_msg) && number(f[6], &l->rate_per_min) &&
	       number(f[7], &l->rate_per_hour) && number(f[8], &warm) &&
	       (l->tls_required || str_eq(f[9], STR("may"))) && duration_us(f[10], &l->backoff_421_us) &&
	       duration_us(pause, &l->block_pause_us);
}

bool shapes_new(struct str table, struct shapes **out, struct err *err)
{
	struct shapes *s = mem_new(struct shapes);
	struct row **tail = &s->rows;
	size_t line_no = 0;
	s->arena = arena_new();
	s->by_name = map_new();
	for (struct str rest = table; rest.p;) {
		struct str line = str_cut(&rest, '\n');
		line_no++;
		if (!str_trim(line).n || line.p[0] == '#' || str_starts(line, STR("group\t")))
			continue;
		struct row *r = arena_new_of(s->arena, struct row);
		if (!row_parse(s, line, r)) {
			shapes_free(s);
			return err_set(err, ERR_SYNTAX,
				       "shaping table, line %zu: a field is missing or wrong", line_no);
		}
		if (str_eq(r->group, STR("default"))) {
			s->otherwise = r;
		} else {
			*tail = r;
			tail = &r->next;
		}
	}
	if (!s->otherwise) {
		shapes_free(s);
		return err_set(err, ERR_SYNTAX, "shaping table: there is no row \"default\"");
	}
	*out = s;
	return true;
}

void shapes_free(struct shapes *s)
{
	if (!s)
		return;
	map_free(s->by_name);
	arena_free(s->arena);
	free(s);
}

static bool list_has(struct str list, struct str name, bool suffix)
{
	while (list.p) {
		struct str one = str_trim(str_cut(&list, ','));
		if (one.n && (suffix ? str_ends_nocase(name, one) : str_eq_nocase(name, one)))
			return true;
	}
	return false;
}

static const struct row *row_of(const struct shapes *s, struct str mx, struct str domain)
{
	for (const struct row *r = s->rows; r; r = r->next) {
		if (list_has(r->suffixes, mx, true) || list_has(r->domains, domain, false))
			return r;
	}
	return s->otherwise;
}

static struct shape *shape_named(struct shapes *s, struct str name, const struct row *row)
{
	struct shape *v = map_get(s->by_name, name);
	if (v)
		return v;
	v = arena_new_of(s->arena, struct shape);
	v->name = arena_str(s->arena, name);
	v->limits = row->limits;
	v->conn_now = row->limits.max_conn && row->limits.max_conn < CONN_START ? row->limits.max_conn
										: CONN_START;
	v->rate_factor = 1;
	v->tokens_min = row->limits.rate_per_min;
	v->tokens_hour = row->limits.rate_per_hour;
	v->next = s->all;
	s->all = v;
	map_put(s->by_name, v->name, v);
	return v;
}

struct shape *shape_of(struct shapes *s, struct str best_mx, struct str domain)
{
	const struct row *row = row_of(s, best_mx, domain);
	if (row != s->otherwise)
		return shape_named(s, row->group, row);
	/* Those of no group are grouped by their best host: many domains may share it. */
	BUF_SCOPED name = {0};
	buf_add(&name, STR("default:"));
	buf_add(&name, best_mx.n ? best_mx : domain);
	return shape_named(s, buf_str(&name), row);
}

struct shape *shape_of_route(struct shapes *s, struct str name)
{
	static const struct row route = {.limits = {.max_conn = 20, .rcpts_per_msg = 100}};
	struct row row = route;
	row.limits.backoff_421_us = minute_us;
	row.limits.block_pause_us = 10 * minute_us;
	BUF_SCOPED key = {0};
	buf_add(&key, STR("route:"));
	buf_add(&key, name);
	return shape_named(s, buf_str(&key), &row);
}

struct shape *shape_first(struct shapes *s)
{
	return s->all;
}

/* ---- tokens ------------------------------------------------------------------------------ */

static void refill(double *tokens, uint32_t rate, double factor, int64_t passed_us, int64_t period_us)
{
	/* At most what a tenth of the period gives may pile up (and one): no bursts after a rest. */
	double most = rate * factor / 10 < 1 ? 1 : rate * factor / 10;
	*tokens += rate * factor * (double)passed_us / (double)period_us;
	if (*tokens > most)
		*tokens = most;
}

static void grow(struct shape *s, int64_t now_us)
{
	if (s->rate_factor < 1 && now_us - s->clean_since_us > 15 * minute_us) {
		s->rate_factor = s->rate_factor * 1.5 > 1 ? 1 : s->rate_factor * 1.5;
		s->clean_since_us = now_us;
		if (s->rate_factor == 1) {
			s->hits = 0;
			s->reason[0] = 0;
		}
	}
}

bool shape_may_begin(struct shape *s, int64_t now_us, int64_t *out_wait_us)
{
	*out_wait_us = 0;
	if (now_us < s->paused_until_us) {
		*out_wait_us = s->paused_until_us - now_us;
		return false;
	}
	if (s->limits.max_conn && s->active >= s->conn_now)
		return false;
	grow(s, now_us);
	int64_t passed = s->tokens_at_us && now_us > s->tokens_at_us ? now_us - s->tokens_at_us
			 : s->tokens_at_us                           ? 0
								     : hour_us;
	s->tokens_at_us = now_us;
	if (s->limits.rate_per_min)
		refill(&s->tokens_min, s->limits.rate_per_min, s->rate_factor, passed, minute_us);
	if (s->limits.rate_per_hour)
		refill(&s->tokens_hour, s->limits.rate_per_hour, s->rate_factor, passed, hour_us);
	double wait = 0;
	if (s->limits.rate_per_min && s->tokens_min < 1)
		wait = (1 - s->tokens_min) * (double)minute_us / (s->limits.rate_per_min * s->rate_factor);
	if (s->limits.rate_per_hour && s->tokens_hour < 1) {
		double hour = (1 - s->tokens_hour) * (double)hour_us /
			      (s->limits.rate_per_hour * s->rate_factor);
		wait = hour > wait ? hour : wait;
	}
	*out_wait_us = wait > 0 ? (int64_t)wait + 1 : 0;
	return wait <= 0;
}

void shape_begin(struct shape *s, int64_t now_us)
{
	(void)now_us;
	s->active++;
	s->tokens_min -= 1;
	s->tokens_hour -= 1;
}

static int64_t doubled(int64_t pause, uint32_t hits, int64_t most)
{
	for (uint32_t i = 1; i < hits && pause < most; i++)
		pause *= 2;
	return pause < most ? pause : most;
}

void shape_end(struct shape *s, enum shape_hit hit, struct str reason, int64_t now_us)
{
	s->active -= s->active > 0;
	switch (hit) {
	case SHAPE_OK:
		if (s->conn_now < s->limits.max_conn || !s->limits.max_conn)
			s->conn_now += s->active + 1 >= s->conn_now; /* only when they are used */
		return;
	case SHAPE_NEUTRAL:
		return;
	case SHAPE_SLOW:
		/* Several complaints at once are one; two in an hour are a block. */
		if (s->last_hit_us && now_us - s->last_hit_us < hour_us &&
		    now_us - s->last_hit_us > minute_us)
			s->paused_until_us = now_us + s->limits.block_pause_us;
		s->rate_factor = 0.1;
		s->conn_now = 1;
		break;
	case SHAPE_CLOSED:
		if (now_us >= s->paused_until_us)
			s->paused_until_us =
				now_us + doubled(s->limits.backoff_421_us, ++s->hits, 4 * hour_us);
		s->conn_now = 1;
		break;
	case SHAPE_BLOCKED:
		if (now_us >= s->paused_until_us)
			s->paused_until_us =
				now_us + doubled(s->limits.block_pause_us, ++s->hits, 24 * hour_us);
		s->conn_now = 1;
		s->rate_factor = 0.1;
		break;
	}
	s->last_hit_us = s->clean_since_us = now_us;
	snprintf(s->reason, sizeof s->reason, "%.*s", (int)(reason.n < 150 ? reason.n : 150),
		 reason.p ? reason.p : "");
}

/* ---- state ------------------------------------------------------------------------------- */

/* name TAB paused_until TAB rate_factor*1000 TAB hits TAB last_hit TAB clean_since TAB reason LF */
void shapes_save(struct shapes *s, struct buf *out)
{
	for (struct shape *v = s->all; v; v = v->next) {
		if (v->rate_factor == 1 && !v->hits && !v->paused_until_us)
			continue;
		buf_fmt(out, "%.*s\t%lld\t%d\t%u\t%lld\t%lld\t%s\n", STR_ARG(v->name),
			(long long)v->paused_until_us, (int)(v->rate_factor * 1000), v->hits,
			(long long)v->last_hit_us, (long long)v->clean_since_us, v->reason);
	}
}

void shapes_restore(struct shapes *s, struct str saved)
{
	while (saved.p) {
		struct str rest = str_cut(&saved, '\n');
		struct str name = str_cut(&rest, '\t');
		uint64_t paused, factor, hits, last, clean;
		if (!name.n || !str_u64(str_cut(&rest, '\t'), INT64_MAX, &paused) ||
		    !str_u64(str_cut(&rest, '\t'), 1000, &factor) ||
		    !str_u64(str_cut(&rest, '\t'), 1000, &hits) ||
		    !str_u64(str_cut(&rest, '\t'), INT64_MAX, &last) ||
		    !str_u64(str_cut(&rest, '\t'), INT64_MAX, &clean))
			continue;
		const struct row *row = s->otherwise;
		for (const struct row *r = s->rows; r; r = r->next) {
			if (str_eq(r->group, name))
				row = r;
		}
		struct shape *v = str_starts(name, STR("route:")) ? shape_of_route(s, str_from(name, 6))
								  : shape_named(s, name, row);
		v->paused_until_us = (int64_t)paused;
		v->rate_factor = factor ? (double)factor / 1000 : 0.1;
		v->hits = (uint32_t)hits;
		v->last_hit_us = (int64_t)last;
		v->clean_since_us = (int64_t)clean;
		v->conn_now = 1;
		snprintf(v->reason, sizeof v->reason, "%.*s", (int)(rest.n < 150 ? rest.n : 150),
			 rest.p ? rest.p : "");
	}
}
