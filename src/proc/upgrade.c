/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/upgrade.c: the master becomes its new program, with the same pid and its sockets open, so that nobody
 * who connects meanwhile is refused: they wait in the sockets' queues for the new doors.
 *
 * Order: the new program reads the configuration and says that it understands what it will be left
 * (a child each; a failure changes nothing); the roles drain, phase by phase as at a stop; then execve.
 * What is left is a sealed memfd whose number is in the environment: JSON with the numbers of descriptors
 * that stay open. Should execve fail, the roles are started again from the old program.
 */
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "json/json.h"
#include "proc/master_int.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FORMAT = 1,            /* of what is left; another one is refused by the new program */
	STATE_MAX = 1 << 20,
	CHECK_MS = 20000, DRAIN_MS = 30000, BACK_MS = 5000,
	CHECK_FD = 3,          /* where `pabal adopt` finds the state */
	OUTPUT_MAX = 64 * 1024,
	ARGUMENTS_MAX = 200,
};
#define ENVIRONMENT "PABAL_HERITAGE"

void program_path(char *out, size_t n)
{
	static const char gone[] = " (deleted)"; /* replaced since */
	ssize_t got = readlink("/proc/self/exe", out, n - 1);
	size_t len = got < 0 ? 0 : (size_t)got;

	out[len] = 0;
	if (len > sizeof(gone) - 1 && strcmp(out + len - (sizeof(gone) - 1), gone) == 0)
		out[len - (sizeof(gone) - 1)] = 0;
}

/* ---- what is left to the new program ---------------------------------------------------------- */

static void add_fd(void *ctx, int fd)
{
	struct json_writer *w = ctx;

	json_write_int(w, fd);
}

static void write_sockets(struct master *m, struct json_writer *w)
{
	json_write_name(w, STR("sockets"));
	json_write_array_begin(w);
	listeners_each_fd(m, add_fd, w);
	for (size_t i = 0; i < m->heritage.sockets_n; i++) /* of a start that failed half way */
		add_fd(w, m->heritage.sockets[i]);
	add_fd(w, m->control_fd);
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->control_fd >= 0)
			add_fd(w, c->control_fd);
	json_write_array_end(w);
}

static void write_clients(struct master *m, struct json_writer *w)
{
	json_write_name(w, STR("clients"));
	json_write_array_begin(w);
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->fd >= 0 && c->upgrade)
			add_fd(w, c->fd);
	for (size_t i = 0; i < m->heritage.clients_n; i++)
		add_fd(w, m->heritage.clients[i]);
	json_write_array_end(w);
}

static int lock_of(const struct master *m)
{
	return m->lock_fd > 0 ? m->lock_fd : m->heritage.lock;
}

static struct log_pipe log_of(const struct master *m)
{
	return m->log.ring >= 0 ? m->log : m->heritage.log;
}

/* Sessions of TLS can be taken up again after the upgrade. */
static void write_ticket_keys(struct master *m, struct json_writer *w)
{
	json_write_name(w, STR("ticket_keys"));
	json_write_array_begin(w);
	for (int role = 0; role < ROLE_COUNT; role++) {
		struct str bytes = {(const char *)m->ticket_keys[role],
				    m->ticket_keys_n * sizeof(struct tls_ticket_key)};
		BUF_SCOPED hex = {0};
		hex_encode(&hex, bytes);
		json_write_object_begin(w);
		json_write_member_cstr(w, "role", role_name((enum role_id)role));
		json_write_member_str(w, "keys", buf_str(&hex));
		json_write_object_end(w);
		secret_wipe(hex.p, hex.n);
	}
	json_write_array_end(w);
}

static void write_suspects(struct master *m, struct json_writer *w)
{
	json_write_name(w, STR("suspects"));
	json_write_array_begin(w);
	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++) {
		if (s->crashes == 0)
			continue;
		json_write_object_begin(w);
		json_write_member_cstr(w, "role", role_name(s->role));
		json_write_member_cstr(w, "account", s->account);
		json_write_member_cstr(w, "qid", s->qid);
		json_write_member_int(w, "crashes", s->crashes);
		json_write_member_int(w, "last_ms", s->last_ms);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static int make_state(struct master *m)
{
	BUF_SCOPED out = {0};
	struct json_writer w;

	json_write_init(&w, &out);
	json_write_object_begin(&w);
	json_write_member_int(&w, "format", FORMAT);
	json_write_member_cstr(&w, "version", PABAL_VERSION);
	json_write_member_int(&w, "lock", lock_of(m));
	json_write_member_int(&w, "log_ring", log_of(m).ring);
	json_write_member_int(&w, "log_wake", log_of(m).wake);
	json_write_member_int(&w, "previous", m->fatal[0] ? -1 : m->binary_fd);
	json_write_member_cstr(&w, "failure", m->fatal);
	json_write_member_int(&w, "ticket_keys_due_ms", m->next_ticket_keys_ms);
	write_sockets(m, &w);
	write_clients(m, &w);
	write_ticket_keys(m, &w);
	write_suspects(m, &w);
	json_write_member_int(&w, "began_us", m->began_us); /* whose count it is */
	json_write_object_end(&w);
	int fd = sealed_make("heritage", buf_str(&out));
	secret_wipe(out.p, out.n);
	return fd;
}

static bool read_state(int fd, struct json_doc **out, struct err *err)
{
	BUF_SCOPED text = {0};
	bool good = sealed_read(fd, STATE_MAX, &text, err) &&
		    json_doc_parse(buf_str(&text), STATE_MAX, out, err);

	secret_wipe(text.p, text.n);
	if (!good)
		return err_while(err, "reading what the program before left");
	if (json_value_int_or(json_value_member(json_doc_root(*out), "format"), 0) == FORMAT)
		return true;
	json_doc_free(*out);
	*out = NULL;
	return err_set(err, ERR_CONFLICT,
		       "this version cannot take over from the one that runs: restart the server");
}

/* What would end the new master at once: certificates and keys, users that a new version has. */
static bool could_start(const char *config_path, struct err *err)
{
	BUF_SCOPED problems = {0};
	struct loaded l;
	struct identity who;
	bool good = load_config(config_path, &l, &problems, err);

	if (!good && problems.n)
		err_cause(err, "%.*s", STR_ARG(str_trim(buf_str(&problems))));
	for (int role = 0; good && role < ROLE_COUNT; role++)
		good = role_processes(l.config, (enum role_id)role) == 0 ||
		       identity_of(l.config, (enum role_id)role, &who, err);
	loaded_fini(&l);
	return good;
}

bool proc_adopt_check(const char *config_path, struct err *err)
{
	JSON_DOC_SCOPED doc = NULL;

	return read_state(fcntl(CHECK_FD, F_DUPFD_CLOEXEC, CHECK_FD + 1), &doc, err) &&
	       could_start(config_path, err);
}

/* ---- asking the new program ------------------------------------------------------------------- */

static void check_in_child(struct master *m, char *const argv[], int state, int output)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	if (null < 0 || (state = fcntl(state, F_DUPFD_CLOEXEC, 16)) < 0 ||
	    (output = fcntl(output, F_DUPFD_CLOEXEC, 16)) < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 ||
	    dup2(output, 2) < 0 || dup2(state, CHECK_FD) < 0)
		_exit(71);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	syscall(SYS_execveat, m->program_fd, "", argv, environ, AT_EMPTY_PATH);
	_exit(71);
}

/* What it prints goes to out. False: it was killed, or ran too long. */
static bool wait_for_check(pid_t pid, int from, struct buf *out, int *status)
{
	int64_t deadline = clock_mono_ms() + CHECK_MS;
	ssize_t n = 1;

	while (n > 0) {
		struct pollfd p = {.fd = from, .events = POLLIN};
		int64_t left = deadline - clock_mono_ms();
		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			break;
		char *room = buf_room(out, OUTPUT_MAX);
		n = room ? read(from, room, OUTPUT_MAX) : 0;
		out->n += n > 0 ? (size_t)n : 0;
	}
	if (n > 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return false;
	return n <= 0;
}

/* expected: what it has to say, so that a program that is content with any words is not taken for ours. */
static bool run_check(struct master *m, char *const argv[], int state, const char *expected,
		      struct buf *problems)
{
	BUF_SCOPED out = {.max = 4 * OUTPUT_MAX};
	int status = -1, fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return buf_fmt(problems, "pipe: %s\n", strerror(errno)), false;
	pid_t pid = fork();
	if (pid == 0)
		check_in_child(m, argv, state, fds[1]);
	close(fds[1]);
	bool ended = pid > 0 && wait_for_check(pid, fds[0], &out, &status);
	close(fds[0]);
	bool good = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (good && str_starts(buf_str(&out), str_of(expected)))
		return true;
	if (!good)
		buf_add(problems, buf_str(&out));
	buf_fmt(problems, "%s: the new program is not usable: ", m->program);
	if (!ended)
		buf_fmt(problems, "`pabal %s` did not end within %d s\n", argv[1], CHECK_MS / 1000);
	else if (WIFSIGNALED(status))
		buf_fmt(problems, "`pabal %s` died of signal %d\n", argv[1], WTERMSIG(status));
	else if (good)
		buf_fmt(problems,
			"it is not pabal, or one that cannot take over: restart the server instead\n");
	else if (WEXITSTATUS(status) == 71 && out.n == 0)
		buf_fmt(problems, "it cannot be run\n");
	else
		buf_fmt(problems, "`pabal %s` ended with %d\n", argv[1], WEXITSTATUS(status));
	return false;
}

static bool check_program(struct master *m, struct buf *problems)
{
	char *config[] = {(char[]){"pabal"},
			  (char[]){"config"},
			  (char[]){"check"},
			  (char[]){"--config"},
			  NULL,
			  NULL};
	enum { BEFORE = 4 };
	char *adopt[ARGUMENTS_MAX + BEFORE + 1] = {(char[]){"pabal"}, (char[]){"adopt"},
						   (char[]){"--config"}, NULL, (char[]){"--"}};
	char path[4096];
	FD_SCOPED state = make_state(m);

	if (state < 0)
		return buf_fmt(problems, "memfd_create: %s\n", strerror(errno)), false;
	snprintf(path, sizeof(path), "%s", config_file(m->now.config));
	config[4] = adopt[3] = path;
	for (size_t i = 1; i < ARGUMENTS_MAX && m->options->argv[i]; i++)
		adopt[BEFORE + i] = m->options->argv[i];
	return run_check(m, config, state, "", problems) &&
	       run_check(m, adopt, state, PROC_ADOPTS, problems);
}

bool upgrade_begin(struct master *m, struct buf *problems)
{
	const char *why = m->stop_deadline_ms ? "the server is being stopped or upgraded"
			  : !m->ready ? "not all roles are ready (see `pabal status`): try again later"
				      : NULL;

	if (why)
		return buf_fmt(problems, "%s\n", why), false;
	m->program_fd = open(m->program, O_RDONLY | O_CLOEXEC);
	if (m->program_fd < 0)
		return buf_fmt(problems, "%s: %s\n", m->program, strerror(errno)), false;
	if (!check_program(m, problems)) {
		fd_close(&m->program_fd);
		return false;
	}
	int64_t stop_time = config_duration_ms(m->now.config, SETTING_PROCESS_STOP_TIME);
	m->stop_deadline_ms = clock_mono_ms() + (stop_time < DRAIN_MS ? stop_time : DRAIN_MS);
	log_event(LOG_INFO, "master.upgrade", K_CSTR(path, m->program));
	return true;
}

/* ---- the step ----------------------------------------------------------------------------------- */

static bool keep_open(int fd)
{
	return fd < 0 || fcntl(fd, F_SETFD, 0) == 0;
}

static void keep_one(void *ctx, int fd)
{
	bool *good = ctx;

	*good = keep_open(fd) && *good;
}

static bool keep_all(struct master *m, int state)
{
	bool good = keep_open(state) && keep_open(lock_of(m)) && keep_open(log_of(m).ring) &&
		    keep_open(log_of(m).wake) && keep_open(m->control_fd) && keep_open(m->binary_fd);

	listeners_each_fd(m, keep_one, &good);
	for (size_t i = 0; i < m->heritage.sockets_n; i++)
		good = keep_open(m->heritage.sockets[i]) && good;
	for (size_t i = 0; i < m->heritage.clients_n; i++)
		good = keep_open(m->heritage.clients[i]) && good;
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		good = keep_open(c->control_fd) && good;
	for (struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->upgrade)
			good = keep_open(c->fd) && good;
	return good;
}

void upgrade_exec(struct master *m, struct err *err)
{
	char number[12];
	FD_SCOPED state = make_state(m);

	snprintf(number, sizeof(number), "%d", state);
	if (state < 0 || !keep_all(m, state) || setenv(ENVIRONMENT, number, 1) < 0) {
		err_sys(err, "preparing the upgrade");
	} else {
		syscall(SYS_execveat, m->program_fd, "", m->options->argv, environ, AT_EMPTY_PATH);
		err_sys(err, "execveat %s", m->program);
	}
	unsetenv(ENVIRONMENT);
	fd_close(&m->program_fd);
}

bool upgrade_back(struct master *m, const char *why)
{
	if (m->heritage.previous < 0 || m->was_ready)
		return false;
	snprintf(m->fatal, sizeof(m->fatal), "%s", why);
	log_event(LOG_ERROR, "master.upgrade.back", K_CSTR(why, why));
	m->program_fd = fd_take(&m->heritage.previous);
	m->stop_deadline_ms = clock_mono_ms() + BACK_MS;
	for (struct child *c = m->child; c < m->child + m->child_n; c++)
		c->ended = c->state == CHILD_DOWN;
	return true;
}

/* ---- in the new program ------------------------------------------------------------------------- */

static int fd_of(const struct json_value *v)
{
	int64_t fd = json_value_int_or(v, -1);

	return fd > 2 && fd < INT32_MAX && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0 ? (int)fd : -1;
}

static size_t fds_of(const struct json_value *list, int *out, size_t max)
{
	size_t n = json_value_count(list), got = 0;

	for (size_t i = 0; i < n && got < max; i++)
		if ((out[got] = fd_of(json_value_item(list, i))) >= 0)
			got++;
	return got;
}

static void take_ticket_keys(struct master *m, const struct json_value *root)
{
	const struct json_value *list = json_value_member(root, "ticket_keys");

	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *one = json_value_item(list, i);
		BUF_SCOPED bytes = {0};
		enum role_id role;
		if (!role_find(json_value_str_or(json_value_member(one, "role"), STR_NONE), &role) ||
		    !hex_decode(&bytes, json_value_str_or(json_value_member(one, "keys"), STR_NONE)) ||
		    bytes.n > sizeof(m->ticket_keys[role]))
			continue;
		memcpy(m->ticket_keys[role], bytes.p, bytes.n);
		m->ticket_keys_n = bytes.n / sizeof(struct tls_ticket_key);
		secret_wipe(bytes.p, bytes.n);
	}
	m->next_ticket_keys_ms = json_value_int_or(json_value_member(root, "ticket_keys_due_ms"), 0);
}

static void take_suspects(struct master *m, const struct json_value *root)
{
	const struct json_value *list = json_value_member(root, "suspects");

	for (size_t i = 0; i < json_value_count(list) && i < SUSPECTS_MAX; i++) {
		const struct json_value *one = json_value_item(list, i);
		struct suspect *s = &m->suspect[i];
		snprintf(s->account, sizeof(s->account), "%.*s",
			 STR_ARG(json_value_str_or(json_value_member(one, "account"), STR(""))));
		snprintf(s->qid, sizeof(s->qid), "%.*s",
			 STR_ARG(json_value_str_or(json_value_member(one, "qid"), STR(""))));
		if (!role_find(json_value_str_or(json_value_member(one, "role"), STR_NONE), &s->role))
			s->role = s->qid[0] ? ROLE_QUEUE : ROLE_MAILBOX;
		s->crashes = (unsigned)json_value_int_or(json_value_member(one, "crashes"), 0);
		s->last_ms = json_value_int_or(json_value_member(one, "last_ms"), 0);
	}
}

bool heritage_read(struct master *m, struct err *err)
{
	struct heritage *h = &m->heritage;
	JSON_DOC_SCOPED doc = NULL;
	const char *number = getenv(ENVIRONMENT);
	uint64_t fd;

	h->lock = h->log.ring = h->log.wake = h->previous = -1;
	if (!number)
		return true;
	bool good = str_u64(str_of(number), INT32_MAX, &fd);
	unsetenv(ENVIRONMENT); /* not for the roles */
	if (!good || !read_state((int)fd, &doc, err))
		return good ? false : err_set(err, ERR_SYNTAX, ENVIRONMENT ": not a number");
	const struct json_value *root = json_doc_root(doc);
	h->there = true;
	snprintf(h->version, sizeof(h->version), "%.*s",
		 STR_ARG(json_value_str_or(json_value_member(root, "version"), STR("?"))));
	snprintf(h->failure, sizeof(h->failure), "%.*s",
		 STR_ARG(json_value_str_or(json_value_member(root, "failure"), STR(""))));
	h->previous = fd_of(json_value_member(root, "previous"));
	h->lock = fd_of(json_value_member(root, "lock"));
	h->log = (struct log_pipe){fd_of(json_value_member(root, "log_ring")),
				   fd_of(json_value_member(root, "log_wake"))};
	h->sockets_n = fds_of(json_value_member(root, "sockets"), h->sockets, HERITAGE_SOCKETS_MAX);
	h->clients_n = fds_of(json_value_member(root, "clients"), h->clients, CONTROL_CLIENTS_MAX);
	take_ticket_keys(m, root);
	take_suspects(m, root);
	m->began_us = json_value_int_or(json_value_member(root, "began_us"), m->began_us);
	return true;
}

int heritage_socket(struct heritage *h, const struct address *a)
{
	for (size_t i = 0; i < h->sockets_n; i++) {
		struct address its = {.n = sizeof(its.a)};
		int listens = 0;
		socklen_t n = sizeof(listens);
		int fd = h->sockets[i];
		if (fd < 0 || getsockname(fd, (struct sockaddr *)&its.a, &its.n) < 0 ||
		    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0 || !listens ||
		    !address_same(&its, a))
			continue;
		h->sockets[i] = -1;
		return fd;
	}
	return -1;
}

void heritage_close(struct heritage *h)
{
	for (size_t i = 0; i < h->sockets_n; i++) {
		struct address its = {.n = sizeof(its.a)};
		if (h->sockets[i] >= 0 && getsockname(h->sockets[i], (struct sockaddr *)&its.a, &its.n) == 0)
			address_unlink(&its);
		fd_close(&h->sockets[i]);
	}
	h->sockets_n = 0;
	fd_close(&h->lock);
}
