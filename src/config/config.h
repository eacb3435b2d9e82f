/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * config/config.h: the host's settings, as an immutable snapshot.
 *
 * Rows of config/settings.def name every setting; SETTING_<ID> is its number. The file is read
 * by a child of the master (config_load), the bytes of the snapshot (config_encode) reach each
 * role in a sealed memfd, and there config_decode makes the same snapshot again. A session keeps
 * the snapshot it began with (config_ref); reload swaps the pointer. What accessors return lives
 * as long as the snapshot. Asking with the accessor of another type is our bug (assert), and so
 * is asking for a setting that the role does not get. A snapshot is thread-safe and takes no
 * locks; reading a file is not (libconfuse's scanner is global): one thread of a process does it.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "config/networks.h"

enum setting {
#define SETTING(id, ...) SETTING_##id,
#include "config/settings.def"
#undef SETTING
	SETTING_COUNT
};

enum setting_type {
	SETTING_TYPE_BOOL,
	SETTING_TYPE_INT,
	SETTING_TYPE_SIZE,     /* bytes: 10M, 64k, 1G, 25MiB */
	SETTING_TYPE_DURATION, /* milliseconds: 500ms, 30s, 5m, 12h, 7d */
	SETTING_TYPE_STR,
	SETTING_TYPE_PATH,     /* made absolute: relative to the directory of the main file */
	SETTING_TYPE_LIST,
	SETTING_TYPE_PATHS,    /* a list of paths */
	SETTING_TYPE_NETWORKS,
	SETTING_TYPE_ENUM,
};

/* Process roles as bits: which of them a row of settings.def is given to. */
enum config_role {
	CONFIG_ROLE_MASTER = 1, CONFIG_ROLE_LOG = 2, CONFIG_ROLE_KEYS = 4, CONFIG_ROLE_AUTH = 8,
	CONFIG_ROLE_SMTP = 16, CONFIG_ROLE_LOGIN = 32, CONFIG_ROLE_MAILBOX = 64, CONFIG_ROLE_QUEUE = 128,
	CONFIG_ROLE_DNS = 256, CONFIG_ROLE_RELAY = 512,
	CONFIG_ROLE_ALL = 0xffff,
};

/* Values of enum settings: the order of the choices in settings.def. */
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON, CONFIG_LOG_ECS };
enum config_language { CONFIG_LANGUAGE_KO, CONFIG_LANGUAGE_EN };
enum config_bare_newline { CONFIG_BARE_REFUSE, CONFIG_BARE_NORMALISE };
enum config_directory { CONFIG_DIRECTORY_SQLITE, CONFIG_DIRECTORY_MARIADB, CONFIG_DIRECTORY_CLASSIC };
enum config_over_quota { CONFIG_OVER_QUOTA_TEMP, CONFIG_OVER_QUOTA_PERM };
enum config_dmarc { CONFIG_DMARC_NONE, CONFIG_DMARC_QUARANTINE, CONFIG_DMARC_REJECT };
enum config_signed_mail { CONFIG_SIGNED_ADD, CONFIG_SIGNED_LEAVE };
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

enum listener_service {
	SERVICE_SMTP, SERVICE_SUBMISSION, SERVICE_SUBMISSIONS, SERVICE_LMTP,
	SERVICE_IMAP, SERVICE_IMAPS, SERVICE_POP3, SERVICE_POP3S, SERVICE_LOCAL,
	SERVICE_AUTH, SERVICE_METRICS,
	SERVICE_COUNT
};
enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_MAY, LISTENER_TLS_REQUIRED, LISTENER_TLS_IMPLICIT };

struct config_list {
	const struct str *v;
	size_t n;
};

struct listener {
	struct str name;               /* its title in the file; also the service tag in logs */
	enum listener_service service;
	enum listener_tls tls;
	struct config_list address;    /* "*", "::", "192.0.2.1", "2001:db8::1" */
	uint16_t port;                 /* 0: no TCP */
	struct str unix_path;          /* empty: no Unix socket; NUL-terminated */
	uint32_t unix_mode;            /* permission bits */
	struct str unix_owner;         /* "user", "user:group", ":group", also numbers; empty: as created */
	struct networks proxy_from;    /* PROXY protocol is required from these, refused from others */
	struct networks xclient_from;
	struct networks plaintext_auth_from;
};

struct config;

/* Reads and checks the file and everything it includes. On failure *problems holds one line per
 * problem, "file:line: error: ...", with a suggestion for misspelt names; on success it may hold
 * "file:line: warning: ..." lines. path may be relative. ERR_NOT_FOUND when there is no such
 * file, ERR_SYNTAX for its content (err->text is the first problem). May block on disk. */
bool config_load(const char *path, struct buf *problems, struct config **out, struct err *err) MUST_CHECK;
/* The same from text, for tests and for checking generated files; name stands in messages and
 * its directory is where relative paths and includes start. */
bool config_parse(const char *name, struct str text, struct buf *problems, struct config **out,
		  struct err *err) MUST_CHECK;

struct config *config_ref(const struct config *c);
void config_unref(struct config *c); /* accepts NULL */
static inline void config_unref_p(struct config **c) { config_unref(*c); }
#define CONFIG_SCOPED __attribute__((cleanup(config_unref_p))) struct config *

/* The snapshot for one role: rows that it may not see are left out. The encoding is for the same
 * binary only. config_decode treats the bytes as hostile. */
void config_encode(const struct config *c, enum config_role role, struct buf *out);
bool config_decode(struct str bytes, struct config **out, struct err *err) MUST_CHECK;

bool config_bool(const struct config *c, enum setting id);
int64_t config_int(const struct config *c, enum setting id);
uint64_t config_size(const struct config *c, enum setting id);
int64_t config_duration_ms(const struct config *c, enum setting id);
struct str config_str(const struct config *c, enum setting id);   /* str, path, enum */
const char *config_path(const struct config *c, enum setting id); /* "" when not set */
struct config_list config_list(const struct config *c, enum setting id); /* list, paths: NUL-terminated */
const struct networks *config_networks(const struct config *c, enum setting id);
int config_enum(const struct config *c, enum setting id); /* index of the choice */
bool config_list_has(const struct config *c, enum setting id, struct str item); /* ignores case */

const struct listener *config_listeners(const struct config *c, size_t *out_count);
const char *config_service_name(enum listener_service service); /* "submission" */
uint16_t config_service_port(enum listener_service service);    /* the standard one; LMTP: 24 */
const char *config_file(const struct config *c); /* absolute path of the main file */

/* True when a reload can go from one to the other; otherwise *out_first is a row that differs
 * and is not reloadable. */
bool config_reloadable(const struct config *from, const struct config *to, enum setting *out_first);

/* Sizes and durations, for the whole tree (STYLE 3). */
bool config_parse_size(struct str s, uint64_t *out_bytes);
bool config_parse_duration(struct str s, int64_t *out_ms);

/* The table itself, for `pabal config explain`, show and the manual. */
struct setting_info {
	enum setting_type type;
	const char *name;    /* "smtp.max_recipients", or without section */
	const char *default_text;
	int64_t min, max;    /* int, size, duration */
	const char *choices; /* enum: "a|b" */
	bool reloadable;
	unsigned roles;
	const char *help_en, *help_ko;
};
const struct setting_info *setting_info(enum setting id);
bool setting_find(struct str name, enum setting *out);
/* The nearest name, or NULL when none is near. */
const char *setting_suggest(struct str name);
/* The nearest of n names within a third of its length, or NULL: "did you mean". */
const char *config_nearest(struct str s, const char *const *names, size_t n);
/* The value as it could stand in the file, and whether the file sets it. */
void config_format(const struct config *c, enum setting id, struct buf *out);
bool config_is_set(const struct config *c, enum setting id);

/* The options of a listener section, for the manual. */
struct listener_option_info {
	const char *name, *default_text, *help_en, *help_ko;
};
const struct listener_option_info *listener_option_info(size_t i); /* NULL after the last */
