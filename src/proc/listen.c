/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/listen.c: the listeners, opened once and kept by the master, so that a restarted door finds
 * its queue of connections where it was.
 *
 * A door of several processes has a socket for each per address (SO_REUSEPORT), and a filter that
 * chooses by source address: limits per source stay exact (PROCESSES trap 12). Sockets behind a
 * proxy are not filtered: all come from one address.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/master_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

struct socket_group {
	unsigned listener; /* index into the configuration's */
	enum role_id door;
	int family;
	bool filtered;
	unsigned n;        /* sockets; of a Unix socket one, shared */
	int fd[ROLE_PROCESSES_MAX];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct address {
	struct sockaddr_storage a;
	socklen_t n;
};

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

static int tcp_socket(const struct address *a, bool shared)
{
	const int on = 1;
	FD_SCOPED fd = socket(a->a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
	    (a->a.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (const struct sockaddr *)&a->a, a->n) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return fd_take(&fd);
}

static struct socket_group *add_group(struct master *m, unsigned listener, enum role_id door, int family)
{
	m->groups = mem_resize_array(m->groups, m->groups_n + 1, sizeof(*m->groups));
	struct socket_group *g = &m->groups[m->groups_n++];
	*g = (struct socket_group){.listener = listener, .door = door, .family = family};
	return g;
}

/* A host without IPv6 still serves "::" and "*". */
static bool unsupported(const struct address *a)
{
	return a->a.ss_family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

static bool open_tcp(struct master *m, unsigned index, const struct listener *l, struct str text,
		     struct err *err)
{
	enum role_id door = role_of_service(l->service);
	unsigned n = role_processes(m->now.config, door);
	struct address a;

	if (!parse_address(text, l->port, &a))
		return err_set(err, ERR_SYNTAX, "listener %.*s: \"%.*s\" is not an address",
			       STR_ARG(l->name), STR_ARG(text));
	struct socket_group *g = add_group(m, index, door, a.a.ss_family);
	g->filtered = n > 1 && l->proxy_from.n == 0;
	for (unsigned i = 0; i < n; i++) {
		int fd = tcp_socket(&a, n > 1);
		if (fd < 0 && i == 0 && unsupported(&a) && str_eq(text, STR("::"))) {
			m->groups_n--;
			log_event(LOG_WARN, "master.listen.no_ipv6", K_STR(service, l->name));
			return true;
		}
		if (fd < 0) {
			int sys = errno;
			err_sys(err, "listener %.*s: %.*s port %u", STR_ARG(l->name), STR_ARG(text), l->port);
			if (sys == EADDRINUSE)
				err_while(err, "another program (or server) uses this port");
			return false;
		}
		g->fd[g->n++] = fd;
	}
	return true;
}

static bool open_unix(struct master *m, unsigned index, const struct listener *l, struct err *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	FD_SCOPED fd = -1;

	if (l->unix_path.n >= sizeof(a.sun_path))
		return err_set(err, ERR_LIMIT,
			       "listener %.*s: path of the Unix socket is too long (%zu, at most %zu)",
			       STR_ARG(l->name), l->unix_path.n, sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, l->unix_path.p, l->unix_path.n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(a.sun_path); /* of a server that was killed; the lock says that none runs */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chmod(a.sun_path, l->unix_mode) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "listener %.*s: %s", STR_ARG(l->name), a.sun_path);
	struct socket_group *g = add_group(m, index, role_of_service(l->service), AF_UNIX);
	memcpy(g->path, a.sun_path, sizeof(g->path));
	g->fd[g->n++] = fd_take(&fd);
	return true;
}

bool listeners_open(struct master *m, struct err *err)
{
	size_t n;
	const struct listener *l = config_listeners(m->now.config, &n);

	for (unsigned i = 0; i < n; i++) {
		for (size_t k = 0; l[i].port && k < l[i].address.n; k++)
			if (!open_tcp(m, i, &l[i], l[i].address.v[k], err))
				return false;
		if (l[i].unix_path.n && !open_unix(m, i, &l[i], err))
			return false;
	}
	listeners_filter(m, ROLE_SMTP);
	listeners_filter(m, ROLE_LOGIN);
	return true;
}

void listeners_give(struct master *m, struct child *c)
{
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++) {
		if (g->door != c->role || (g->family != AF_UNIX && c->index >= g->n))
			continue;
		struct message msg = {.type = MSG_role_listener,
				      .role_listener = {STR("listener"), g->listener,
							g->fd[g->family == AF_UNIX ? 0 : c->index]}};
		(void)channel_post(c->ch, &msg);
	}
	if (c->control_fd >= 0) {
		struct message msg = {.type = MSG_role_listener,
				      .role_listener = {STR("control"), 0, c->control_fd}};
		(void)channel_post(c->ch, &msg);
	}
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

	if (g->family == AF_INET) {
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
	if (setsockopt(g->fd[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
		log_event(LOG_WARN, "master.listen.no_filter", K_INT(errno, errno));
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
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++)
		if (g->door == door && g->filtered)
			attach(g, alive, n);
}

/* ---- life ------------------------------------------------------------------------------------ */

void listeners_close(struct master *m)
{
	for (struct socket_group *g = m->groups; g < m->groups + m->groups_n; g++) {
		if (g->path[0])
			(void)unlink(g->path);
		for (unsigned i = 0; i < g->n; i++)
			close(g->fd[i]);
	}
	free(m->groups);
	m->groups = NULL;
	m->groups_n = 0;
}

static bool same_list(struct config_list a, struct config_list b)
{
	for (size_t i = 0; i < a.n && i < b.n; i++)
		if (!str_eq(a.v[i], b.v[i]))
			return false;
	return a.n == b.n;
}

bool listeners_same(const struct config *a, const struct config *b)
{
	size_t na, nb;
	const struct listener *la = config_listeners(a, &na), *lb = config_listeners(b, &nb);

	for (size_t i = 0; i < na && i < nb; i++)
		if (!str_eq(la[i].name, lb[i].name) || la[i].service != lb[i].service ||
		    la[i].tls != lb[i].tls || !same_list(la[i].address, lb[i].address) ||
		    la[i].port != lb[i].port || !str_eq(la[i].unix_path, lb[i].unix_path) ||
		    la[i].unix_mode != lb[i].unix_mode || la[i].proxy_from.n != lb[i].proxy_from.n)
			return false;
	return na == nb;
}
