/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/log.h: one line per fact (STYLE 12).
 *
 *   log_event(LOG_INFO, "smtp.rcpt.reject", K_STR(rcpt, addr), K_INT(code, 550), K_STR(why, text));
 *   -> 2026-11-24T10:00:00.123456Z info smtp.rcpt.reject sid=7f3a rcpt="x@y" code=550 why="..."
 *
 * Keys are rows of base/log_keys.def. The writer escapes values: no value can forge a line. The
 * context (sid, qid, account) is thread-local, set by whoever runs a session on a worker. Never
 * blocks: lines that cannot be written are counted and the count is logged later. Only audit lines wait.
 * Until a process has its ring to the log role (log_to_ring) lines go to standard error.
 */
#pragma once
#include "base/str.h"

enum log_level { LOG_AUDIT = -1, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_key {
#define LOG_KEY(name, help) LOG_KEY_##name,
#include "base/log_keys.def"
#undef LOG_KEY
	LOG_KEY_COUNT
};

struct log_field {
	enum log_key key;
	bool is_str;
	struct str s;
	int64_t i;
};
#define K_STR(name, value) ((struct log_field){LOG_KEY_##name, true, (value), 0})
#define K_CSTR(name, value) ((struct log_field){LOG_KEY_##name, true, str_of(value), 0})
#define K_INT(name, value) ((struct log_field){LOG_KEY_##name, false, STR_NONE, (int64_t)(value)})

#define log_event(level, event, ...)                                                         \
	log_fields((level), (event), (const struct log_field[]){__VA_ARGS__},                \
		   sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_fields(enum log_level level, const char *event, const struct log_field *f, size_t n);
/* What somebody changed or was given power over: written whatever the level, and never lost; where there is
 * no room the caller waits. */
#define log_audit(event, ...) log_event(LOG_AUDIT, (event), __VA_ARGS__)
struct err;
/* The one line for a failure that is turned into a reply or passed over. */
void log_err(enum log_level level, const char *event, const struct err *err);

void log_init(const char *role, enum log_level least);
void log_set_level(enum log_level least);
bool log_enabled(enum log_level level);
struct log_ring;
void log_to_ring(struct log_ring *r); /* to the log role; NULL: to the descriptor */
void log_to_fd(int fd);               /* where there is no ring; -1: standard error */

/* How often each event happened in this process since its start, also where its level is not written: events
 * are counted apart by rule, reply code or service where they have one. For `pabal status` and metrics. */
enum { LOG_COUNTS_MAX = 192, LOG_LABEL_MAX = 32 };
struct log_count {
	const char *event; /* as a literal */
	const char *key;   /* "rule", "code", "service"; "" */
	char label[LOG_LABEL_MAX];
	uint64_t n;
};
/* Fills out; how many there are. */
size_t log_counts(struct log_count out[LOG_COUNTS_MAX]);

/* Thread-local context, copied; empty strings clear. */
void log_context(struct str sid, struct str qid, struct str account);
void log_context_clear(void);
/* The message alone that is at work now, in a loop over many: a store of the name, no more. */
void log_context_qid(struct str qid);
/* This thread's, as views; also from a signal handler (crash notes). */
void log_context_get(struct str *out_sid, struct str *out_qid, struct str *out_account);

/* Formatting, shared with the log role and its tests: no newline in the output. */
struct buf;
void log_format(struct buf *out, int64_t wall_us, enum log_level level, struct str role,
		const char *event, const struct log_field *f, size_t n);
