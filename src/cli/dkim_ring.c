/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/dkim_ring.h"
#include "base/clock.h"
#include "base/secret.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "cli/control.h"
#include "config/config.h"
#include "crypto/key.h"
#include "json/json.h"
#include "mail/address.h"
#include "proc/proc.h"

#include <stdio.h>
#include <time.h>

enum { REPLY_MAX = 1 << 20 };

int cli_ring_open(struct cli *cli, struct dkim_keyring *out)
{
	struct err err = {0};
	int code = cli_config(cli);
	if (code == 0 && !dkim_keyring_read(cli->config, cli->arena, out, &err))
		code = cli_fail(cli, cli_exit_of(&err), "%s", err.sys ? err.cause : err.text);
	return code;
}

int cli_ring_names(struct cli *cli, struct str *domain, struct str *selector)
{
	struct str d = cli_option(cli, "--domain"), s = cli_option(cli, "--selector");
	struct err ignored;
	*domain = *selector = STR_NONE;
	if (s.p)
		*selector = arena_lower(cli->arena, s);
	if ((d.p && !domain_canonical(cli->arena, d, domain, &ignored)) ||
	    (d.p && !dkim_keyring_names(*domain, STR("x"))) ||
	    (s.p && !dkim_keyring_names(STR("x"), *selector)))
		return cli_usage(cli, "%s", cli_text(cli, "domain and selector must be names for the DNS",
						     "도메인과 선택자는 DNS 이름이어야 합니다"));
	return 0;
}

struct dkim_key_file *cli_ring_find(struct dkim_keyring *ring, struct str domain, struct str selector)
{
	for (size_t i = 0; i < ring->n; i++) {
		if (str_eq(ring->at[i].domain, domain) && str_eq(ring->at[i].selector, selector))
			return &ring->at[i];
	}
	return NULL;
}

int cli_ring_pick(struct cli *cli, struct dkim_keyring *ring, struct str domain, struct str selector,
		  struct dkim_key_file **out)
{
	*out = NULL;
	for (size_t i = 0; i < ring->n; i++) {
		struct dkim_key_file *f = &ring->at[i];
		if ((domain.p && !str_eq(f->domain, domain)) ||
		    (selector.p && !str_eq(f->selector, selector)))
			continue;
		if (*out)
			return cli_usage(
				cli, "%s",
				cli_text(cli, "several keys fit: name --domain and --selector",
					 "맞는 키가 여럿입니다. --domain과 --selector를 주십시오"));
		*out = f;
	}
	if (!*out)
		return cli_fail(cli, CLI_NOT_FOUND, "%s",
				cli_text(cli, "there is no such key", "그런 키가 없습니다"));
	if (!(*out)->key)
		return cli_fail(cli, CLI_DATA, "%.*s: %.*s", STR_ARG((*out)->path), STR_ARG((*out)->problem));
	return 0;
}

struct str cli_ring_new_selector(struct cli *cli, struct dkim_keyring *ring, struct str domain, bool ed25519)
{
	time_t now = (time_t)clock_wall_s();
	struct tm t;
	gmtime_r(&now, &t);
	for (int i = 0;; i++) {
		struct str name = arena_fmt(cli->arena, "p%04d%02d", t.tm_year + 1900, t.tm_mon + 1);
		if (i > 0)
			name = arena_fmt(cli->arena, "%.*s-%d", STR_ARG(name), i + 1);
		if (ed25519)
			name = arena_fmt(cli->arena, "%.*se", STR_ARG(name));
		if (!cli_ring_find(ring, domain, name))
			return name;
	}
}

int cli_ring_vacant(struct cli *cli, struct dkim_keyring *ring, const struct dkim_key_file *f)
{
	const struct dkim_key_file *old = cli_ring_find(ring, f->domain, f->selector);
	if (!old || (cli_has(cli, "--force") && old->own))
		return 0;
	return cli_fail(cli, CLI_DATA,
			cli_text(cli, "%.*s has a key %.*s already; --force replaces it",
				 "%.*s에 키 %.*s가 이미 있습니다. --force로 바꿉니다"),
			STR_ARG(f->domain), STR_ARG(f->selector));
}

int cli_ring_audit(struct cli *cli, const char *act, const struct dkim_key_file *f)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_str(&w, "verb", arena_fmt(cli->arena, "dkim.%s", act));
	json_write_member_str(&w, "domain", f->domain);
	json_write_member_str(&w, "selector", f->selector);
	json_write_member_cstr(&w, "sign", dkim_use_name(f->use));
	if (f->identity.n)
		json_write_member_str(&w, "identity", f->identity);
	json_write_object_end(&w);
	return cli_audit(cli, buf_str(&b));
}

int cli_ring_add(struct cli *cli, const char *act, struct dkim_keyring *ring, struct dkim_key_file *f)
{
	BUF_SCOPED pem = {0};
	struct err err = {0};
	int code = cli_ring_vacant(cli, ring, f);
	if (code == 0)
		code = cli_ring_audit(cli, act, f);
	if (code)
		return code;
	bool good = key_write_pem(f->key, STR_NONE, &pem, &err) &&
		    dkim_keyring_put(cli->config, cli->arena, f, buf_str(&pem), &err);
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	return good ? 0 : cli_fail(cli, cli_exit_of(&err), "%s", err.sys ? err.cause : err.text);
}

int cli_ring_changed(struct cli *cli)
{
	BUF_SCOPED reply = {0};
	struct err err = {0};
	JSON_DOC_SCOPED doc = NULL;
	if (!proc_ask_master(config_path(cli->config, SETTING_RUN_DIR), 'r', &reply, &err))
		return err.kind == ERR_NOT_FOUND ? 0 : cli_fail_err(cli, &err);
	if (!json_doc_parse(str_trim(buf_str(&reply)), REPLY_MAX, &doc, &err))
		return cli_fail_err(cli, &err);
	return cli_master_did(
		cli, json_doc_root(doc),
		cli_text(cli, "the server keeps its former keys: the configuration has mistakes",
			 "설정에 잘못이 있어 서버는 이전 키를 그대로 씁니다"));
}
