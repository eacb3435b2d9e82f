/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/role_int.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "base/mem.h"
#include "net/net.h"
#include "proc/crash.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FD_MASTER = 3,
	FD_LOG = 4,
	FD_CRASH = 5,
	FD_LOG_WAKE = 6,
	SNAPSHOT_MAX = 4 << 20,
	STATUS_MAX = 32768, /* as messages.def says */
	EXIT_CANNOT_START = 70
};

static const struct role_form *const forms[ROLE_COUNT] = {
#define ROLE(id, name, user, count, phase) [ROLE_##id] = &role_form_##name,
#include "proc/roles.def"
#undef ROLE
};

const struct role_form *role_form(enum role_id id)
{
	return forms[id];
}

/* ---- what the roles ask --------------------------------------------------------------------- */

struct config *role_config(struct role *r)
{
	LOCK_SCOPED(&r->lock);
	return config_ref(r->config);
}

struct channel *role_channel(struct role *r, enum channel_kind kind, enum role_id other, unsigned index)
{
	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++)
		if (p->kind == kind && p->other == other && p->index == index)
			return p->ch;
	return NULL;
}

unsigned role_count(struct role *r, enum role_id other)
{
	return r->counts[other];
}

void role_post(struct role *r, const struct message *m)
{
	(void)channel_post(r->master, m); /* false: the master is gone, and soon we are */
}

bool role_open_dir(struct role *r, struct sandbox *s, const char *path, enum sandbox_access access,
		   int *out_fd, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)r;
	if (fd < 0)
		return err_sys(err, "open %s", path);
	sandbox_add(s, fd, access);
	*out_fd = fd;
	return true;
}

const char *role_journal_path(struct role *r, enum role_id of, unsigned index)
{
	CONFIG_SCOPED c = role_config(r);
	struct str path = arena_fmt(r->arena, "%s/%s-%u", config_path(c, SETTING_JOURNAL_DIR),
				    role_name(of), index);

	return arena_cstr(r->arena, path);
}

static void take_apart(struct role *r, const struct msg_role_apart *m)
{
	LOCK_SCOPED(&r->apart_lock);
	struct role_apart **at = &r->aparts;

	while (*at && !((*at)->index == m->index && str_eq(str_of((*at)->account), m->account)))
		at = &(*at)->next;
	if (m->on == (*at != NULL))
		return;
	if (m->on) {
		struct role_apart *a = mem_zalloc(sizeof(*a) + m->account.n + 1);
		a->index = m->index;
		if (m->account.n)
			memcpy(a->account, m->account.p, m->account.n);
		a->next = r->aparts;
		__atomic_store_n(&r->aparts, a, __ATOMIC_RELEASE);
	} else {
		struct role_apart *a = *at;
		__atomic_store_n(at, a->next, __ATOMIC_RELEASE);
		free(a);
	}
}

bool role_mailbox_runs(struct role *r, unsigned index)
{
	if (index < role_count(r, ROLE_MAILBOX))
		return true;
	LOCK_SCOPED(&r->apart_lock);
	for (const struct role_apart *a = r->aparts; a; a = a->next)
		if (a->index == index && !a->account[0])
			return true;
	return false;
}

unsigned role_mailbox_of(struct role *r, struct str account)
{
	if (__atomic_load_n(&r->aparts, __ATOMIC_ACQUIRE)) { /* hardly ever */
		LOCK_SCOPED(&r->apart_lock);
		for (const struct role_apart *a = r->aparts; a; a = a->next)
			if (a->account[0] && str_eq(str_of(a->account), account))
				return a->index;
	}
	return (unsigned)(str_hash(account) % role_count(r, ROLE_MAILBOX));
}

/* ---- the master's messages ------------------------------------------------------------------ */

static void take_config(struct role *r, struct msg_role_config *m)
{
	BUF_SCOPED bytes = {0};
	struct config *c;
	struct err err;
	int fd = m->snapshot;

	m->snapshot = -1;
	if (!sealed_read(fd, SNAPSHOT_MAX, &bytes, &err) || !config_decode(buf_str(&bytes), &c, &err)) {
		log_err(LOG_ERROR, "role.config.bad", &err);
		return;
	}
	lock_take(&r->lock);
	struct config *old = r->config;
	r->config = c;
	r->generation = m->generation;
	lock_drop(&r->lock);
	config_unref(old);
	log_set_level((enum log_level)config_enum(c, SETTING_LOG_LEVEL));
	if (r->running && r->form->configured)
		r->form->configured(r);
}

static bool start_peer(struct peer *p, struct err *err)
{
	p->started = p->started || channel_start(p->ch, err);
	return p->started;
}

static void take_channel(struct role *r, struct msg_role_channel *m)
{
	struct err err = {0};

	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++)
		if (p->kind == (enum channel_kind)m->kind && p->other == (enum role_id)m->peer_role &&
		    p->index == m->peer_index && p->client == m->client) {
			channel_replace(p->ch, m->channel);
			m->channel = -1;
			p->connected = true;
			if (r->running && !start_peer(p, &err))
				log_err(LOG_ERROR, "role.channel.failed", &err);
			return;
		}
	log_event(LOG_ERROR, "role.channel.unknown",
		  K_CSTR(channel, channel_kind_name((enum channel_kind)m->kind)));
}

static void take_listener(struct role *r, struct msg_role_listener *m)
{
	r->coming = mem_resize_array(r->coming, r->coming_n + 1, sizeof(*r->coming));
	struct role_listener *l = &r->coming[r->coming_n++];
	*l = (struct role_listener){.index = m->index, .id = m->id, .fd = m->socket};
	snprintf(l->name, sizeof(l->name), "%.*s", STR_ARG(m->name));
	m->socket = -1;
}

/* At the start, and after each reload. */
static void take_listeners(struct role *r)
{
	struct role_listener *old = r->listeners;
	size_t old_n = r->listeners_n;

	r->listeners = r->coming;
	r->listeners_n = r->coming_n;
	r->coming = NULL;
	r->coming_n = 0;
	if (r->running && r->form->listeners_changed)
		r->form->listeners_changed(r, old, old_n);
	for (size_t i = 0; i < old_n; i++)
		fd_close(&old[i].fd);
	free(old);
}

/* [["smtp.rcpt.refuse", "rule", "unlisted", 12], ...] */
static void write_events(struct json_writer *w)
{
	struct log_count counts[LOG_COUNTS_MAX];
	size_t n = log_counts(counts);

	json_write_name(w, STR("events"));
	json_write_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		json_write_array_begin(w);
		json_write_str(w, str_of(counts[i].event));
		json_write_str(w, str_of(counts[i].key));
		json_write_str(w, str_of(counts[i].label));
		json_write_u64(w, counts[i].n);
		json_write_array_end(w);
	}
	json_write_array_end(w);
}

static void write_status(struct role *r, struct buf *out)
{
	struct json_writer w;
	struct memory_use use;

	json_write_init(&w, out);
	json_write_object_begin(&w);
	if (memory_use(r->smaps, &use)) {
		json_write_member_int(&w, "pss_kib", (int64_t)use.pss_kib);
		json_write_member_int(&w, "private_kib", (int64_t)use.private_kib);
	}
	if (r->net) {
		struct net_counts n;
		net_counts(r->net, &n);
		json_write_member_int(&w, "connections", n.connections);
		json_write_member_int(&w, "before_login", n.before_login);
		json_write_member_int(&w, "pumps", n.pumps);
		json_write_member_int(&w, "accepted", (int64_t)n.accepted);
		json_write_member_int(&w, "refused", (int64_t)n.refused);
		json_write_member_int(&w, "workers", n.workers);
	}
	write_events(&w);
	if (r->form->status)
		r->form->status(r, &w);
	json_write_object_end(&w);
}

struct pong {
	struct role *role;
	uint64_t nonce;
};

static void pong(void *ctx)
{
	struct pong *p = ctx;
	BUF_SCOPED status = {0};

	write_status(p->role, &status);
	struct message m = {.type = MSG_role_pong,
			    .role_pong = {p->nonce, status.n <= STATUS_MAX ? buf_str(&status) : STR("{}")}};
	role_post(p->role, &m);
	free(p);
}

/* Through a worker, so that an answer says: this process still does its work. */
static void on_ping(struct role *r, uint64_t nonce)
{
	struct pong *p = mem_new(struct pong);

	*p = (struct pong){r, nonce};
	if (r->net && r->running)
		net_run(r->net, pong, p);
	else
		pong(p);
}

static void begin_drain(struct role *r, int64_t ms)
{
	if (r->drain_deadline_ms)
		return;
	r->drain_deadline_ms = clock_mono_ms() + ms;
	if (r->net)
		net_drain(r->net);
	if (r->form->drain)
		r->form->drain(r);
}

static void make_peers(struct role *r);

static void on_master(void *ctx, struct channel *ch, uint64_t id, struct message *m)
{
	struct role *r = ctx;

	(void)ch;
	(void)id;
	if (m->type == MSG_role_config) {
		take_config(r, &m->role_config);
	} else if (m->type == MSG_role_channel && r->started) {
		take_channel(r, &m->role_channel);
	} else if (m->type == MSG_role_apart) {
		take_apart(r, &m->role_apart);
	} else if (m->type == MSG_role_listener) {
		take_listener(r, &m->role_listener);
	} else if (m->type == MSG_role_start) {
		r->cold = m->role_start.cold;
		r->same_user = m->role_start.same_user;
		r->owner_uid = m->role_start.owner_uid;
		make_peers(r);
		take_listeners(r);
		r->started = true;
	} else if (m->type == MSG_role_listen) {
		take_listeners(r);
	} else if (m->type == MSG_role_ping) {
		on_ping(r, m->role_ping.nonce);
	} else if (m->type == MSG_role_drain) {
		begin_drain(r, m->role_drain.deadline_ms);
	} else if (r->form->on_master) {
		r->form->on_master(r, m);
	}
}

/* ---- start ---------------------------------------------------------------------------------- */

static void add_peer(struct role *r, enum channel_kind kind, enum role_id other, unsigned index, bool client)
{
	r->peers = mem_resize_array(r->peers, r->peers_n + 1, sizeof(*r->peers));
	r->peers[r->peers_n++] =
		(struct peer){.role = r, .kind = kind, .other = other, .index = index, .client = client};
}

/* Every channel that wires.def gives us, not connected yet: the master sends the ends. Between two
 * of one role the lower index is the client. */
static void make_peers(struct role *r)
{
	struct err err;

	for (int i = 0; i < ROLE_COUNT; i++)
		r->counts[i] = role_processes(r->config, (enum role_id)i);
	for (size_t i = 0; i < wires_n; i++) {
		const struct wire *w = &wires[i];
		if (w->client == r->id && w->server == r->id) {
			for (unsigned k = 0; k < role_indexes(r->config, r->id); k++)
				if (k != r->index)
					add_peer(r, w->kind, r->id, k, r->index < k);
		} else if (w->client == r->id || w->server == r->id) {
			enum role_id other = w->client == r->id ? w->server : w->client;
			for (unsigned k = 0; k < role_indexes(r->config, other); k++)
				add_peer(r, w->kind, other, k, w->client == r->id);
		}
	}
	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++) {
		if (!channel_new(p->kind, p->client ? CHANNEL_CLIENT : CHANNEL_SERVER, -1, &p->ch, &err))
			abort(); /* without a descriptor nothing can fail */
		if (r->form->on_message)
			channel_handle(p->ch, r->form->on_message, p);
		if (r->form->on_lost)
			channel_on_lost(p->ch, r->form->on_lost, p);
	}
}

static bool pump_until(struct role *r, bool (*there)(struct role *r))
{
	while (!there(r)) {
		struct pollfd p = {.fd = channel_fd(r->master), .events = channel_events(r->master)};
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return false;
		if (!channel_pump(r->master))
			return false;
	}
	return true;
}

static bool has_config(struct role *r)
{
	return r->config;
}

static bool has_start(struct role *r)
{
	return r->started;
}

static bool make_net(struct role *r)
{
	CONFIG_SCOPED c = role_config(r);
	struct net_options o = {
		.workers = (unsigned)config_int(c, SETTING_PROCESS_WORKERS),
		.workers_max = (unsigned)config_int(c, SETTING_PROCESS_WORKERS_MAX),
	};

	if (r->id == ROLE_SMTP)
		o.max_connections = (unsigned)config_int(c, SETTING_SMTP_MAX_CONNECTIONS);
	if (r->id == ROLE_LOGIN || r->id == ROLE_MAILBOX)
		o.max_connections = (unsigned)config_int(c, SETTING_IMAP_MAX_CONNECTIONS);
	if (o.max_connections)
		o.max_connections = o.max_connections / role_count(r, r->id) + 1;
	r->net = net_new(&o);
	return r->net;
}

static bool start_threads(struct role *r, struct err *err)
{
	if (r->net && !net_start(r->net, err))
		return false;
	if (r->form->start && !r->form->start(r, err))
		return false;
	for (struct peer *p = r->peers; p < r->peers + r->peers_n; p++) {
		/* A process that may never run costs no thread. */
		bool there = p->connected || p->other != ROLE_MAILBOX ||
			     p->index < role_count(r, ROLE_MAILBOX);
		if (there && !start_peer(p, err))
			return false;
	}
	return true;
}

static bool start(struct role *r, struct err *err)
{
	struct sandbox s = {.calls = r->form->calls};

	if (!pump_until(r, has_config))
		return err_set(err, ERR_GONE, "the master is gone");
	CONFIG_SCOPED c = role_config(r);
	s.off = !config_bool(c, SETTING_PROCESS_SANDBOX);
	if (!pump_until(r, has_start))
		return err_set(err, ERR_GONE, "the master is gone");
	if (r->form->net && !make_net(r))
		return err_set(err, ERR_TEMP, "no worker pool");
	if (r->form->prepare && !r->form->prepare(r, &s, err))
		return false;
	if (!sandbox_enter(&s, &r->sandbox, err))
		return false;
	return start_threads(r, err);
}

static void say_ready(struct role *r)
{
	char text[200];

	sandbox_describe(&r->sandbox, text, sizeof(text));
	struct message m = {.type = MSG_role_ready, .role_ready.sandbox = str_of(text)};
	role_post(r, &m);
}

static int say_failed(struct role *r, const struct err *err)
{
	struct message m = {.type = MSG_role_failed};

	log_err(LOG_ERROR, "role.start.failed", err);
	m.role_failed.why = str_of(err->cause[0] ? err->cause : err->text);
	role_post(r, &m);
	(void)channel_pump(r->master);
	return EXIT_CANNOT_START;
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool is_drained(struct role *r)
{
	struct net_counts n = {0};

	if (clock_mono_ms() >= r->drain_deadline_ms)
		return true;
	if (r->form->drained)
		return r->form->drained(r);
	if (r->net)
		net_counts(r->net, &n);
	return n.connections == 0;
}

static int live(struct role *r)
{
	enum { DRAIN_LOOK_MS = 20 };

	for (;;) {
		struct pollfd p = {.fd = channel_fd(r->master), .events = channel_events(r->master)};
		if (poll(&p, 1, r->drain_deadline_ms ? DRAIN_LOOK_MS : -1) < 0 && errno != EINTR)
			return EXIT_CANNOT_START;
		if (!channel_pump(r->master))
			return 0; /* the master ended or gave us up */
		if (r->drain_deadline_ms && is_drained(r))
			break;
	}
	if (r->form->stop)
		r->form->stop(r);
	struct message m = {.type = MSG_role_drained};
	role_post(r, &m);
	(void)channel_pump(r->master);
	return 0;
}

/* Signals of the terminal are the master's business. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGQUIT};
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool init(struct role *r, struct err *err)
{
	struct log_ring *ring; /* until the process ends */

	lock_init(&r->lock, LOCK_PROC);
	lock_init(&r->apart_lock, LOCK_LEAF);
	r->arena = arena_new();
	snprintf(r->name, sizeof(r->name), "%s-%u", role_name(r->id), r->index);
	log_init(r->name, LOG_INFO);
	if (!log_ring_open(FD_LOG, FD_LOG_WAKE, &ring, err))
		return false;
	log_to_ring(ring);
	for (int fd = FD_MASTER; fd <= FD_LOG_WAKE; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	umask(027);
	mallopt(M_ARENA_MAX, 2); /* the default is 8 heaps a core */
	ignore_signals();
	r->smaps = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	if (!sandbox_prepare(err) || !crash_watch(FD_CRASH, err))
		return false;
	file_faults_init(role_name(r->id));
	if (!channel_new(CHANNEL_MASTER, CHANNEL_CLIENT, FD_MASTER, &r->master, err))
		return false;
	channel_handle(r->master, on_master, r);
	if (r->form->create)
		r->state = r->form->create(r);
	return true;
}

int role_main(struct str name, unsigned index)
{
	struct role *r = mem_new(struct role); /* until the process ends */
	struct err err = {0};

	if (!role_find(name, &r->id) || index >= ROLE_PROCESSES_MAX || fcntl(FD_LOG_WAKE, F_GETFD) < 0) {
		fprintf(stderr, "pabal role: started by the master only\n");
		return 64;
	}
	r->index = index;
	r->form = forms[r->id];
	if (!init(r, &err)) {
		log_err(LOG_ERROR, "role.start.failed", &err);
		return EXIT_CANNOT_START;
	}
	if (!start(r, &err))
		return say_failed(r, &err);
	r->running = true;
	malloc_trim(0); /* what preparing needed for a moment */
	say_ready(r);
	_exit(live(r)); /* no destructors beside running threads */
}
