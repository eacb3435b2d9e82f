/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal check config: `config check` says whether the file can be read; this, whether what it says is what
 * one would want: names, certificates, who may relay, what protects the roles.
 */
#include "base/clock.h"
#include "base/file.h"
#include "cli/findings.h"
#include "config/config.h"
#include "crypto/key.h"
#include "crypto/tls.h"
#include "mail/address.h"
#include "mail/date.h"
#include "sender_auth/dkim/keyring.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20, EXPIRY_WARN_DAYS = 21, DAY_S = 86400 };

static bool load(struct findings *f)
{
	struct cli *cli = f->cli;
	BUF_SCOPED problems = {0};
	struct err err = {0};
	bool good = config_load(cli->config_path, &problems, &cli->config, &err);
	struct str rest = buf_str(&problems);
	while (rest.n)
		finding_add(f, good ? FINDING_WARN : FINDING_FAIL, STR("file"),
			    STR("pabal config explain"), "%.*s", STR_ARG(str_cut(&rest, '\n')));
	if (good)
		finding_add(f, FINDING_OK, STR("file"), STR_NONE, "%s", cli->config_path);
	return good;
}

static void check_names(struct findings *f)
{
	struct cli *cli = f->cli;
	struct str name = config_str(cli->config, SETTING_HOSTNAME),
		   origin = config_str(cli->config, SETTING_MYORIGIN);
	bool full = str_has_byte(name, '.') && domain_valid(name, false) &&
		    !str_ends(name, STR(".localdomain"));
	if (full)
		finding_add(f, FINDING_OK, STR("hostname"), STR_NONE, "%.*s", STR_ARG(name));
	else
		finding_add(f, FINDING_FAIL, STR("hostname"), STR("hostname = \"mail.example.com\""),
			    cli_text(cli, "\"%.*s\" is no full name; other servers will not believe it",
				     "\"%.*s\"은(는) 전체 이름(FQDN)이 아닙니다. 다른 서버가 믿지 않습니다"),
			    STR_ARG(name));
	if (!domain_valid(origin, true))
		finding_add(f, FINDING_FAIL, STR("myorigin"), STR("pabal config explain myorigin"),
			    cli_text(cli, "\"%.*s\" is no domain", "\"%.*s\"은(는) 도메인이 아닙니다"),
			    STR_ARG(origin));
}

static void check_certificate(struct findings *f, struct str path)
{
	struct cli *cli = f->cli;
	BUF_SCOPED pem = {0};
	BUF_SCOPED until = {0};
	struct cert_facts c;
	struct err err = {0};
	struct str what = arena_fmt(cli->arena, "certificate %.*s", STR_ARG(path));
	const char *file = arena_cstr(cli->arena, path);
	if (!file || !file_read_whole(AT_FDCWD, file, PEM_MAX, &pem, &err) ||
	    !cert_facts(cli->arena, buf_str(&pem), &c, &err)) {
		finding_add(f, FINDING_FAIL, what, STR_NONE, "%s", err.cause[0] ? err.cause : err.text);
		return;
	}
	struct str host = config_str(cli->config, SETTING_HOSTNAME);
	bool named = false;
	for (size_t i = 0; i < c.name_count; i++)
		named |= cert_name_matches(c.names[i], host);
	int64_t days = (c.not_after - clock_wall_s()) / DAY_S;
	date_format_iso(&until, c.not_after);
	if (c.not_after < clock_wall_s())
		finding_add(f, FINDING_FAIL, what, STR("pabal reload"),
			    cli_text(cli, "expired at %.*s: put the new one there, then",
				     "%.*s에 만료되었습니다. 새 인증서를 넣은 뒤"),
			    STR_ARG(buf_str(&until)));
	else if (days < EXPIRY_WARN_DAYS)
		finding_add(f, FINDING_WARN, what, STR("pabal reload"),
			    cli_text(cli, "%lld days left", "%lld일 남았습니다"), (long long)days);
	else
		finding_add(f, FINDING_OK, what, STR_NONE,
			    cli_text(cli, "%s, valid until %.*s", "%s, 만료 %.*s"), c.key,
			    STR_ARG(buf_str(&until)));
	if (!named)
		finding_add(f, FINDING_WARN, what, STR_NONE,
			    cli_text(cli, "it does not name the host %.*s", "호스트 이름 %.*s이(가) 들어 있지 않습니다"),
			    STR_ARG(host));
}

static void check_tls(struct findings *f)
{
	struct cli *cli = f->cli;
	struct config_list files = config_list(cli->config, SETTING_TLS_CERTIFICATE_FILES);
	if (!files.n)
		finding_add(f, FINDING_WARN, STR("TLS"),
			    STR("pabal config explain tls.certificate_files"), "%s",
			    cli_text(cli, "no certificate: nobody can log in from outside",
				     "인증서가 없습니다: 외부에서 로그인할 수 없습니다"));
	for (size_t i = 0; i < files.n; i++)
		check_certificate(f, files.v[i]);
}

/* One line for all that are in order, one for each that is not. */
static void check_dkim(struct findings *f)
{
	struct cli *cli = f->cli;
	struct dkim_keyring ring;
	struct err err = {0};
	size_t good = 0;
	if (!dkim_keyring_read(cli->config, cli->arena, &ring, &err)) {
		finding_add(f, FINDING_FAIL, STR("DKIM"), STR_NONE, "%s", err.sys ? err.cause : err.text);
		return;
	}
	for (size_t i = 0; i < ring.n; i++) {
		const struct dkim_key_file *k = &ring.at[i];
		struct str what =
			arena_fmt(cli->arena, "DKIM %.*s %.*s", STR_ARG(k->domain), STR_ARG(k->selector));
		if (k->use == DKIM_USE_NEVER)
			continue;
		if (!k->key)
			finding_add(f, FINDING_FAIL, what, STR_NONE, "%.*s: %.*s", STR_ARG(k->path),
				    STR_ARG(k->problem));
		else if (key_type(k->key) == KEY_RSA && key_bits(k->key) < DKIM_RSA_BITS_GOOD)
			finding_add(f, FINDING_WARN, what, STR("pabal dkim rotate"),
				    cli_text(cli, "%u bits are weak (RFC 8301 3.2)",
					     "%u비트는 약합니다(RFC 8301 3.2)"),
				    key_bits(k->key));
		else
			good++;
	}
	if (good)
		finding_add(f, FINDING_OK, STR("DKIM"), STR_NONE, cli_text(cli, "%zu keys", "키 %zu개"), good);
	if (!ring.n && config_bool(cli->config, SETTING_RELAY_ENABLED))
		finding_add(f, FINDING_WARN, STR("DKIM"), STR("pabal dkim generate --domain DOMAIN"), "%s",
			    cli_text(cli, "mail goes out unsigned", "서명 없이 메일을 보냅니다"));
	dkim_keyring_free(&ring);
}

/* All of IPv6, or all of IPv4, which is kept as ::ffff:0:0/96. */
static bool has_all(const struct networks *n)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	for (size_t i = 0; i < n->n; i++) {
		const struct network *net = &n->v[i];
		if (net->bits == 0 || (net->bits == 96 && memcmp(net->address, mapped, sizeof mapped) == 0))
			return true;
	}
	return false;
}

static void check_access(struct findings *f)
{
	struct cli *cli = f->cli;
	const struct config *c = cli->config;
	if (has_all(config_networks(c, SETTING_MYNETWORKS)))
		finding_add(f, FINDING_FAIL, STR("mynetworks"),
			    STR("mynetworks = {\"127.0.0.0/8\", \"::1\"}"), "%s",
			    cli_text(cli, "the whole world may relay: this is an open relay",
				     "누구나 릴레이할 수 있습니다: 오픈 릴레이입니다"));
	else
		finding_add(f, FINDING_OK, STR("mynetworks"), STR_NONE, "%s",
			    cli_text(cli, "not the whole world", "일부 네트워크만 허용"));
	if (has_all(config_networks(c, SETTING_AUTH_PLAINTEXT_NETWORKS)))
		finding_add(f, FINDING_FAIL, STR("auth.plaintext_networks"),
			    STR("auth { plaintext_networks = {} }"), "%s",
			    cli_text(cli, "passwords may cross the internet in the clear",
				     "암호가 인터넷을 평문으로 지나갈 수 있습니다"));
	if (!config_bool(c, SETTING_SMTP_CHECK_SENDER))
		finding_add(f, FINDING_WARN, STR("smtp.check_sender"), STR("smtp { check_sender = yes }"),
			    "%s",
			    cli_text(cli, "every login may send in every name",
				     "로그인한 누구나 다른 이름으로 보낼 수 있습니다"));
	if (!config_bool(c, SETTING_RELAY_ENABLED))
		finding_add(f, FINDING_WARN, STR("relay.enabled"), STR("relay { enabled = yes }"), "%s",
			    cli_text(cli, "mail for other domains is not sent", "다른 도메인으로 메일을 보내지 않습니다"));
}

static void check_protection(struct findings *f)
{
	struct cli *cli = f->cli;
	const struct config *c = cli->config;
	char enforcing = '-';
	if (!config_bool(c, SETTING_PROCESS_SANDBOX))
		finding_add(f, FINDING_WARN, STR("process.sandbox"), STR("process { sandbox = yes }"), "%s",
			    cli_text(cli, "the roles run without their sandbox", "역할들이 샌드박스 없이 실행됩니다"));
	if (!config_bool(c, SETTING_STORE_FSYNC))
		finding_add(f, FINDING_FAIL, STR("store.fsync"), STR("store { fsync = yes }"), "%s",
			    cli_text(cli, "a power loss loses mail that was accepted", "정전이 나면 받은 메일을 잃습니다"));
	FD_SCOPED fd = open("/sys/fs/selinux/enforce", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &enforcing, 1) == 1)
		finding_add(f, FINDING_OK, STR("SELinux"), STR_NONE, "%s",
			    enforcing == '1' ? cli_text(cli, "enforcing; leave it so", "enforcing. 그대로 두십시오")
					     : "permissive");
}

int cmd_check_config(struct cli *cli)
{
	struct findings f = {.cli = cli};
	if (load(&f)) {
		check_names(&f);
		check_tls(&f);
		check_dkim(&f);
		check_access(&f);
		check_protection(&f);
	}
	int code = findings_print(&f);
	return cli->config ? code : CLI_CONFIG;
}
