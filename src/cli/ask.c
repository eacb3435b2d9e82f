/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/ask.h"
#include "base/file.h"
#include "base/secret.h"
#include "config/config.h"
#include "crypto/key.h"
#include "dns/client.h"
#include "dns/unbound.h"
#include "sender_auth/dkim/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEY_FILE_MAX = 65536 };

static const char resolv_conf[] = "/etc/resolv.conf";

struct servers {
	struct dns_server at[DNS_SERVERS_MAX];
	size_t n;
	bool root; /* none: from the root down */
};

/* A configuration is used where there is one, but not needed. */
static int configured(struct cli *cli, struct servers *servers)
{
	struct err err = {0};
	bool usual = strcmp(cli->config_path, CLI_CONFIG_DEFAULT) == 0;
	if (!usual || access(cli->config_path, R_OK) == 0) {
		int code = cli_config(cli);
		if (code)
			return code;
		struct config_list list = config_list(cli->config, SETTING_DNS_SERVERS);
		if (list.n == 1 && str_eq(list.v[0], STR("root"))) {
			servers->root = true;
			return 0;
		}
		for (size_t i = 0; i < list.n && servers->n < DNS_SERVERS_MAX; i++) {
			if (!dns_server_parse(list.v[i], &servers->at[servers->n++], &err))
				return cli_fail_err(cli, &err);
		}
	}
	if (servers->n == 0 && !dns_server_system(resolv_conf, servers->at, &servers->n, &err))
		return cli_fail_err(cli, &err);
	return 0;
}

static int validating(struct cli *cli, const struct servers *servers, const char *anchor, int timeout_ms,
		      struct dns_resolver **out)
{
	struct err err = {0};
	struct dns_unbound_options options = {
		.forwarders = servers->at, .forwarder_n = servers->n, .trust_anchor_file = anchor,
		.timeout_ms = timeout_ms,
	};
	return dns_unbound_new(&options, out, &err) ? 0 : cli_fail_err(cli, &err);
}

int cli_resolver(struct cli *cli, struct dns_resolver **out)
{
	struct servers servers = {0};
	struct str given = cli_option(cli, "--dns"), anchor = cli_option(cli, "--trust-anchor");
	struct err err = {0};
	int code = 0;
	if (given.p) {
		servers.n = 1;
		if (!dns_server_parse(given, servers.at, &err))
			return cli_usage(cli, "%s", err.text);
	} else {
		code = configured(cli, &servers);
	}
	if (code)
		return code;
	struct config *c = cli->config;
	int timeout_ms = c ? (int)config_duration_ms(c, SETTING_DNS_TIMEOUT) : 0;
	const char *file = anchor.p ? arena_cstr(cli->arena, anchor)
			   : c      ? config_path(c, SETTING_DNS_TRUST_ANCHOR_FILE)
				    : "";
	if (!file[0] && cli_has(cli, "--validate"))
		file = dns_unbound_root_key();
	if (!file)
		return cli_fail(
			cli, CLI_CONFIG, "%s",
			cli_text(cli, "no trust anchor of the root was found: use --trust-anchor FILE",
				 "루트의 신뢰 앵커를 찾지 못했습니다. --trust-anchor FILE을 쓰십시오"));
	if (servers.root && !file[0])
		file = dns_unbound_root_key() ? dns_unbound_root_key() : "";
	if (file[0] || servers.root)
		return validating(cli, &servers, file, timeout_ms, out);
	struct dns_client_options options = {
		.servers = servers.at, .server_n = servers.n, .timeout_ms = timeout_ms,
		.trust_ad = c && config_bool(c, SETTING_DNS_TRUST_AD),
	};
	*out = dns_client_new(&options);
	return 0;
}

static int read_all(struct cli *cli, int fd, size_t max, struct buf *out)
{
	for (;;) {
		char *room = buf_room(out, 65536);
		ssize_t n = read(fd, room, 65536);
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(cli, CLI_IO, "%s", strerror(errno));
		out->n += (size_t)n;
		if (out->n > max)
			return cli_fail(cli, CLI_DATA, cli_text(cli, "the input is longer than %zu octets",
								"입력이 %zu바이트보다 깁니다"), max);
	}
}

int cli_read(struct cli *cli, struct str file, size_t max, struct buf *out)
{
	if (!file.p || str_eq(file, STR("-")))
		return read_all(cli, STDIN_FILENO, max, out);
	const char *path = arena_cstr(cli->arena, file);
	FD_SCOPED fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return cli_fail(cli, CLI_IO, "%.*s: %s", STR_ARG(file), strerror(path ? errno : EINVAL));
	return read_all(cli, fd, max, out);
}

int cli_read_message(struct cli *cli, struct buf *raw, struct buf *crlf)
{
	int code = cli_read(cli, STR_NONE, CLI_MESSAGE_MAX, raw);
	if (code == 0)
		dkim_to_crlf(buf_str(raw), crlf);
	return code;
}

static void warn_of_key(struct cli *cli, struct str file, const struct key *key)
{
	struct stat st;
	if (stat(arena_cstr(cli->arena, file), &st) == 0 && st.st_mode & 077)
		cli_fail(cli, 0,
			 cli_text(cli, "warning: others can read %.*s",
				  "경고: 다른 사용자가 %.*s 파일을 읽을 수 있습니다"),
			 STR_ARG(file));
	if (key_type(key) == KEY_RSA && key_bits(key) < DKIM_RSA_BITS_GOOD)
		cli_fail(cli, 0,
			 cli_text(cli,
				  "warning: a key of %u bits works but is weak; %d are advised (RFC 8301 "
				  "3.2)",
				  "경고: %u비트 키는 동작하지만 약합니다. %d비트를 권장합니다(RFC 8301 "
				  "3.2)"),
			 key_bits(key), DKIM_RSA_BITS_GOOD);
}

int cli_dkim_key(struct cli *cli, struct str file, struct key **out)
{
	BUF_SCOPED pem = {0};
	SECRET_SCOPED passphrase = {0};
	struct err err = {0};
	int code = cli_read(cli, file, KEY_FILE_MAX, &pem);
	if (code == 0 && dkim_key_is_encrypted(buf_str(&pem)))
		code = cli_passphrase(cli, false, &passphrase);
	if (code == 0 && !dkim_key_load(buf_str(&pem), (struct str){passphrase.p, passphrase.n}, out, &err))
		code = cli_fail(cli, cli_exit_of(&err), "%.*s: %s", STR_ARG(file), err.text);
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	if (code == 0)
		warn_of_key(cli, file, *out);
	return code;
}

bool cli_number(struct cli *cli, const char *option, int64_t otherwise, int64_t *out, int *out_code)
{
	struct str text = cli_option(cli, option);
	uint64_t n = 0;
	*out_code = 0;
	*out = otherwise;
	if (!text.p)
		return true;
	if (!str_u64(text, INT64_MAX, &n)) {
		*out_code = cli_usage(cli, cli_text(cli, "%s needs a number", "%s에는 숫자가 필요합니다"), option);
		return false;
	}
	*out = (int64_t)n;
	return true;
}

bool cli_ip(struct cli *cli, struct str text, struct str *out)
{
	char octets[16];
	const char *s = arena_cstr(cli->arena, text);
	int family = s && strchr(s, ':') ? AF_INET6 : AF_INET;
	if (!s || inet_pton(family, s, octets) != 1)
		return false;
	*out = arena_str(cli->arena, (struct str){octets, family == AF_INET ? 4 : 16});
	return true;
}
