/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/listen.c: the listeners, opened once and kept by the master, so that a restarted door finds
 * its queue of connections where it was. A reload opens what is new, all or nothing, and keeps what is still
 * wanted; an upgrade finds the sockets of the program before it (upgrade.c).
 *
 * A door of several processes has a socket for each per address (SO_REUSEPORT), and a filter that
 * chooses by source address: limits per source stay exact (PROCESSES trap 12). Sockets behind a
 * proxy are not filtered: all come from one address. The first socket of an address is bound without
 * SO_REUSEPORT, so that an address of somebody else's is not shared without a word, and has it from then on.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/master_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, LOWEST_FREE_PORT = 1024 };

struct socket_group { /* the sockets of one address, one per process of the door */
	unsigned listener; /* index into the configuration's */
	enum role_id door;
	struct address at;
	bool behind_proxy, fresh /* opened by the reload that is under way */;
	unsigned n; /* sockets; of a Unix socket one, shared */
	struct {
		int fd;
		uint32_t id;
	} socket[ROLE_PROCESSES_MAX];
};

static int family(const struct socket_group *g)
{
	return g->at.a.ss_family;
}

static const char *unix_path(const struct address *a)
{
	return ((const struct sockaddr_un *)(const void *)&a->a)->sun_path;
}

static uint16_t port(const struct address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->a;

	return ntohs(a->a.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

bool address_same(const struct address *a, const struct address *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)(const void *)&a->a;
	const struct sockaddr_in *b4 = (const struct sockaddr_in *)(const void *)&b->a;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)(const void *)&a->a;
	const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)(const void *)&b->a;

	if (a->a.ss_family != b->a.ss_family)
		return false;
	if (a->a.ss_family == AF_UNIX)
		return strcmp(unix_path(a), unix_path(b)) == 0;
	if (port(a) != port(b))
		return false;
	return a->a.ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
					 : memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

bool address_unix(const char *path, struct address *out)
{
	struct sockaddr_un *a = (struct sockaddr_un *)(void *)&out->a;

	*out = (struct address){.n = sizeof(*a)};
	a->sun_family = AF_UNIX;
	return snprintf(a->sun_path, sizeof(a->sun_path), "%s", path) < (int)sizeof(a->sun_path);
}

/* "*" is every IPv4 address, "::" every IPv6 one. */
static bool parse_address(struct str text, uint16_t port, struct address *out)
{
	char name[64];
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->a;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->a;

	memset(out, 0, sizeof(*out));
	snprintf(name, sizeof(name), "%.*s", STR_ARG(str_eq(text, STR("*")) ? STR("0.0.0.0") : text));
	if (inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		out->n = sizeof(*v4);
		return true;
	}
	if (inet_pton(AF_INET6, name, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		out->n = sizeof(*v6);
		return true;
	}
	return false;
}

/* ---- sockets ---------------------------------------------------------------------------------- */

static bool set(int fd, int level, int name)
{
	const int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

/* shared: sockets of ours have this port already. */
static int tcp_socket(const struct address *a, bool shared)
{
	FD_SCOPED fd = socket(a->a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || !set(fd, SOL_SOCKET, SO_REUSEADDR) || (shared && !set(fd, SOL_SOCKET, SO_REUSEPORT)) ||
	    (a->a.ss_family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY)) ||
	    bind(fd, (const struct sockaddr *)&a->a, a->n) < 0 || !set(fd, SOL_SOCKET, SO_REUSEPORT) ||
	    listen(fd, BACKLOG) < 0)
		return -1;
	return fd_take(&fd);
}

/* "user", "user:group", ":group"; names or numbers. */
static bool give_unix(const char *path, struct str owner, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct str group = owner, user = str_cut(&group, ':');
	uint64_t uid = (uint64_t)-1, gid = (uint64_t)-1;

	if (owner.n == 0)
		return true;
	if (user.n && !str_u64(user, UINT32_MAX - 1, &uid)) {
		const struct passwd *pw = getpwnam(arena_cstr(a, user));
		if (!pw)
			return err_set(err, ERR_NOT_FOUND, "unix_owner: there is no user %.*s",
				       STR_ARG(user));
		uid = pw->pw_uid;
	}
	if (group.n && !str_u64(group, UINT32_MAX - 1, &gid)) {
		const struct group *gr = getgrnam(arena_cstr(a, group));
		if (!gr)
			return err_set(err, ERR_NOT_FOUND, "unix_owner: there is no group %.*s",
				       STR_ARG(group));
		gid = gr->gr_gid;
	}
	return chown(path, (uid_t)uid, (gid_t)gid) == 0 || err_sys(err, "chown %s", path);
}

static int unix_socket(const struct address *a, mode_t mode)
{
	FD_SCOPED fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)unlink(unix_path(a)); /* of a server that was killed; the lock says that none runs */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a->a, a->n) < 0 || chmod(unix_path(a), mode) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -1;
	return fd_take(&fd);
}

int listener_unix(struct master *m, const struct address *a, mode_t mode)
{
	FD_SCOPED fd = heritage_socket(&m->heritage, a);

	return fd >= 0 && chmod(unix_path(a), mode) == 0 ? fd_take(&fd) : unix_socket(a, mode);
}

static void add_socket(struct master *m, struct socket_group *g, int fd)
{
	g->socket[g->n].fd = fd;
	g->socket[g->n++].id = ++m->socket_id;
}

/* ---- what a configuration wants ----------------------------------------------------------------- */

struct plan {
	struct master *m;
	const struct config *config;
	struct socket_group *groups;
	size_t n;
};

static struct socket_group *find(struct socket_group *groups, size_t n, const struct address *a)
{
	for (struct socket_group *g = groups; g < groups + n; g++)
		if (address_same(&g->at, a))
			return g;
	return NULL;
}

static bool port_is_ours(const struct plan *p, const struct address *a)
{
	const struct master *m = p->m;

	for (size_t i = 0; i < m->groups_n + p->n; i++) {
		const struct socket_group *g = i < m->groups_n ? &m->groups[i] : &p->groups[i - m->groups_n];
		if (g->n && family(g) == a->a.ss_family && port(&g->at) == port(a))
			return true;
	}
	return false;
}

static struct socket_group *add_group(struct plan *p, const struct socket_group *like)
{
	p->groups = mem_resize_array(p->groups, p->n + 1, sizeof(*p->groups));
	struct socket_group *g = &p->groups[p->n++];
	*g = *like;
	return g;
}

/* A host without IPv6 still serves "::" and "*". */
static bool unsupported(const struct address *a)
{
	return a->a.ss_family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

static bool cannot_listen(const struct listener *l, struct str text, struct err *err)
{
	int sys = errno;
	const char *hint = "";

	if (sys == EADDRINUSE)
		hint = "; another program (or server) has this port: `ss -ltnp` shows which";
	if (sys == EACCES && l->port < LOWEST_FREE_PORT)
		hint = "; ports below 1024 are for root: start the server as root, or set port_base";
	if (sys == EADDRNOTAVAIL)
		hint = "; this host does not have the address (inet_interfaces, or address of the listener)";
	err_sys(err, "listen");
	return err_cause(err, "listener %.*s: %.*s port %u: %s%s", STR_ARG(l->name), STR_ARG(text), l->port,
			 strerror(sys), hint);
}

static bool open_tcp(struct plan *p, struct socket_group *g, const struct listener *l, struct str text,
		     struct err *err)
{
	unsigned n = role_processes(p->config, g->door);
	int fd;

	/* Also more than there are processes now: what waits in them is not to be lost. */
	while (g->n < ROLE_PROCESSES_MAX && (fd = heritage_socket(&p->m->heritage, &g->at)) >= 0)
		add_socket(p->m, g, fd);
	while (g->n < n) {
		fd = tcp_socket(&g->at, g->n > 0 || port_is_ours(p, &g->at));
		if (fd < 0 && g->n == 0 && unsupported(&g->at) && str_eq(text, STR("::"))) {
			log_event(LOG_WARN, "master.listen.no_ipv6", K_STR(service, l->name));
			p->n--;
			return true;
		}
		if (fd < 0)
			return cannot_listen(l, text, err);
		add_socket(p->m, g, fd);
	}
	return true;
}

/* The sockets that are there, or new ones. */
static bool want(struct plan *p, unsigned index, const struct listener *l, const struct address *a,
		 struct str text, struct err *err)
{
	struct socket_group like = {.listener = index, .door = role_of_service(l->service), .at = *a,
				    .behind_proxy = l->proxy_from.n > 0, .fresh = true};
	const struct socket_group *old = find(p->m->groups, p->m->groups_n, a);

	if (find(p->groups, p->n, a))
		return err_set(err, ERR_CONFLICT, "listener %.*s: %.*s port %u is another listener's, too",
			       STR_ARG(l->name), STR_ARG(text), l->port);
	if (old && old->door != like.door)
		return err_set(err, ERR_CONFLICT,
			       "listener %.*s: %.*s port %u belongs to another kind of service until "
			       "now: remove "
			       "that one and reload first",
			       STR_ARG(l->name), STR_ARG(text), l->port);
	if (old) {
		like.fresh = false;
		like.n = old->n;
		memcpy(like.socket, old->socket, sizeof(like.socket));
	}
	struct socket_group *g = add_group(p, &like);
	if (old && a->a.ss_family == AF_UNIX)
		return (chmod(unix_path(a), l->unix_mode) == 0 || err_sys(err, "chmod %s", unix_path(a))) &&
		       give_unix(unix_path(a), l->unix_owner, err);
	if (old)
		return true;
	if (a->a.ss_family != AF_UNIX)
		return open_tcp(p, g, l, text, err);
	int fd = listener_unix(p->m, a, l->unix_mode);
	if (fd < 0)
		return err_sys(err, "listener %.*s: %s", STR_ARG(l->name), unix_path(a));
	add_socket(p->m, g, fd);
	return give_unix(unix_path(a), l->unix_owner, err);
}

static bool want_listener(struct plan *p, unsigned index, const struct listener *l, struct err *err)
{
	struct address a;

	for (size_t k = 0; l->port && k < l->address.n; k++) {
		if (!parse_address(l->address.v[k], l->port, &a))
			return err_set(err, ERR_SYNTAX, "listener %.*s: \"%.*s\" is not an address",
				       STR_ARG(l->name), STR_ARG(l->address.v[k]));
		if (!want(p, index, l, &a, l->address.v[k], err))
			return false;
	}
	if (l->unix_path.n == 0)
		return true;
	if (!address_unix(l->unix_path.p, &a))
		return err_set(err, ERR_LIMIT,
			       "listener %.*s: path of the Unix socket is too long (%zu, at most %zu)",
			       STR_ARG(l->name), l->unix_path.n,
			       sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return want(p, index, l, &a, l->unix_path, err);
}

void address_unlink(const struct address *a)
{
	if (a->a.ss_family == AF_UNIX)
		(void)unlink(unix_path(a));
}

static void close_group(struct socket_group *g)
{
	address_unlink(&g->at);
	for (unsigned i = 0; i < g->n; i++)
		close(g->socket[i].fd);
}

bool listeners_open(struct master *m, const struct config *c, struct err *err)
{
	struct plan p = {.m = m, .config = c};
	size_t n;
	const struct listener *l = config_listeners(c, &n);
	bool good = true;

	for (unsigned i = 0; good && i < n; i++)
		good = want_listener(&p, i, &l[i], err);
	if (!good) {
		for (struct socket_group *g = p.groups; g < p.groups + p.n; g++)
			if (g->fresh)
				close_group(g);
		free(p.groups);
		return false;
	}
	/* The doors have copies of the sockets: they take who waits there before they close theirs. */
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		if (!find(p.groups, p.n, &g->at))
			close_group(g);
	free(m->groups);
	m->groups = p.groups;
	m->groups_n = p.n;
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		g->fresh = false;
	listeners_filter(m, ROLE_SMTP);
	listeners_filter(m, ROLE_LOGIN);
	return true;
}

/* Where there are more sockets than processes, some have several. */
void listeners_give(struct master *m, struct child *c)
{
	unsigned processes = role_processes(m->now.config, c->role);

	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		for (unsigned i = 0; i < g->n; i++) {
			if (g->door != c->role || (family(g) != AF_UNIX && i % processes != c->index))
				continue;
			struct message msg = {.type = MSG_role_listener,
					      .role_listener = {STR("listener"), g->listener,
								g->socket[i].id, g->socket[i].fd}};
			(void)channel_post(c->ch, &msg);
		}
}

void controls_give(struct child *c)
{
	struct message msg = {.type = MSG_role_listener,
			      .role_listener = {STR("control"), 0, 0, c->control_fd}};

	if (c->control_fd >= 0)
		(void)channel_post(c->ch, &msg);
}

void listeners_each_fd(struct master *m, void (*fn)(void *ctx, int fd), void *ctx)
{
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		for (unsigned i = 0; i < g->n; i++)
			fn(ctx, g->socket[i].fd);
}

/* ---- the filter ------------------------------------------------------------------------------- */

/* hash(source) mod alive, then through a list to the socket's number in its group. The packet's data
 * begin behind the TCP header; the IP header is at SKF_NET_OFF. */
static void attach(struct socket_group *g, const unsigned *alive, unsigned n)
{
	struct sock_filter code[8 + 2 * ROLE_PROCESSES_MAX];
	struct sock_fprog program = {.filter = code};
	unsigned short at = 0;
	const uint32_t multiplier = 2654435761u; /* Knuth's, so that neighbours spread */

	if (family(g) == AF_INET) {
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							  (uint32_t)(SKF_NET_OFF + 12));
	} else { /* a /64 is one source */
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							  (uint32_t)(SKF_NET_OFF + 8));
		code[at++] = (struct sock_filter)BPF_STMT(BPF_MISC | BPF_TAX, 0);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							  (uint32_t)(SKF_NET_OFF + 12));
		code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, multiplier);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n);
	for (unsigned i = 0; i + 1 < n; i++) {
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i, 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, alive[i]);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, alive[n - 1]);
	program.len = at;
	if (setsockopt(g->socket[0].fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
		log_event(LOG_WARN, "master.listen.no_filter", K_INT(errno, errno));
}

static void detach(struct socket_group *g)
{
	const int none = 0;

	(void)setsockopt(g->socket[0].fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof(none));
}

void listeners_filter(struct master *m, enum role_id door)
{
	unsigned alive[ROLE_PROCESSES_MAX], n = 0, all = 0;

	for (struct child *c = m->child; c < m->child + m->child_n; c++) {
		if (c->role != door)
			continue;
		all++;
		if (c->backoff == 0)
			alive[n++] = c->index;
	}
	if (n == 0) /* all are away: they will be back */
		for (; n < all; n++)
			alive[n] = n;
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++) {
		if (g->door != door || g->n < 2)
			continue;
		if (g->behind_proxy)
			detach(g);
		else
			attach(g, alive, n);
	}
}

void listeners_close(struct master *m)
{
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		close_group(g);
	free(m->groups);
	m->groups = NULL;
	m->groups_n = 0;
}
