/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/log.c: a line is formatted in one buffer on the stack and leaves by a copy to the ring, or by one
 * system call.
 *
 * Values are always in quotes and escaped (\" \\ \n \r \t \xNN, bytes that are no UTF-8 and C1
 * controls included), names of sessions, messages and roles without quotes where they are plain.
 * What does not fit the buffer is cut, never wrapped.
 */
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/log_ring.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = LOG_LINE_MAX,
	VALUE_MAX = 1024, /* bytes of a value that are shown */
	SID_MAX = 40,
	ACCOUNT_MAX = 256,
	ROLE_MAX = 24,
	AUDIT_WAIT_MS = 30000,
};

static const char *const key_names[LOG_KEY_COUNT] = {
#define LOG_KEY(name, help) [LOG_KEY_##name] = #name,
#include "base/log_keys.def"
#undef LOG_KEY
};

static const char *const level_names[] = {
	[LOG_AUDIT + 1] = "audit", [LOG_ERROR + 1] = "error", [LOG_WARN + 1] = "warn",
	[LOG_INFO + 1] = "info", [LOG_DEBUG + 1] = "debug",
};

/* The process's log: set at start and by reload. */
static _Atomic int least_level = LOG_INFO;
static _Atomic int target_fd = -1;
static struct log_ring *_Atomic target_ring;
static _Atomic uint64_t lost_lines;
static char process_role[ROLE_MAX];

static __thread struct {
	char sid[SID_MAX], qid[SID_MAX], account[ACCOUNT_MAX];
	unsigned char sid_n, qid_n;
	unsigned short account_n;
} context;

struct line {
	char p[LINE_MAX_BYTES];
	size_t n; /* at most LINE_MAX_BYTES - 1: room for the newline */
};

static void put(struct line *l, const char *p, size_t n)
{
	size_t room = LINE_MAX_BYTES - 1 - l->n;

	if (n > room)
		n = room;
	if (n)
		memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void put_cstr(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static void put_padded(struct line *l, uint64_t v, int width)
{
	char digits[20];

	for (int i = width; i-- > 0; v /= 10)
		digits[i] = (char)('0' + v % 10);
	put(l, digits, (size_t)width);
}

static void put_int(struct line *l, int64_t i)
{
	char digits[21];
	size_t at = sizeof(digits);
	uint64_t v = i < 0 ? -(uint64_t)i : (uint64_t)i;

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	if (i < 0)
		digits[--at] = '-';
	put(l, digits + at, sizeof(digits) - at);
}

/* The civil date of a day number, counted in years that begin in March. */
static void put_date(struct line *l, int64_t days)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;

	put_padded(l, (uint64_t)((int64_t)yoe + era * 400 + (month <= 2)), 4);
	put(l, "-", 1);
	put_padded(l, month, 2);
	put(l, "-", 1);
	put_padded(l, doy - (153 * mp + 2) / 5 + 1, 2);
}

static void put_time(struct line *l, int64_t wall_us)
{
	int64_t us = wall_us < 0 ? 0 : wall_us;
	int64_t day = us / INT64_C(86400000000), of_day = us % INT64_C(86400000000);

	put_date(l, day);
	put(l, "T", 1);
	put_padded(l, (uint64_t)(of_day / INT64_C(3600000000)), 2);
	put(l, ":", 1);
	put_padded(l, (uint64_t)(of_day / 60000000 % 60), 2);
	put(l, ":", 1);
	put_padded(l, (uint64_t)(of_day / 1000000 % 60), 2);
	put(l, ".", 1);
	put_padded(l, (uint64_t)(of_day % 1000000), 6);
	put(l, "Z", 1);
}

static bool is_plain(struct str s)
{
	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is((unsigned char)s.p[i], ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT) &&
		    !str_has_byte(STR("-_."), s.p[i]))
			return false;
	return true;
}

static void put_escape(struct line *l, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
	const char *known = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" :
			    c == '"' ? "\\\"" : c == '\\' ? "\\\\" : NULL;

	put(l, known ? known : text, known ? 2 : 4);
}

/* How many bytes at the front can stand as they are: 0 or one character. */
static size_t printable(struct str s)
{
	uint32_t cp;
	size_t n = utf8_decode(s, &cp);

	/* U+2028 and U+2029 break lines in some viewers */
	if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == '"' || cp == '\\' ||
	    cp == 0x2028 || cp == 0x2029)
		return 0;
	return n;
}

static void put_quoted(struct line *l, struct str s)
{
	bool cut = s.n > VALUE_MAX;

	if (cut)
		s.n = VALUE_MAX;
	put(l, "\"", 1);
	while (s.n) {
		size_t plain = 0, n;
		while (plain < s.n && (n = printable(str_from(s, plain))))
			plain += n;
		put(l, s.p, plain);
		s = str_from(s, plain);
		if (s.n) {
			put_escape(l, (unsigned char)s.p[0]);
			s = str_from(s, 1);
		}
	}
	if (cut)
		put(l, "...", 3);
	put(l, "\"", 1);
}

static void put_name(struct line *l, const char *name)
{
	put(l, " ", 1);
	put_cstr(l, name);
	put(l, "=", 1);
}

static void put_plain(struct line *l, const char *name, struct str value)
{
	put_name(l, name);
	if (is_plain(value))
		put(l, value.p, value.n);
	else
		put_quoted(l, value);
}

static void put_field(struct line *l, const struct log_field *f)
{
	const char *name = key_names[f->key];

	if (!f->is_str) {
		put_name(l, name);
		put_int(l, f->i);
	} else if (f->key == LOG_KEY_sid || f->key == LOG_KEY_qid || f->key == LOG_KEY_role) {
		put_plain(l, name, f->s);
	} else {
		put_name(l, name);
		put_quoted(l, f->s);
	}
}

static void format(struct line *l, int64_t wall_us, enum log_level level, struct str role,
		   const char *event, const struct log_field *f, size_t n)
{
	l->n = 0;
	put_time(l, wall_us);
	put(l, " ", 1);
	put_cstr(l, level_names[level + 1]);
	put(l, " ", 1);
	put_cstr(l, event);
	if (role.n)
		put_plain(l, "role", role);
	if (context.sid_n)
		put_plain(l, "sid", (struct str){context.sid, context.sid_n});
	if (context.qid_n)
		put_plain(l, "qid", (struct str){context.qid, context.qid_n});
	if (context.account_n) {
		put_name(l, "account");
		put_quoted(l, (struct str){context.account, context.account_n});
	}
	for (size_t i = 0; i < n; i++)
		put_field(l, &f[i]);
}

void log_format(struct buf *out, int64_t wall_us, enum log_level level, struct str role,
		const char *event, const struct log_field *f, size_t n)
{
	struct line l;

	format(&l, wall_us, level, role, event, f, n);
	buf_add_bytes(out, l.p, l.n);
}

/* Never waits: a pipe or terminal that is full is asked first. */
static bool write_line(struct line *l, bool wait)
{
	struct pollfd ready = {.fd = target_fd >= 0 ? target_fd : STDERR_FILENO, .events = POLLOUT};

	if (poll(&ready, 1, wait ? AUDIT_WAIT_MS : 0) != 1 || !(ready.revents & POLLOUT))
		return false;
	l->p[l->n] = '\n';
	return write(ready.fd, l->p, l->n + 1) >= 0;
}

static bool send_line(struct line *l)
{
	struct log_ring *ring = target_ring;

	return ring ? log_ring_put(ring, (struct str){l->p, l->n}) : write_line(l, false);
}

/* The log role may be on its way back. A line that it does not take in that time is kept elsewhere. */
static void send_surely(struct line *l)
{
	struct log_ring *ring = target_ring;

	for (int ms = 0; ring && ms < AUDIT_WAIT_MS; ms++) {
		if (log_ring_put(ring, (struct str){l->p, l->n}))
			return;
		poll(NULL, 0, 1);
	}
	if (!write_line(l, true))
		atomic_fetch_add(&lost_lines, 1);
}

/* After a line got through again, says how many did not. */
static void tell_losses(void)
{
	uint64_t lost = atomic_exchange(&lost_lines, 0);
	struct line l;

	if (lost == 0)
		return;
	struct log_field count = K_INT(count, lost);
	format(&l, clock_wall_us(), LOG_WARN, str_of(process_role), "log.lost", &count, 1);
	if (!send_line(&l))
		atomic_fetch_add(&lost_lines, lost);
}

/* ---- counts ---- */

enum count_state { COUNT_EMPTY, COUNT_BEING_MADE, COUNT_READY };
struct count {
	_Atomic int state;
	_Atomic uint64_t n;
	const char *event;
	enum log_key key;
	char label[LOG_LABEL_MAX];
};
static struct count counts[LOG_COUNTS_MAX];

static bool is_label_key(enum log_key key)
{
	return key == LOG_KEY_rule || key == LOG_KEY_code || key == LOG_KEY_service;
}

/* Values of these keys are words of ours and numbers of three digits: few. */
static size_t label_of(const struct log_field *f, char out[LOG_LABEL_MAX])
{
	size_t n = 0;

	if (!f->is_str)
		return (size_t)snprintf(out, LOG_LABEL_MAX, "%d", (int)(f->i % 1000));
	for (; n < f->s.n && n < LOG_LABEL_MAX - 1; n++)
		out[n] = is_plain((struct str){f->s.p + n, 1}) ? f->s.p[n] : '_';
	out[n] = 0;
	return n;
}

/* True: it is this one, made now if it was empty. */
static bool claim(struct count *c, const char *event, enum log_key key, const char *label)
{
	int empty = COUNT_EMPTY;

	if (atomic_compare_exchange_strong(&c->state, &empty, COUNT_BEING_MADE)) {
		c->event = event;
		c->key = key;
		snprintf(c->label, sizeof(c->label), "%s", label);
		atomic_store(&c->state, COUNT_READY);
		return true;
	}
	while (atomic_load_explicit(&c->state, memory_order_acquire) == COUNT_BEING_MADE)
		sched_yield();
	return (c->event == event || strcmp(c->event, event) == 0) && c->key == key &&
	       strcmp(c->label, label) == 0;
}

/* A full table counts what is new nowhere: there are fewer events than that. */
static void count_event(const char *event, const struct log_field *f, size_t n)
{
	char label[LOG_LABEL_MAX] = "";
	enum log_key key = LOG_KEY_COUNT;
	struct str name = str_of(event);

	for (size_t i = 0; i < n && key == LOG_KEY_COUNT; i++)
		if (is_label_key(f[i].key)) {
			key = f[i].key;
			(void)label_of(&f[i], label);
		}
	uint64_t at = str_hash(name) ^ (str_hash(str_of(label)) * 31);
	for (size_t i = 0; i < LOG_COUNTS_MAX; i++) {
		struct count *c = &counts[(at + i) % LOG_COUNTS_MAX];
		if (claim(c, event, key, label)) {
			atomic_fetch_add_explicit(&c->n, 1, memory_order_relaxed);
			return;
		}
	}
}

size_t log_counts(struct log_count out[LOG_COUNTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < LOG_COUNTS_MAX; i++) {
		struct count *c = &counts[i];
		if (atomic_load_explicit(&c->state, memory_order_acquire) != COUNT_READY)
			continue;
		out[n].event = c->event;
		out[n].key = c->key == LOG_KEY_COUNT ? "" : key_names[c->key];
		memcpy(out[n].label, c->label, sizeof(c->label));
		out[n++].n = atomic_load_explicit(&c->n, memory_order_relaxed);
	}
	return n;
}

void log_fields(enum log_level level, const char *event, const struct log_field *f, size_t n)
{
	int sys = errno;
	struct line l;

	count_event(event, f, n);
	if (!log_enabled(level))
		return;
	format(&l, clock_wall_us(), level, str_of(process_role), event, f, n);
	if (level == LOG_AUDIT)
		send_surely(&l);
	else if (!send_line(&l))
		atomic_fetch_add(&lost_lines, 1);
	else if (atomic_load_explicit(&lost_lines, memory_order_relaxed))
		tell_losses();
	errno = sys;
}

void log_err(enum log_level level, const char *event, const struct err *err)
{
	struct log_field f[] = {
		K_CSTR(kind, err_kind_name(err->kind)),
		K_CSTR(cause, err->cause[0] ? err->cause : err->text),
		K_CSTR(where, err->where),
		K_INT(errno, err->sys),
	};

	log_fields(level, event, f, err->sys ? 4 : 3);
}

void log_init(const char *role, enum log_level least)
{
	snprintf(process_role, sizeof(process_role), "%s", role);
	log_set_level(least);
}

void log_set_level(enum log_level least)
{
	atomic_store_explicit(&least_level, (int)least, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&least_level, memory_order_relaxed);
}

void log_to_ring(struct log_ring *r)
{
	target_ring = r;
}

void log_to_fd(int fd)
{
	target_fd = fd;
}

static size_t keep(char *to, size_t max, struct str s)
{
	size_t n = s.n < max ? s.n : max;

	if (n)
		memcpy(to, s.p, n);
	return n;
}

void log_context(struct str sid, struct str qid, struct str account)
{
	context.sid_n = (unsigned char)keep(context.sid, SID_MAX, sid);
	context.qid_n = (unsigned char)keep(context.qid, SID_MAX, qid);
	context.account_n = (unsigned short)keep(context.account, ACCOUNT_MAX, account);
}

void log_context_qid(struct str qid)
{
	context.qid_n = (unsigned char)keep(context.qid, SID_MAX, qid);
}

void log_context_clear(void)
{
	context.sid_n = context.qid_n = 0;
	context.account_n = 0;
}

void log_context_get(struct str *out_sid, struct str *out_qid, struct str *out_account)
{
	*out_sid = (struct str){context.sid, context.sid_n};
	*out_qid = (struct str){context.qid, context.qid_n};
	*out_account = (struct str){context.account, context.account_n};
}
