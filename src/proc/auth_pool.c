/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/auth_pool.c: questions to the directory. A directory in a file is asked where the question came in:
 * it takes microseconds. A database server may take seconds, so there questions wait in a queue for
 * threads with a connection each, and neither channels nor password checks wait with them. A full
 * queue is a temporary failure.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/auth_int.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { QUESTIONS_MAX = 5000 };

struct auth_pool {
	struct auth_role *auth;
	struct lock lock;
	struct cond cond;
	/* guarded by lock */
	struct question *first, **last;
	unsigned waiting;
	struct directory *control; /* the control socket's own handle */
	struct directory **handles;
	unsigned n, started;
};

static void *work(void *ctx)
{
	struct auth_pool *p = ctx;

	lock_take(&p->lock);
	struct directory *d = p->handles[p->started++];
	for (;;) {
		while (!p->first)
			cond_wait(&p->cond, &p->lock);
		struct question *q = p->first;
		p->first = q->next;
		if (!p->first)
			p->last = &p->first;
		p->waiting--;
		lock_drop(&p->lock);
		q->run(p->auth, d, q);
		lock_take(&p->lock);
	}
	return NULL;
}

/* Before the sandbox: what the library loads late (resolver, plugins, charsets) it loads at a first
 * connection; whether that works does not matter. */
static void warm(struct directory *d)
{
	struct err ignored = {0};
	bool local;

	(void)!directory_is_local_domain(d, STR("localhost.invalid"), &local, &ignored);
}

/* R38: files that hold the database's password are nobody else's to read. */
static void look_at_file(struct str path)
{
	ARENA_SCOPED a = arena_new();
	struct stat st;

	if (str_starts(path, STR("mysql:")))
		path = str_from(path, 6);
	const char *name = path.n ? arena_cstr(a, path) : NULL;
	if (name && stat(name, &st) == 0 && (st.st_mode & 07))
		log_event(LOG_WARN, "auth.secret.readable", K_STR(path, path),
			  K_CSTR(why, "every user may read this file with a password: chmod o-rwx"));
}

static void look_at_files(const struct config *c)
{
	static const enum setting lists[] = {SETTING_DIRECTORY_CLASSIC_DOMAINS,
					     SETTING_DIRECTORY_CLASSIC_ACCOUNTS,
					     SETTING_DIRECTORY_CLASSIC_ALIASES};

	look_at_file(config_str(c, SETTING_DIRECTORY_PASSWORD_FILE));
	look_at_file(config_str(c, SETTING_DIRECTORY_CLASSIC_DOVECOT));
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		struct config_list l = config_list(c, lists[i]);
		for (size_t k = 0; k < l.n; k++)
			look_at_file(l.v[k]);
	}
}

bool auth_pool_prepare(struct auth_role *a, struct sandbox *s, struct err *err)
{
	CONFIG_SCOPED c = role_config(a->role);
	struct auth_pool *p;
	int etc;

	if (!directory_remote(a->directory))
		return true;
	look_at_files(c);
	s->calls |= SANDBOX_NETWORK | SANDBOX_UNIX;
	/* The names of servers are looked up at each connection: hosts, resolv.conf, nsswitch.conf; and the
	 * authority's certificate is read. */
	if (!role_open_dir(a->role, s, "/etc", SANDBOX_READ, &etc, err))
		return false;
	warm(a->directory);
	p = mem_new(struct auth_pool);
	p->auth = a;
	p->n = (unsigned)config_int(c, SETTING_DIRECTORY_CONNECTIONS);
	p->handles = mem_zalloc(p->n * sizeof(*p->handles));
	p->last = &p->first;
	lock_init(&p->lock, LOCK_PROC);
	cond_init(&p->cond);
	p->handles[0] = a->directory;
	for (unsigned i = 1; i < p->n; i++)
		if (!directory_clone(a->directory, &p->handles[i], err))
			return false;
	if (!directory_clone(a->directory, &p->control, err))
		return false;
	a->pool = p;
	return true;
}

bool auth_pool_start(struct auth_role *a, struct err *err)
{
	struct auth_pool *p = a->pool;
	pthread_t thread;

	for (unsigned i = 0; p && i < p->n; i++) {
		if (pthread_create(&thread, NULL, work, p) != 0)
			return err_sys(err, "thread for the directory");
		pthread_detach(thread);
	}
	return true;
}

bool auth_ask(struct auth_role *a, struct question *q)
{
	struct auth_pool *p = a->pool;

	if (!p) {
		q->run(a, a->directory, q);
		return true;
	}
	LOCK_SCOPED(&p->lock);
	if (p->waiting >= QUESTIONS_MAX)
		return false;
	q->next = NULL;
	*p->last = q;
	p->last = &q->next;
	p->waiting++;
	cond_signal(&p->cond);
	return true;
}

struct directory *auth_control_directory(struct auth_role *a)
{
	return a->pool ? a->pool->control : a->directory;
}

void auth_pool_configured(struct auth_role *a, const struct config *c)
{
	directory_reconfigure(auth_control_directory(a), c);
	for (unsigned i = 0; a->pool && i < a->pool->n; i++)
		directory_reconfigure(a->pool->handles[i], c);
}

unsigned auth_pool_waiting(struct auth_role *a)
{
	if (!a->pool)
		return 0;
	LOCK_SCOPED(&a->pool->lock);
	return a->pool->waiting;
}
