/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal firewall print: the rules that let the world in to what the configuration listens on, in the words
 * of the firewall in use (R14, R15, R18). It changes nothing: the administrator looks at it and runs it.
 */
#include "cli/cli.h"
#include "config/config.h"
#include "json/json.h"

#include <stdlib.h>
#include <unistd.h>

enum { PORTS_MAX = 64 };

struct opening {
	unsigned port;
	const char *service;
};
struct openings {
	struct opening v[PORTS_MAX];
	size_t n;
};

static bool is_loopback(struct str address)
{
	return str_starts(address, STR("127.")) || str_eq(address, STR("::1"));
}

static void add(struct openings *o, unsigned port, const char *service)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i].port == port)
			return;
	if (o->n < PORTS_MAX)
		o->v[o->n++] = (struct opening){port, service};
}

static int by_port(const void *x, const void *y)
{
	const struct opening *a = x, *b = y;
	return a->port < b->port ? -1 : a->port > b->port;
}

/* Listeners that others can reach; and the web ports, for mail in the browser and certificates. */
static void collect(struct cli *cli, struct openings *o)
{
	size_t n;
	const struct listener *l = config_listeners(cli->config, &n);
	for (size_t i = 0; i < n; i++) {
		bool outside = false;
		for (size_t k = 0; k < l[i].address.n; k++)
			outside |= !is_loopback(l[i].address.v[k]);
		if (l[i].port && outside && l[i].service != SERVICE_LMTP &&
		    l[i].service != SERVICE_METRICS)
			add(o, l[i].port, config_service_name(l[i].service));
	}
	if (o->n && !cli_has(cli, "--no-web")) {
		add(o, 80, "http");
		add(o, 443, "https");
	}
	qsort(o->v, o->n, sizeof *o->v, by_port);
}

static void put_list(struct buf *out, const struct openings *o, const char *between)
{
	for (size_t i = 0; i < o->n; i++)
		buf_fmt(out, "%s%u", i ? between : "", o->v[i].port);
}

/* ---- the dialects ---- */

static void print_nft(const struct openings *o, struct buf *out)
{
	buf_add(out, STR("nft insert rule inet filter input tcp dport { "));
	put_list(out, o, ", ");
	buf_add(out, STR(" } ct state new accept comment \\\"pabal\\\"\n"));
}

static void print_iptables(const struct openings *o, struct buf *out)
{
	static const char *const tools[] = {"iptables", "ip6tables"};
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < o->n; i++)
			buf_fmt(out, "%s -I INPUT -m state --state NEW -m tcp -p tcp --dport %u -j ACCEPT\n",
				tools[k], o->v[i].port);
}

/* ufw takes 15 ports in one rule. */
static void print_ufw(const struct openings *o, struct buf *out)
{
	enum { AT_ONCE = 15 };
	for (size_t from = 0; from < o->n; from += AT_ONCE) {
		struct openings part = {.n = 0};
		for (size_t i = from; i < o->n && i < from + AT_ONCE; i++)
			part.v[part.n++] = o->v[i];
		buf_add(out, STR("ufw allow proto tcp to any port "));
		put_list(out, &part, ",");
		buf_add(out, STR(" comment pabal\n"));
	}
}

static void print_firewalld(const struct openings *o, struct buf *out)
{
	for (size_t i = 0; i < o->n; i++)
		buf_fmt(out, "firewall-cmd --permanent --add-port=%u/tcp\n", o->v[i].port);
	buf_add(out, STR("firewall-cmd --reload\n"));
}

static void print_netsh(const struct openings *o, struct buf *out)
{
	buf_add(out, STR("netsh advfirewall firewall add rule name=\"pabal\" dir=in action=allow "
			 "protocol=TCP localport="));
	put_list(out, o, ",");
	buf_byte(out, '\n');
}

static const struct dialect {
	const char *option, *program, *keep_en, *keep_ko;
	void (*print)(const struct openings *o, struct buf *out);
} dialects[] = {
	{"--ufw", "/usr/sbin/ufw", "kept by ufw itself; look: ufw status",
	 "ufw가 스스로 보존합니다. 확인: ufw status", print_ufw},
	{"--firewalld", "/usr/bin/firewall-cmd",
	 "kept by firewalld itself; look: firewall-cmd --list-ports",
	 "firewalld가 스스로 보존합니다. 확인: firewall-cmd --list-ports", print_firewalld},
	{"--nft", "/usr/sbin/nft",
	 "table and chain may have other names here: nft list ruleset; to keep: nft list ruleset > "
	 "/etc/nftables.conf",
	 "테이블과 체인의 이름은 다를 수 있습니다: nft list ruleset. 보존: nft list ruleset > "
	 "/etc/nftables.conf",
	 print_nft},
	{"--iptables", "/usr/sbin/iptables",
	 "to keep: iptables-save > /etc/sysconfig/iptables (or netfilter-persistent save)",
	 "보존: iptables-save > /etc/sysconfig/iptables (또는 netfilter-persistent save)",
	 print_iptables},
	{"--netsh", NULL, "for the Windows host in front; in PowerShell: New-NetFirewallRule",
	 "앞에 있는 Windows 호스트용입니다. PowerShell에서는 New-NetFirewallRule", print_netsh},
};

/* The one asked for, else the first that is installed here. */
static const struct dialect *choose(struct cli *cli)
{
	size_t n = sizeof dialects / sizeof *dialects;
	for (size_t i = 0; i < n; i++)
		if (cli_has(cli, dialects[i].option))
			return &dialects[i];
	for (size_t i = 0; i < n; i++)
		if (dialects[i].program && access(dialects[i].program, X_OK) == 0)
			return &dialects[i];
	return &dialects[3];
}

static void print_json(struct cli *cli, const struct openings *o, const struct dialect *d, struct str rules)
{
	struct json_writer w;
	json_write_init(&w, &cli->out);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "firewall", d->option + 2);
	json_write_name(&w, STR("ports"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < o->n; i++) {
		json_write_object_begin(&w);
		json_write_member_int(&w, "port", o->v[i].port);
		json_write_member_cstr(&w, "service", o->v[i].service);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	json_write_name(&w, STR("rules"));
	json_write_array_begin(&w);
	while (rules.n)
		json_write_str(&w, str_cut(&rules, '\n'));
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(&cli->out, '\n');
}

int cmd_firewall_print(struct cli *cli)
{
	struct openings o = {.n = 0};
	BUF_SCOPED rules = {0};
	int code = cli_config(cli);
	if (code)
		return code;
	collect(cli, &o);
	if (!o.n)
		return cli_fail(cli, CLI_NOT_FOUND, "%s",
				cli_text(cli, "all listeners are on loopback: nothing is to be opened",
					 "모든 리스너가 루프백에 있어 열 것이 없습니다"));
	const struct dialect *d = choose(cli);
	d->print(&o, &rules);
	if (cli->json) {
		print_json(cli, &o, d, buf_str(&rules));
		return CLI_OK;
	}
	cli_print(cli, "# ");
	for (size_t i = 0; i < o.n; i++)
		cli_print(cli, "%s%u %s", i ? ", " : "", o.v[i].port, o.v[i].service);
	cli_print(cli, "\n# %s\n%.*s", cli_text(cli, d->keep_en, d->keep_ko), STR_ARG(buf_str(&rules)));
	return CLI_OK;
}
