/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/master_int.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "base/mem.h"
#include "base/secret.h"
#include "json/json.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	PING_EVERY_MS = 10000, PONG_LATE_MS = 60000, BACKOFF_STEP_MS = 100, BACKOFF_MAX_MS = 10000,
	LIFE_FORGETS_MS = 60000, /* a child that lived so long begins without backoff */
	SUSPECT_FORGET_MS = 3600000, STATUS_MAX = 32768, DESCRIPTORS_WANTED = 65536,
};
enum { EXIT_CONFIG = 78, EXIT_SOFTWARE = 70 };

#define EACH_CHILD(m, c) for (struct child *c = (m)->child; c < (m)->child + (m)->child_n; c++)

/* ---- starting children ---------------------------------------------------------------- */

static void backoff(struct child *c)
{
	int64_t wait = (int64_t)c->backoff * BACKOFF_STEP_MS; /* 0, 0.1, 0.2 ... 10 s */

	c->next_start_ms = clock_mono_ms() + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
	c->backoff++;
}

static void start_child(struct master *m, struct child *c)
{
	struct err err;

	c->started_ms = c->last_pong_ms = clock_mono_ms();
	c->why[0] = c->sandbox[0] = 0;
	c->aborted = c->drain_sent = false;
	c->ping_nonce = c->pong_nonce = 0;
	buf_clear(&c->status);
	if (!child_spawn(m, c, &err)) {
		log_err(LOG_ERROR, "master.spawn.failed", &err);
		backoff(c);
		return;
	}
	c->state = CHILD_STARTING;
}

/* All are forked first, so that they load while the master writes to them. */
static void start_all(struct master *m)
{
	EACH_CHILD(m, c)
		if (!c->spare)
			start_child(m, c);
	EACH_CHILD(m, c)
		if (c->state == CHILD_STARTING)
			child_tell_start(m, c);
	for (struct child *a = m->child; a < m->child + m->child_n; a++)
		for (struct child *b = a + 1; b < m->child + m->child_n; b++)
			if (a->state == CHILD_STARTING && b->state == CHILD_STARTING)
				child_wire_two(m, a, b);
}

static void start_due(struct master *m)
{
	int64_t now = clock_mono_ms();

	EACH_CHILD(m, c) {
		if (c->state != CHILD_DOWN || c->ended || c->next_start_ms > now || m->stop_deadline_ms)
			continue;
		c->restarts++;
		m->restarted_ms[m->restarted_at++ % RESTARTS_KEPT] = now;
		start_child(m, c);
		if (c->state == CHILD_STARTING) {
			child_tell_start(m, c);
			child_wire(m, c);
			apart_started(m, c);
		}
	}
}

/* ---- readiness ------------------------------------------------------------------------ */

static void all_recovered(struct master *m)
{
	struct err err;

	EACH_CHILD(m, c)
		if (c->cold)
			return;
	m->cold = false;
	log_event(LOG_WARN, "master.recovered");
	if (!boot_mark(m->now.config, false, &err))
		log_err(LOG_ERROR, "master.boot_mark.failed", &err);
	wire_handovers(m);
}

static void write_ready_file(struct master *m)
{
	const char *path = config_path(m->now.config, SETTING_READY_FILE);
	BUF_SCOPED out = {0};
	struct json_writer w;
	struct err err;

	if (!path[0])
		return;
	json_write_init(&w, &out);
	json_write_object_begin(&w);
	proc_write_ready(m->now.config, &w);
	json_write_object_end(&w);
	buf_byte(&out, '\n');
	if (!file_replace_whole(AT_FDCWD, path, buf_str(&out), 0600, &err))
		log_err(LOG_ERROR, "master.ready_file.failed", &err);
}

/* It says that a server answers: not after the end, and not after a kill and before the next start. */
static void remove_ready_file(struct master *m)
{
	const char *path = config_path(m->now.config, SETTING_READY_FILE);

	if (path[0])
		(void)unlink(path);
	if (m->options->ended)
		m->options->ended(m->options->ctx);
}

/* What listens has changed, or the program. */
static void tell_ready(struct master *m, enum serve_news news)
{
	write_ready_file(m);
	if (m->options->ready)
		m->options->ready(m->options->ctx, m->now.config, news);
}

/* Who asked for the upgrade. */
static void tell_upgraded(struct master *m)
{
	BUF_SCOPED problems = {0};

	if (!m->heritage.failure[0]) {
		control_upgraded(m, true, STR(""));
		return;
	}
	buf_fmt(&problems, "%s: the new program did not start: %s\n", m->program, m->heritage.failure);
	control_upgraded(m, false, buf_str(&problems));
}

static void check_ready(struct master *m)
{
	EACH_CHILD(m, c)
		if (c->state != CHILD_READY && !child_is_apart(m, c))
			return;
	if (m->ready || m->cold)
		return;
	m->ready = true;
	if (m->was_ready)
		return;
	m->was_ready = true;
	m->ready_after_ms = clock_mono_ms() - m->start_ms;
	log_event(LOG_INFO, "master.ready", K_INT(ms, m->ready_after_ms), K_INT(pid, getpid()));
	notify("READY=1\nSTATUS=all roles ready");
	tell_ready(m, m->heritage.there ? SERVE_UPGRADED : SERVE_STARTED);
	tell_upgraded(m);
	fd_close(&m->heritage.previous); /* from here on we are the one that works */
}

/* ---- what children say ---------------------------------------------------------------- */

static void on_ready(struct master *m, struct child *c, const struct msg_role_ready *r)
{
	c->state = CHILD_READY;
	c->last_pong_ms = clock_mono_ms();
	snprintf(c->sandbox, sizeof(c->sandbox), "%.*s", STR_ARG(r->sandbox));
	log_event(LOG_INFO, "role.ready", K_CSTR(role, c->name), K_INT(pid, c->pid),
		  K_CSTR(state, c->sandbox), K_INT(ms, clock_mono_ms() - c->started_ms));
	if (c->role == ROLE_SMTP || c->role == ROLE_LOGIN)
		listeners_filter(m, c->role);
	if (c->cold) {
		c->cold = false;
		all_recovered(m);
	}
	apart_ready(c);
	check_ready(m);
}

/* The first start does not come about. */
static void give_up(struct master *m, const char *why)
{
	if (m->stop_deadline_ms || upgrade_back(m, why))
		return;
	snprintf(m->fatal, sizeof(m->fatal), "%s", why);
	master_stop(m, EXIT_SOFTWARE);
}

static void on_failed(struct master *m, struct child *c, const struct msg_role_failed *f)
{
	char text[sizeof(m->fatal)];

	snprintf(c->why, sizeof(c->why), "%.*s", STR_ARG(f->why));
	log_event(LOG_ERROR, "role.failed", K_CSTR(role, c->name), K_STR(why, f->why));
	if (m->was_ready || c->state == CHILD_READY)
		return;
	/* At the first start somebody watches: tell, rather than try again and again. */
	snprintf(text, sizeof(text), "%s: %s", c->name, c->why);
	give_up(m, text);
}

static void on_pong(struct child *c, const struct msg_role_pong *p)
{
	struct json_doc *doc;
	struct err err;

	c->last_pong_ms = clock_mono_ms();
	c->pong_nonce = p->nonce;
	if (!json_doc_parse(p->status_json, STATUS_MAX, &doc, &err))
		return; /* what a role writes is shown to the administrator: only if it is JSON */
	json_doc_free(doc);
	buf_clear(&c->status);
	buf_add(&c->status, p->status_json);
}

static void on_child(void *ctx, struct channel *ch, uint64_t id, struct message *msg)
{
	struct child *c = ctx;

	(void)ch;
	(void)id;
	if (msg->type == MSG_role_ready)
		on_ready(c->master, c, &msg->role_ready);
	else if (msg->type == MSG_role_failed)
		on_failed(c->master, c, &msg->role_failed);
	else if (msg->type == MSG_role_pong)
		on_pong(c, &msg->role_pong);
	else if (msg->type == MSG_role_taken && c->role == ROLE_KEYS &&
		 msg->role_taken.generation == c->master->generation)
		tell_certificates(c->master);
	else if (msg->type == MSG_status_wanted && c->role == ROLE_LOGIN)
		control_status_wanted(c);
	else if (msg->type == MSG_role_drained)
		c->ended = true;
}

/* ---- deaths --------------------------------------------------------------------------- */

static struct suspect *suspect_slot(struct master *m, enum role_id role, const char *account, const char *qid)
{
	struct suspect *oldest = m->suspect;

	for (struct suspect *s = m->suspect; s < m->suspect + SUSPECTS_MAX; s++) {
		if (s->crashes && s->role == role && strcmp(s->account, account) == 0 &&
		    strcmp(s->qid, qid) == 0)
			return s;
		if (s->last_ms < oldest->last_ms)
			oldest = s;
	}
	apart_release(m, oldest);
	*oldest = (struct suspect){.role = role};
	snprintf(oldest->account, sizeof(oldest->account), "%s", account);
	snprintf(oldest->qid, sizeof(oldest->qid), "%s", qid);
	return oldest;
}

bool suspect_is_old(const struct suspect *s)
{
#ifdef PABAL_FAULTS
	const char *now = getenv("PABAL_FAULT_FORGET"); /* while that file exists the hour is over */

	if (now && access(now, F_OK) == 0)
		return true;
#endif
	return clock_mono_ms() - s->last_ms > SUSPECT_FORGET_MS;
}

/* In queue it is the message, whoever it was for, and the account only where no message is named; in
 * mailbox the account. */
static void add_suspect(struct master *m, enum role_id role, const struct crash_note *n)
{
	bool message = role == ROLE_QUEUE && n->qid[0];

	if (!message && !n->account[0])
		return;
	struct suspect *s = suspect_slot(m, role, message ? "" : n->account, message ? n->qid : "");
	if (s->crashes && suspect_is_old(s))
		s->crashes = 0;
	s->crashes++;
	s->last_ms = clock_mono_ms();
	EACH_CHILD(m, c) /* a queue hears of it when it starts */
		if (c->state != CHILD_DOWN && c->role == role && role == ROLE_MAILBOX)
			tell_suspect(m, c, s);
}

static void log_frames(const struct crash_note *n)
{
	BUF_SCOPED text = {0};

	for (uint32_t i = 0; i < n->frames_n; i++)
		buf_fmt(&text, "%s0x%llx", i ? " " : "", (unsigned long long)n->frames[i]);
	log_event(LOG_ERROR, "role.crash.frames", K_STR(where, buf_str(&text)));
}

static void report_death(struct master *m, struct child *c, int status)
{
	struct crash_note note;
	bool noted = crash_page_take(c->crash_fd, &note);

	if (WIFSIGNALED(status))
		log_event(LOG_ERROR, "role.killed", K_CSTR(role, c->name), K_INT(pid, c->pid),
			  K_INT(signal, WTERMSIG(status)));
	else
		log_event(WEXITSTATUS(status) ? LOG_ERROR : LOG_INFO, "role.exited", K_CSTR(role, c->name),
			  K_INT(pid, c->pid), K_INT(exit, WEXITSTATUS(status)));
	if (!noted)
		return;
	log_event(LOG_ERROR, "role.crashed", K_CSTR(role, c->name), K_INT(signal, note.signal),
		  K_INT(code, note.code), K_INT(value, note.syscall), K_CSTR(sid, note.sid),
		  K_CSTR(qid, note.qid), K_CSTR(account, note.account));
	log_frames(&note);
	/* A door's word for it would let a captured one set aside whom it likes. */
	if (c->role == ROLE_MAILBOX || c->role == ROLE_QUEUE)
		add_suspect(m, c->role, &note);
}

static void on_death(struct master *m, struct child *c, int status)
{
	(void)channel_pump(c->ch); /* its last words */
	report_death(m, c, status);
	bool was_ready = c->state == CHILD_READY;
	c->state = CHILD_DOWN;
	m->ready = m->ready && child_is_apart(m, c);
	apart_ended(m, c);
	if (m->stop_deadline_ms || c->spare) {
		c->ended = true;
		return;
	}
	if (was_ready && clock_mono_ms() - c->started_ms > LIFE_FORGETS_MS)
		c->backoff = 0;
	backoff(c);
	if (c->role == ROLE_SMTP || c->role == ROLE_LOGIN)
		listeners_filter(m, c->role);
	/* Never came up, and never said why: the program itself cannot run here. */
	if (!m->was_ready && !was_ready && c->backoff > 5) {
		char text[sizeof(m->fatal)];
		snprintf(text, sizeof(text), "%s does not start (%s %d)", c->name,
			 WIFSIGNALED(status) ? "signal" : "exit",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		give_up(m, text);
	}
}

static void reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		EACH_CHILD(m, c)
			if (c->state != CHILD_DOWN && c->pid == pid)
				on_death(m, c, status);
}

/* ---- health --------------------------------------------------------------------------- */

static void tell_facts(struct master *m, struct child *c)
{
	enum { HOUR_MS = 3600000 };
	struct message facts = {.type = MSG_server_facts};
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < RESTARTS_KEPT && i < m->restarted_at; i++)
		facts.server_facts.restarts_in_hour += now - m->restarted_ms[i] < HOUR_MS;
	(void)channel_post(c->ch, &facts);
}

void master_ping(struct master *m)
{
	EACH_CHILD(m, c) {
		if (c->state != CHILD_READY)
			continue;
		struct message ping = {.type = MSG_role_ping, .role_ping.nonce = ++c->ping_nonce};
		(void)channel_post(c->ch, &ping);
		if (c->role == ROLE_QUEUE)
			tell_facts(m, c);
	}
}

static void check_health(struct master *m)
{
	int64_t now = clock_mono_ms();

	EACH_CHILD(m, c) {
		if (c->state != CHILD_READY || c->aborted || now - c->last_pong_ms < PONG_LATE_MS)
			continue;
		log_event(LOG_ERROR, "role.hangs", K_CSTR(role, c->name), K_INT(pid, c->pid),
			  K_INT(ms, now - c->last_pong_ms));
		c->aborted = true;
		kill(c->pid, SIGABRT);
	}
}

static void run_timers(struct master *m)
{
	int64_t now = clock_mono_ms();

	if (!m->stop_deadline_ms)
		apart_update(m);
	start_due(m);
	if (now >= m->next_ping_ms) {
		check_health(m);
		master_ping(m);
		m->next_ping_ms = now + PING_EVERY_MS;
	}
	if (now >= m->next_ticket_keys_ms) {
		ticket_keys_rotate(m);
		m->next_ticket_keys_ms = now + config_duration_ms(m->now.config, SETTING_TLS_TICKET_LIFETIME);
	}
	control_answer_due(m);
}

/* ---- reload, logs, stop --------------------------------------------------------------- */

void master_reopen_logs(struct master *m)
{
	EACH_CHILD(m, c)
		if (c->role == ROLE_LOG && c->state != CHILD_DOWN) {
			struct message msg = {.type = MSG_role_reopen};
			(void)channel_post(c->ch, &msg);
		}
}

/* What can change while running; else a line for the administrator. The listeners are changed when all
 * else is right. */
static bool acceptable(struct master *m, const struct config *next, struct buf *problems)
{
	enum setting first;
	struct err err;

	if (m->stop_deadline_ms) {
		buf_fmt(problems, "the server is being stopped or upgraded\n");
		return false;
	}
	if (!config_reloadable(m->now.config, next, &first)) {
		buf_fmt(problems,
			"%s: error: %s cannot change while the server runs: restart it, or pabal "
			"upgrade\n",
			config_file(next), setting_info(first)->name);
		return false;
	}
	if (!listeners_open(m, next, &err)) {
		buf_fmt(problems, "%s: error: %s\n", config_file(next), err.cause);
		return false;
	}
	return true;
}

bool master_reload(struct master *m, struct buf *problems)
{
	struct loaded next;
	struct err err;

	notify_reloading();
	bool good = load_config(m->options->config_path, &next, problems, &err) &&
		    acceptable(m, next.config, problems);
	if (!good) {
		struct str rest = buf_str(problems);
		log_event(LOG_ERROR, "master.reload.refused", K_STR(why, str_cut(&rest, '\n')));
		loaded_fini(&next);
		notify("READY=1\nSTATUS=reload refused, old configuration kept");
		return false;
	}
	audit_config(m->now.config, next.config);
	loaded_fini(&m->now);
	m->now = next;
	m->generation++;
	log_set_level((enum log_level)config_enum(m->now.config, SETTING_LOG_LEVEL));
	tell_config(m);
	tell_listeners(m);
	if (m->was_ready)
		tell_ready(m, SERVE_RELOADED);
	log_event(LOG_INFO, "master.reloaded", K_INT(value, m->generation));
	notify("READY=1\nSTATUS=reloaded");
	return true;
}

bool master_upgrade(struct master *m, struct buf *problems)
{
	notify_reloading();
	if (upgrade_begin(m, problems))
		return true;
	struct str rest = buf_str(problems);
	log_event(LOG_ERROR, "master.upgrade.refused", K_STR(why, str_cut(&rest, '\n')));
	notify("READY=1\nSTATUS=upgrade refused, the old program goes on");
	return false;
}

static void kill_all(struct master *m)
{
	EACH_CHILD(m, c)
		if (c->state != CHILD_DOWN)
			kill(c->pid, SIGKILL);
}

void master_stop(struct master *m, int exit_code)
{
	if (m->stop_deadline_ms && !upgrading(m))
		return;
	fd_close(&m->program_fd); /* a stop is more than an upgrade */
	control_upgraded(m, false, STR("the server was stopped\n"));
	m->exit_code = exit_code;
	m->stop_deadline_ms = clock_mono_ms() + config_duration_ms(m->now.config, SETTING_PROCESS_STOP_TIME);
	notify("STOPPING=1");
	log_event(LOG_INFO, "master.stopping");
	EACH_CHILD(m, c)
		if (c->state == CHILD_DOWN)
			c->ended = true;
}

static void drain(struct master *m, struct child *c)
{
	int64_t left = m->stop_deadline_ms - clock_mono_ms();
	struct message msg = {.type = MSG_role_drain, .role_drain.deadline_ms = left > 0 ? left : 0};

	c->drain_sent = true;
	if (c->state == CHILD_READY)
		(void)channel_post(c->ch, &msg);
	else /* holds nothing yet */
		kill(c->pid, SIGKILL);
}

/* Phase by phase; true when all have ended. */
static bool stop_step(struct master *m)
{
	enum { GRACE_MS = 2000, LAST_PHASE = 3 };
	int64_t now = clock_mono_ms();

	if (now > m->stop_deadline_ms + GRACE_MS)
		kill_all(m);
	for (; m->stop_phase <= LAST_PHASE; m->stop_phase++) {
		bool here = false;
		EACH_CHILD(m, c) {
			if (role_stop_phase(c->role) != m->stop_phase || c->state == CHILD_DOWN)
				continue;
			here = true;
			if (!c->drain_sent)
				drain(m, c);
		}
		if (here)
			return false;
	}
	return true;
}

/* ---- the loop ------------------------------------------------------------------------- */

static void on_signal(struct master *m)
{
	struct signalfd_siginfo s;

	while (read(m->signal_fd, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		BUF_SCOPED problems = {0};
		if (s.ssi_signo == SIGCHLD) {
			reap(m);
		} else if (s.ssi_signo == SIGHUP) {
			audit_asked("reload (SIGHUP)", s.ssi_uid, (int32_t)s.ssi_pid);
			(void)master_reload(m, &problems);
			master_reopen_logs(m);
		} else if (s.ssi_signo == SIGUSR1) {
			master_reopen_logs(m);
		} else if (m->stop_deadline_ms && !upgrading(m)) {
			kill_all(m); /* asked twice */
		} else {
			audit_asked("stop (signal)", s.ssi_uid, (int32_t)s.ssi_pid);
			master_stop(m, 0);
		}
	}
}

static int next_timeout(const struct master *m)
{
	int64_t now = clock_mono_ms(), next = m->next_ping_ms;

	if (m->stop_deadline_ms)
		return 50;
	for (const struct child *c = m->child; c < m->child + m->child_n; c++)
		if (c->state == CHILD_DOWN && !c->ended && c->next_start_ms < next)
			next = c->next_start_ms;
	if (m->tell_status_ms && m->tell_status_ms < next)
		next = m->tell_status_ms;
	for (const struct control_client *c = m->client; c < m->client + CONTROL_CLIENTS_MAX; c++)
		if (c->fd >= 0 && c->answer_at_ms && c->answer_at_ms < next)
			next = c->answer_at_ms;
	return next <= now ? 0 : (int)(next - now);
}

static void poll_once(struct master *m)
{
	struct pollfd p[2 + CONTROL_CLIENTS_MAX + ROLE_COUNT * ROLE_PROCESSES_MAX];
	size_t n = 0;

	p[n++] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = m->control_fd, .events = POLLIN};
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		p[n++] = (struct pollfd){.fd = m->client[i].fd, .events = POLLIN};
	for (size_t i = 0; i < m->child_n; i++)
		p[n++] = (struct pollfd){.fd = channel_fd(m->child[i].ch),
					 .events = channel_events(m->child[i].ch)};
	if (poll(p, n, next_timeout(m)) <= 0)
		return;
	for (size_t i = 0; i < m->child_n; i++) /* before signals: last words first */
		if (p[2 + CONTROL_CLIENTS_MAX + i].revents && !channel_pump(m->child[i].ch) &&
		    m->child[i].state != CHILD_DOWN)
			kill(m->child[i].pid, SIGKILL); /* without its channel it is not ours any more */
	if (p[0].revents)
		on_signal(m);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (p[2 + i].revents && m->client[i].fd >= 0)
			control_read(m, &m->client[i]);
	if (p[1].revents)
		control_accept(m);
}

/* The new program could not be run after all. */
static void go_on(struct master *m, const struct err *err)
{
	BUF_SCOPED problems = {0};

	log_err(LOG_ERROR, "master.upgrade.failed", err);
	buf_fmt(&problems, "%s; the old program goes on\n", err->cause);
	control_upgraded(m, false, buf_str(&problems));
	m->stop_deadline_ms = 0;
	m->stop_phase = 0;
	EACH_CHILD(m, c) {
		c->ended = false;
		c->backoff = 0;
	}
	start_all(m);
	notify("READY=1\nSTATUS=upgrade failed, the old program goes on");
}

static void loop(struct master *m)
{
	for (;;) {
		struct err err = {0};
		run_timers(m);
		if (m->stop_deadline_ms && stop_step(m)) {
			if (!upgrading(m))
				return;
			upgrade_exec(m, &err);
			if (m->fatal[0])
				return; /* neither the new program nor the one before */
			go_on(m, &err);
		}
		poll_once(m);
	}
}

/* ---- birth and end of the server ------------------------------------------------------ */

static bool log_pipe_new(struct log_pipe *out)
{
	out->ring = log_ring_new();
	out->wake = log_ring_wake_new();
	return out->ring >= 0 && out->wake >= 0;
}

static bool make_children(struct master *m, struct err *err)
{
	for (int role = 0; role < ROLE_COUNT; role++)
		m->child_n += role_indexes(m->now.config, (enum role_id)role);
	m->child = mem_zalloc(m->child_n * sizeof(*m->child));
	struct child *c = m->child;
	m->same_user = true;
	for (int role = 0; role < ROLE_COUNT; role++)
		for (unsigned i = 0; i < role_indexes(m->now.config, (enum role_id)role); i++, c++) {
			c->master = m;
			c->role = (enum role_id)role;
			c->index = i;
			c->spare = c->ended = child_is_apart(m, c);
			bool one = !c->spare && role_processes(m->now.config, c->role) == 1;
			snprintf(c->name, sizeof(c->name), one ? "%s" : "%s-%u", role_name(c->role), i);
			if (!identity_of(m->now.config, c->role, &c->who, err) ||
			    !channel_new(CHANNEL_MASTER, CHANNEL_SERVER, -1, &c->ch, err))
				return false;
			channel_handle(c->ch, on_child, c);
			c->crash_fd = crash_page_new();
			if (c->crash_fd < 0 || !log_pipe_new(&c->log))
				return err_sys(err, "memfd_create");
			m->same_user = m->same_user && c->who.uid == geteuid();
		}
	return true;
}

/* One server per run_dir; the lock goes with the process. */
static bool take_lock(struct master *m, struct err *err)
{
	char path[4096], pid[24] = "";
	struct stat held, named;

	snprintf(path, sizeof(path), "%s/pabal.pid", config_path(m->now.config, SETTING_RUN_DIR));
	if (m->heritage.lock >= 0 && fstat(m->heritage.lock, &held) == 0 && stat(path, &named) == 0 &&
	    held.st_dev == named.st_dev && held.st_ino == named.st_ino) {
		m->lock_fd = fd_take(&m->heritage.lock);
		return true;
	}
	m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (m->lock_fd < 0)
		return err_sys(err, "open %s", path);
	if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (pread(m->lock_fd, pid, sizeof(pid) - 1, 0) < 0)
			pid[0] = 0;
		return err_set(err, ERR_CONFLICT,
			       "a server runs already with this run_dir (pid %.*s): see `pabal status`, "
			       "or `pabal "
			       "stop` it",
			       (int)strcspn(pid, "\n"), pid);
	}
	int n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(m->lock_fd, 0) < 0 || pwrite(m->lock_fd, pid, (size_t)n, 0) != n)
		return err_sys(err, "write %s", path);
	return true;
}

static bool take_signals(struct master *m, struct err *err)
{
	static const int ours[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(&set, ours[i]);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, "sigprocmask");
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signal_fd >= 0 || err_sys(err, "signalfd");
}

/* Roles hold a descriptor or two per connection. */
static void raise_limits(void)
{
	struct rlimit now, more;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return;
	more = now;
	more.rlim_cur = DESCRIPTORS_WANTED;
	if (more.rlim_max < DESCRIPTORS_WANTED)
		more.rlim_max = DESCRIPTORS_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	more.rlim_max = now.rlim_max; /* not ours to raise */
	more.rlim_cur = now.rlim_max < DESCRIPTORS_WANTED ? now.rlim_max : DESCRIPTORS_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &more) < 0)
		log_event(LOG_WARN, "master.limits", K_INT(errno, errno));
}

/* Mark of this start: a cold one keeps the old mark until all have recovered. */
static bool check_boot(struct master *m, struct err *err)
{
	if (!boot_is_cold(m->now.config, &m->cold, err))
		return false;
	if (m->cold)
		log_event(LOG_WARN, "master.cold_start",
			  K_CSTR(why, "the last end was not clean and the system was restarted"));
	EACH_CHILD(m, c)
		c->cold = m->cold && !c->spare && (c->role == ROLE_MAILBOX || c->role == ROLE_QUEUE);
	return m->cold || boot_mark(m->now.config, false, err);
}

static bool set_up(struct master *m, struct err *err)
{
	struct log_ring *ring; /* until the process ends */

	raise_limits();
	umask(027);
	m->log = m->heritage.log;
	if ((m->log.ring < 0 || m->log.wake < 0) && !log_pipe_new(&m->log))
		return err_sys(err, "memfd_create");
	if (!log_ring_open(m->log.ring, m->log.wake, &ring, err))
		return false;
	log_to_ring(ring); /* kept there until the log role takes them */
	m->binary_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (m->binary_fd < 0)
		return err_sys(err, "open own program");
	program_path(m->program, sizeof(m->program));
	if (!proc_prepare(m->now.config, err) || !take_lock(m, err) || !check_boot(m, err) ||
	    !mac_key_get(m->now.config, m->mac_key, err) || !take_signals(m, err) ||
	    !listeners_open(m, m->now.config, err) || !control_open(m, err))
		return false;
	heritage_close(&m->heritage);
	control_adopt(m);
	return true;
}

/* Lines that the log role has not taken: somebody has to see them. */
static void show_unread_log(const struct log_pipe *p)
{
	char text[LOG_LINE_MAX + 1];
	struct log_ring *ring;
	struct err err;
	size_t n;

	if (p->ring < 0 || !log_ring_open(p->ring, p->wake, &ring, &err))
		return;
	while ((n = log_ring_peek(ring, text, sizeof(text)))) {
		if (write(STDERR_FILENO, text, n) < 0)
			break;
		log_ring_take(ring, n);
	}
	log_ring_close(ring);
}

static void tear_down(struct master *m)
{
	struct err err;

	remove_ready_file(m);
	log_to_ring(NULL);
	if (m->was_ready && !m->cold && !boot_mark(m->now.config, true, &err))
		log_err(LOG_ERROR, "master.boot_mark.failed", &err);
	if (m->fatal[0]) {
		show_unread_log(&m->log);
		EACH_CHILD(m, c)
			show_unread_log(&c->log);
		fprintf(stderr, "pabal: %s\n", m->fatal);
	}
	listeners_close(m);
	control_close(m);
	secret_wipe(m->mac_key, sizeof(m->mac_key));
	secret_wipe(m->ticket_keys, sizeof(m->ticket_keys));
}

static int fail(const struct err *err, int code)
{
	fprintf(stderr, "pabal: %s\n", err->cause[0] ? err->cause : err->text);
	return code;
}

int proc_serve(const struct serve_options *o)
{
	static struct master *volatile kept; /* until the process ends, and no leak meanwhile */
	struct master *m = kept = mem_new(struct master);
	BUF_SCOPED problems = {0};
	struct err err = {0};

	m->options = o;
	m->start_ms = clock_mono_ms();
	m->began_us = clock_wall_us();
	m->started_unix = m->began_us / 1000000;
	m->signal_fd = m->control_fd = m->program_fd = -1;
	(void)prctl(PR_SET_NAME, "pabal", 0, 0, 0); /* after an upgrade it would be a number */
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		m->client[i].fd = -1;
	if (!heritage_read(m, &err))
		return fail(&err, EXIT_SOFTWARE);
	if (!m->heritage.failure[0])
		snprintf(m->upgraded_from, sizeof(m->upgraded_from), "%s", m->heritage.version);
	bool good = load_config(o->config_path, &m->now, &problems, &err);
	fprintf(stderr, "%.*s", (int)problems.n, problems.p ? problems.p : "");
	if (!good && problems.n)
		err_cause(&err, "%.*s", STR_ARG(buf_str(&problems)));
	if (!good && upgrade_back(m, err.cause))
		upgrade_exec(m, &err);
	if (!good)
		return problems.n ? EXIT_CONFIG : fail(&err, EXIT_CONFIG);
	log_init("master", (enum log_level)config_enum(m->now.config, SETTING_LOG_LEVEL));
	m->log = (struct log_pipe){-1, -1};
	if (!make_children(m, &err) || !set_up(m, &err)) {
		if (upgrade_back(m, err.cause))
			upgrade_exec(m, &err);
		show_unread_log(&m->log);
		return fail(&err, EXIT_CONFIG);
	}
	if (!m->heritage.there)
		remove_ready_file(m);
	log_audit(m->heritage.there ? "server.upgrade" : "server.start", K_INT(pid, getpid()),
		  K_CSTR(version, PABAL_VERSION), K_CSTR(path, config_file(m->now.config)));
	m->generation = 1;
	m->next_ping_ms = m->start_ms + PING_EVERY_MS;
	if (!m->heritage.there || m->ticket_keys_n == 0) {
		ticket_keys_rotate(m);
		m->next_ticket_keys_ms =
			m->start_ms + config_duration_ms(m->now.config, SETTING_TLS_TICKET_LIFETIME);
	}
	start_all(m);
	loop(m);
	tear_down(m);
	return m->exit_code;
}

/* ---- ready.json ----------------------------------------------------------------------- */

void proc_write_ready(const struct config *c, struct json_writer *w)
{
	size_t n;
	const struct listener *l = config_listeners(c, &n);
	bool written[SERVICE_COUNT] = {false};
	struct str host = STR("127.0.0.1");

	for (size_t i = 0; i < n; i++)
		if (l[i].port && l[i].address.n && !str_eq(l[i].address.v[0], STR("*")) &&
		    !str_eq(l[i].address.v[0], STR("0.0.0.0")) && !str_eq(l[i].address.v[0], STR("::")))
			host = l[i].address.v[0];
	json_write_member_int(w, "pid", getpid());
	json_write_member_str(w, "host", host);
	json_write_name(w, STR("ports"));
	json_write_object_begin(w);
	for (size_t i = 0; i < n; i++) {
		if (l[i].port == 0 || written[l[i].service])
			continue;
		written[l[i].service] = true;
		json_write_member_int(w, config_service_name(l[i].service), l[i].port);
	}
	json_write_object_end(w);
}
