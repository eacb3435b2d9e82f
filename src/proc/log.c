/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/log.c: the log role. Identity: pabal-log. Sandbox: the directories of log and audit log.
 * Descriptors: a ring of lines per process (base/log_ring.h), so that none writes in another's name; the
 * log file. Messages: role_log_source, role_reopen. Threads: the first, and one that reads.
 *
 * Lines come formatted; bytes that a formatter would have escaped cost the line its rest, and a line in
 * another's name is not written. A line leaves its ring when the file has it. The reader wakes, waits a
 * moment for more, and writes all that is there at once: under load it is woken a hundred times a second.
 * The file is opened with O_APPEND; lines of level audit go to the audit log too, and first; on role_reopen
 * (SIGHUP, SIGUSR1) it is opened again by its name, so rotation is a rename and a signal.
 */
#include "audit/audit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "base/mem.h"
#include "config/config.h"
#include "json/log_json.h"
#include "proc/role_int.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SOURCES_MAX = 256, CHUNK = 64 * 1024, GATHER_MS = 10, STUCK_MS = 500 };

struct source {
	char role[40]; /* " role=smtp-0" */
	struct log_ring *ring;
	int ring_fd, wake;
};
struct log_role {
	struct role *role;
	struct lock lock;
	/* guarded by lock */
	struct source sources[SOURCES_MAX];
	size_t sources_n;
	enum config_log_format format;
	bool reopen, drain;
	_Atomic uint64_t lines, lost, forged; /* the reader's counts, shown by others */

	struct audit_log *audit; /* the reader's; NULL: none */
	bool audit_due, stuck;   /* lines to commit; they could not be written */
	_Atomic uint64_t audit_lines;
	int audit_dir_fd;
	int dir_fd, file_fd, wake;
	char file[256]; /* name in dir_fd; empty: standard error */
	pthread_t thread;
	bool running;
	struct buf out; /* the reader's own */
	char chunk[CHUNK];
};

static void *log_create(struct role *r)
{
	struct log_role *l = mem_new(struct log_role);

	l->role = r;
	lock_init(&l->lock, LOCK_PROC);
	l->dir_fd = l->audit_dir_fd = -1;
	l->file_fd = STDERR_FILENO;
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return l;
}

static void wake(struct log_role *l)
{
	uint64_t one = 1;

	if (write(l->wake, &one, sizeof(one)) < 0)
		return; /* it is awake */
}

static void add_source(struct log_role *l, struct msg_role_log_source *m)
{
	struct err err;

	LOCK_SCOPED(&l->lock);
	struct source *s = &l->sources[l->sources_n];
	if (l->sources_n == SOURCES_MAX || m->ring < 0 || m->wake < 0)
		return;
	if (!log_ring_open(m->ring, m->wake, &s->ring, &err)) {
		log_err(LOG_ERROR, "log.source.bad", &err);
		return;
	}
	snprintf(s->role, sizeof(s->role), " role=%.*s", STR_ARG(m->role));
	s->ring_fd = m->ring;
	s->wake = m->wake;
	m->ring = m->wake = -1;
	l->sources_n++;
	wake(l);
}

static void log_on_master(struct role *r, struct message *m)
{
	struct log_role *l = r->state;

	if (m->type == MSG_role_log_source) {
		add_source(l, &m->role_log_source);
	} else if (m->type == MSG_role_reopen) {
		LOCK_SCOPED(&l->lock);
		l->reopen = true;
		wake(l);
	}
}

static bool open_file(struct log_role *l, struct err *err)
{
	int fd = openat(l->dir_fd, l->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return err_sys(err, "open log file %s", l->file);
	if (l->file_fd != STDERR_FILENO)
		close(l->file_fd);
	l->file_fd = fd;
	return true;
}

/* Directory and name of a path; false: there is none. */
static bool split(struct role *r, const char *path, const char **out_dir, const char **out_name)
{
	struct str p = str_of(path);
	size_t slash = str_find_last_byte(p, '/');

	if (slash == STR_NPOS)
		return false;
	*out_dir = arena_cstr(r->arena, slash ? str_sub(p, 0, slash) : STR("/"));
	*out_name = arena_cstr(r->arena, str_from(p, slash + 1));
	return true;
}

static bool open_audit(struct log_role *l, struct sandbox *s, struct err *err)
{
	CONFIG_SCOPED c = role_config(l->role);
	const char *dir, *name;

	if (!split(l->role, config_path(c, SETTING_AUDIT_PATH), &dir, &name))
		return true;
	if (!role_open_dir(l->role, s, dir, SANDBOX_WRITE, &l->audit_dir_fd, err) ||
	    !audit_open(l->audit_dir_fd, name, str_of(l->role->name), &l->audit, err))
		return err_while(err, "opening the audit log");
	l->audit_lines = audit_count(l->audit);
	return true;
}

static bool log_prepare(struct role *r, struct sandbox *s, struct err *err)
{
	struct log_role *l = r->state;
	CONFIG_SCOPED c = role_config(r);
	const char *dir, *name;

	l->format = (enum config_log_format)config_enum(c, SETTING_LOG_FORMAT);
	if (!open_audit(l, s, err))
		return false;
	if (!split(r, config_path(c, SETTING_LOG_PATH), &dir, &name))
		return true;
	snprintf(l->file, sizeof(l->file), "%s", name);
	return role_open_dir(r, s, dir, SANDBOX_WRITE, &l->dir_fd, err) && open_file(l, err);
}

/* Escapes were made by the sender's formatter; what they would have prevented ends the line. */
static struct str checked(struct log_role *l, struct str line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f) {
			l->forged++;
			return str_sub(line, 0, i);
		}
	return line;
}

/* "TIME LEVEL EVENT role=NAME ...": the formatter has put its own name there. */
static bool own_name(struct str line, const char *role)
{
	struct str name = str_of(role);

	for (int i = 0; i < 3; i++) {
		size_t space = str_find_byte(line, ' ');
		if (space == STR_NPOS)
			return false;
		line = str_from(line, i < 2 ? space + 1 : space);
	}
	return str_starts(line, name) && (line.n == name.n || line.p[name.n] == ' ');
}

static bool is_audit(struct str line)
{
	(void)str_cut(&line, ' ');
	return str_starts(line, STR("audit "));
}

static void add_line(struct log_role *l, const char *role, struct str line, enum config_log_format format)
{
	line = checked(l, line);
	if (line.n == 0)
		return;
	if (!own_name(line, role)) {
		l->forged++;
		return;
	}
	if (l->audit && is_audit(line)) {
		audit_add(l->audit, line);
		l->audit_due = true;
	}
	if (format == CONFIG_LOG_TEXT)
		buf_add(&l->out, line);
	else
		json_log_line(&l->out, line, format == CONFIG_LOG_ECS ? JSON_LOG_ECS : JSON_LOG_PLAIN);
	buf_byte(&l->out, '\n');
	l->lines++;
}

static void write_out(struct log_role *l)
{
	size_t done = 0;

	while (done < l->out.n) {
		ssize_t n = write(l->file_fd, l->out.p + done, l->out.n - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) { /* a full disk loses log lines, not mail */
			l->lost++;
			break;
		}
		done += (size_t)n;
	}
	buf_clear(&l->out);
}

static void own_line(struct log_role *l, enum log_level level, const char *event, struct str path)
{
	struct log_field f = K_STR(path, path);
	BUF_SCOPED line = {0};
	char own[40];

	log_format(&line, clock_wall_us(), level, str_of(l->role->name), event, &f, 1);
	snprintf(own, sizeof(own), " role=%s", l->role->name);
	add_line(l, own, buf_str(&line), l->format);
}

/* The audit log has its lines before anything else happens with them. False: it could not be written; they
 * stay in the ring, their writers wait, and it is tried again. */
static bool commit_audit(struct log_role *l)
{
	struct err err = {0};

	if (!l->audit_due)
		return true;
	l->audit_due = false;
	bool good = audit_commit(l->audit, &err);
	l->audit_lines = audit_count(l->audit);
	if (!good) {
		buf_clear(&l->out);
		if (!l->stuck)
			own_line(l, LOG_ERROR, "log.audit.failed", str_of(err.cause));
		write_out(l);
	}
	l->stuck = !good;
	return good;
}

/* What is there now, written, then taken out of the ring. */
static void read_source(struct log_role *l, struct source *s, enum config_log_format format)
{
	size_t n, total = 0;

	while (total < LOG_RING_BYTES && (n = log_ring_peek(s->ring, l->chunk, CHUNK))) {
		struct str rest = {l->chunk, n};
		while (rest.n)
			add_line(l, s->role, str_cut(&rest, '\n'), format);
		if (!commit_audit(l))
			return;
		write_out(l);
		log_ring_take(s->ring, n);
		total += n;
	}
}

static void reopen_if_asked(struct log_role *l)
{
	struct err err;

	lock_take(&l->lock);
	bool asked = l->reopen;
	l->reopen = false;
	lock_drop(&l->lock);
	if (!asked)
		return;
	if (l->audit && !audit_reopen(l->audit, &err))
		own_line(l, LOG_ERROR, "log.audit.failed", str_of(err.cause));
	if (!l->file[0])
		return;
	if (open_file(l, &err))
		own_line(l, LOG_INFO, "log.reopened", str_of(l->file));
	else
		own_line(l, LOG_ERROR, "log.reopen.failed", str_of(err.cause));
}

static size_t poll_set(struct log_role *l, struct pollfd *p)
{
	LOCK_SCOPED(&l->lock);
	p[0] = (struct pollfd){.fd = l->wake, .events = POLLIN};
	for (size_t i = 0; i < l->sources_n; i++)
		p[i + 1] = (struct pollfd){.fd = l->sources[i].wake, .events = POLLIN};
	return l->sources_n;
}

static void clear_wakes(const struct pollfd *p, size_t n)
{
	uint64_t count;

	for (size_t i = 0; i < n; i++)
		if ((p[i].revents & POLLIN) && read(p[i].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return; /* not to be: it is an eventfd */
}

/* Until a line comes, or a word from the first thread. Sources are added at the end, and never go. */
static size_t wait_for_lines(struct log_role *l, struct pollfd *p, bool last)
{
	size_t n = poll_set(l, p);
	bool idle = true;

	for (size_t i = 0; i < n && idle; i++)
		idle = log_ring_sleep(l->sources[i].ring);
	poll(p, n + 1, idle && !last ? (l->stuck ? STUCK_MS : -1) : 0);
	clear_wakes(p, n + 1);
	return n;
}

static void *reader(void *ctx)
{
	struct log_role *l = ctx;
	struct pollfd p[SOURCES_MAX + 1];

	for (;;) {
		lock_take(&l->lock);
		bool last = l->drain;
		enum config_log_format format = l->format;
		lock_drop(&l->lock);
		size_t n = wait_for_lines(l, p, last);
		if (!last && !(p[0].revents & POLLIN))
			poll(NULL, 0, l->stuck ? STUCK_MS : GATHER_MS);
		for (size_t i = 0; i < n; i++)
			read_source(l, &l->sources[i], format);
		reopen_if_asked(l);
		write_out(l);
		if (last)
			return NULL;
	}
}

static bool log_start(struct role *r, struct err *err)
{
	struct log_role *l = r->state;

	errno = pthread_create(&l->thread, NULL, reader, l);
	l->running = errno == 0;
	return l->running || err_sys(err, "pthread_create");
}

static void log_configured(struct role *r)
{
	struct log_role *l = r->state;
	CONFIG_SCOPED c = role_config(r);

	LOCK_SCOPED(&l->lock);
	l->format = (enum config_log_format)config_enum(c, SETTING_LOG_FORMAT);
}

static bool log_drained(struct role *r)
{
	(void)r;
	return true;
}

static void log_stop(struct role *r)
{
	struct log_role *l = r->state;

	lock_take(&l->lock);
	l->drain = true;
	wake(l);
	lock_drop(&l->lock);
	if (l->running)
		pthread_join(l->thread, NULL);
}

static void log_status(struct role *r, struct json_writer *w)
{
	struct log_role *l = r->state;

	LOCK_SCOPED(&l->lock);
	json_write_member_int(w, "lines", (int64_t)l->lines);
	json_write_member_int(w, "lost", (int64_t)l->lost);
	json_write_member_int(w, "forged", (int64_t)l->forged);
	json_write_member_int(w, "audit_lines", (int64_t)l->audit_lines);
}

const struct role_form role_form_log = {
	.calls = SANDBOX_FILES,
	.create = log_create,
	.prepare = log_prepare,
	.start = log_start,
	.on_master = log_on_master,
	.configured = log_configured,
	.drained = log_drained,
	.stop = log_stop,
	.status = log_status,
};
