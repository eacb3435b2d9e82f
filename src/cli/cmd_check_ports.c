/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal check ports: is each listener there, and is it ours (R16)? From this host's side: by loopback, by
 * the address that a listener has, or with --host by a name or address as others use it. A firewall in
 * front of this host can only be seen from outside.
 */
#include "base/clock.h"
#include "base/file.h"
#include "cli/findings.h"
#include "config/config.h"
#include "crypto/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PROBE_MS = 5000, BANNER_MAX = 512 };

enum outcome_of_probe { PROBE_GOOD, PROBE_REFUSED, PROBE_SILENT, PROBE_OTHER, PROBE_NO_TLS, PROBE_NO_NAME };
struct probe {
	int fd;
	int64_t deadline_ms;
	struct tls_session *tls;
	struct buf banner;
};

static bool wait_for(struct probe *p, short events)
{
	struct pollfd f = {.fd = p->fd, .events = events};
	int64_t left = p->deadline_ms - clock_mono_ms();
	return left > 0 && poll(&f, 1, (int)left) == 1;
}

static enum outcome_of_probe connect_to(struct probe *p, const struct sockaddr *a, socklen_t n)
{
	int e = 0;
	socklen_t len = sizeof e;
	p->fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return PROBE_NO_NAME;
	if (connect(p->fd, a, n) == 0)
		return PROBE_GOOD;
	if (errno != EINPROGRESS)
		return PROBE_REFUSED;
	if (!wait_for(p, POLLOUT))
		return PROBE_SILENT;
	(void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &e, &len);
	return e == 0 ? PROBE_GOOD : e == ECONNREFUSED ? PROBE_REFUSED : PROBE_SILENT;
}

static bool shake_hands(struct probe *p)
{
	struct tls_context *c;
	struct err err;
	enum tls_result r = TLS_FAILED;
	if (!tls_context_client(&(struct tls_client_settings){.verify = false}, &c, &err))
		return false;
	p->tls = tls_session_new_client(c, p->fd, STR_NONE);
	tls_context_unref(c);
	while (p->tls) {
		r = tls_handshake(p->tls, &err);
		if ((r != TLS_WANT_READ && r != TLS_WANT_WRITE) ||
		    !wait_for(p, r == TLS_WANT_READ ? POLLIN : POLLOUT))
			break;
	}
	return r == TLS_OK;
}

/* The first line that the server says. */
static bool read_banner(struct probe *p)
{
	struct err err;
	while (!str_has_byte(buf_str(&p->banner), '\n') && p->banner.n < BANNER_MAX) {
		char chunk[BANNER_MAX];
		size_t n = 0;
		enum tls_result r = TLS_OK;
		if (p->tls) {
			r = tls_read(p->tls, chunk, sizeof chunk, &n, &err);
		} else {
			ssize_t got = recv(p->fd, chunk, sizeof chunk, 0);
			r = got > 0 ? TLS_OK : got < 0 && errno == EAGAIN ? TLS_WANT_READ : TLS_CLOSED;
			n = got > 0 ? (size_t)got : 0;
		}
		if (r == TLS_OK)
			buf_add_bytes(&p->banner, chunk, n);
		else if (r != TLS_WANT_READ || !wait_for(p, POLLIN))
			return false;
	}
	return true;
}

static const char *greeting(enum listener_service service)
{
	switch (service) {
	case SERVICE_IMAP:
	case SERVICE_IMAPS: return "* OK";
	case SERVICE_POP3:
	case SERVICE_POP3S: return "+OK";
	case SERVICE_SMTP:
	case SERVICE_SUBMISSION:
	case SERVICE_SUBMISSIONS:
	case SERVICE_LMTP:
	case SERVICE_LOCAL: return "220 ";
	case SERVICE_AUTH: return "VERSION";
	case SERVICE_METRICS: return "HTTP/1.1 200";
	case SERVICE_COUNT: break;
	}
	return "";
}

static enum outcome_of_probe ask(struct probe *p, const struct listener *l)
{
	if (l->tls == LISTENER_TLS_IMPLICIT && !shake_hands(p))
		return PROBE_NO_TLS;
	if (l->service == SERVICE_METRICS &&
	    send(p->fd, "GET /metrics HTTP/1.0\r\n\r\n", 25, MSG_NOSIGNAL) != 25)
		return PROBE_SILENT;
	if (!read_banner(p))
		return PROBE_SILENT;
	return str_starts(buf_str(&p->banner), str_of(greeting(l->service))) ? PROBE_GOOD : PROBE_OTHER;
}

static enum outcome_of_probe probe_tcp(struct probe *p, const struct listener *l, const char *host)
{
	char port[8];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	snprintf(port, sizeof port, "%u", l->port);
	if (getaddrinfo(host, port, &hints, &list) != 0)
		return PROBE_NO_NAME;
	enum outcome_of_probe o = connect_to(p, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return o == PROBE_GOOD ? ask(p, l) : o;
}

static enum outcome_of_probe probe_unix(struct probe *p, const struct listener *l)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (l->unix_path.n >= sizeof a.sun_path)
		return PROBE_NO_NAME;
	memcpy(a.sun_path, l->unix_path.p, l->unix_path.n);
	enum outcome_of_probe o = connect_to(p, (const struct sockaddr *)&a, sizeof a);
	return o == PROBE_GOOD ? ask(p, l) : o;
}

/* Which address of the listener we can use ourselves. */
static const char *host_of(struct cli *cli, struct str address)
{
	if (str_eq(address, STR("*")) || str_eq(address, STR("0.0.0.0")))
		return "127.0.0.1";
	return str_eq(address, STR("::")) ? "::1" : arena_cstr(cli->arena, address);
}

static void report(struct findings *f, const struct listener *l, struct str what, enum outcome_of_probe o,
		   struct str banner)
{
	struct cli *cli = f->cli;
	bool low = l->port && l->port < 1024 && geteuid() != 0;
	switch (o) {
	case PROBE_GOOD:
		finding_add(f, FINDING_OK, what, STR_NONE, "%s",
			    cli_text(cli, "open, and it is pabal's kind of service",
				     "열려 있고 올바른 서비스입니다"));
		break;
	case PROBE_REFUSED:
		finding_add(
			f, FINDING_FAIL, what, low ? STR("systemctl status pabal") : STR("pabal status"),
			"%s",
			cli_text(cli, "closed: nothing listens there; does the server run?",
				 "닫혀 있습니다: 아무것도 듣고 있지 않습니다. 서버가 실행 중입니까?"));
		break;
	case PROBE_SILENT:
		finding_add(f, FINDING_FAIL, what, STR("pabal firewall print"), "%s",
			    cli_text(cli, "no answer: filtered by a firewall, or the server hangs",
				     "응답이 없습니다: 방화벽이 막거나 서버가 멈췄습니다"));
		break;
	case PROBE_NO_TLS:
		finding_add(f, FINDING_FAIL, what, STR("pabal config explain tls.certificate_files"), "%s",
			    cli_text(cli, "it does not speak TLS: no certificate, or another program",
				     "TLS로 응답하지 않습니다: 인증서가 없거나 다른 프로그램입니다"));
		break;
	case PROBE_OTHER:
		finding_add(f, FINDING_FAIL, what, arena_fmt(cli->arena, "ss -ltnp 'sport = :%u'", l->port),
			    cli_text(cli, "another service answers: \"%.*s\"", "다른 서비스가 응답합니다: \"%.*s\""),
			    STR_ARG(str_trim(str_sub(banner, 0, 60))));
		break;
	case PROBE_NO_NAME:
		finding_add(f, FINDING_WARN, what, STR_NONE, "%s",
			    cli_text(cli, "this address cannot be used from here", "여기서 쓸 수 없는 주소입니다"));
		break;
	}
}

static void check(struct findings *f, const struct listener *l, const char *host)
{
	struct probe p = {.fd = -1, .deadline_ms = clock_mono_ms() + PROBE_MS};
	struct str what =
		host ? arena_fmt(f->cli->arena, "%.*s, %s port %u", STR_ARG(l->name), host, l->port)
		     : arena_fmt(f->cli->arena, "%.*s, %.*s", STR_ARG(l->name), STR_ARG(l->unix_path));
	enum outcome_of_probe o = host ? probe_tcp(&p, l, host) : probe_unix(&p, l);
	struct str banner = buf_str(&p.banner);
	for (size_t i = 0; i < p.banner.n; i++)
		if ((unsigned char)p.banner.p[i] < 0x20 || (unsigned char)p.banner.p[i] >= 0x7f)
			p.banner.p[i] = ' ';
	/* A host without IPv6 serves "::" all the same. */
	bool excused = o != PROBE_GOOD && host && strcmp(host, "::1") == 0 &&
		       access("/proc/net/if_inet6", R_OK) != 0;
	report(f, l, what, excused ? PROBE_NO_NAME : o, banner);
	tls_session_free(p.tls);
	fd_close(&p.fd);
	buf_free(&p.banner);
}

int cmd_check_ports(struct cli *cli)
{
	struct findings f = {.cli = cli};
	struct str told = cli_option(cli, "--host");
	size_t n;
	int code = cli_config(cli);
	if (code)
		return code;
	const struct listener *l = config_listeners(cli->config, &n);
	for (size_t i = 0; i < n; i++) {
		if (l[i].port && told.n)
			check(&f, &l[i], arena_cstr(cli->arena, told));
		for (size_t k = 0; l[i].port && !told.n && k < l[i].address.n; k++)
			check(&f, &l[i], host_of(cli, l[i].address.v[k]));
		if (l[i].unix_path.n && !told.n)
			check(&f, &l[i], NULL);
	}
	return findings_print(&f);
}
