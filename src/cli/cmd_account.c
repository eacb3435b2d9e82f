/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal account ... */
#include "auth/password.h"
#include "base/secret.h"
#include "cli/cli_int.h"
#include "cli/cmd_directory.h"
#include "cli/table.h"
#include "config/config.h"

#include <string.h>

/* A stored hash of another server, as it is: read like a password, kept as given. */
static int read_hash(struct cli *cli, struct secret *hash)
{
	cli->option_names = memcpy(arena_array(cli->arena, cli->noptions + 1, sizeof(struct str)),
				   cli->option_names, cli->noptions * sizeof(struct str));
	cli->option_values = memcpy(arena_array(cli->arena, cli->noptions + 1, sizeof(struct str)),
				    cli->option_values, cli->noptions * sizeof(struct str));
	((struct str *)cli->option_names)[cli->noptions] = STR("--password-stdin");
	((struct str *)cli->option_values)[cli->noptions++] = STR("");
	int rc = cli_password(cli, false, hash);
	if (rc == CLI_OK && !password_scheme((struct str){hash->p, hash->n}))
		rc = cli_fail(cli, CLI_DATA, cli_text(cli, "this is no password hash that is known",
						      "알 수 있는 암호 해시가 아닙니다"));
	return rc;
}

static bool hash_into(struct cli_request *r, const char *member, struct str scheme, struct str password,
		      struct err *err)
{
	BUF_SCOPED hash = {0};
	if (!password_hash(scheme, password, &hash, err))
		return false;
	cli_request_str(r, member, buf_str(&hash));
	secret_wipe(hash.p, hash.n);
	return true;
}

/* Adds hash and verifiers to the request; the password itself stays here. */
static int add_password(struct cli *cli, struct cli_request *r)
{
	SECRET_SCOPED secret = {0};
	struct err err = {0};
	bool ready_made = cli_has(cli, "--hash-stdin");
	int rc = ready_made ? read_hash(cli, &secret) : cli_password(cli, true, &secret);
	if (rc != CLI_OK)
		return rc;
	struct str s = {secret.p, secret.n};
	if (ready_made) {
		cli_request_str(r, "password", s);
		return CLI_OK;
	}
	if (hash_into(r, "password", STR(""), s, &err) &&
	    hash_into(r, "scram_sha256", STR("SCRAM-SHA-256"), s, &err) &&
	    hash_into(r, "scram_sha1", STR("SCRAM-SHA-1"), s, &err))
		return CLI_OK;
	return cli_fail_err(cli, &err);
}

/* SIZE or a number, "default", "none". */
static int add_quota(struct cli *cli, struct cli_request *r, const char *option, const char *member,
		     bool size)
{
	struct str s = cli_option(cli, option);
	uint64_t v = 0;
	int64_t value = 0;
	if (!s.p)
		return CLI_OK;
	if (str_eq(s, STR("default")))
		value = -1;
	else if (str_eq(s, STR("none")))
		value = 0;
	else if (size ? config_parse_size(s, &v) : str_u64(s, INT64_MAX, &v))
		value = (int64_t)v;
	else
		return cli_usage(cli, cli_text(cli, "%s: not a size: %.*s", "%s: 크기가 아닙니다: %.*s"), option,
				 STR_ARG(s));
	json_write_member_int(&r->w, member, value);
	return CLI_OK;
}

static void add_protocols(struct cli *cli, struct cli_request *r)
{
	struct str rest = cli_option(cli, "--protocols");
	if (!rest.p)
		return;
	json_write_name(&r->w, STR("protocols"));
	json_write_array_begin(&r->w);
	while (rest.p) {
		struct str one = str_trim(str_cut(&rest, ','));
		if (one.n > 0)
			json_write_str(&r->w, one);
	}
	json_write_array_end(&r->w);
}

/* Members that add and set share. */
static int add_fields(struct cli *cli, struct cli_request *r)
{
	cli_request_str(r, "address", cli_arg(cli, 0));
	cli_request_maybe(r, "role", cli_option(cli, "--role"));
	cli_request_maybe(r, "language", cli_option(cli, "--language"));
	cli_request_maybe(r, "display_name", cli_option(cli, "--name"));
	add_protocols(cli, r);
	int rc = add_quota(cli, r, "--quota", "quota_bytes", true);
	if (rc == CLI_OK)
		rc = add_quota(cli, r, "--quota-messages", "quota_messages", false);
	if (rc == CLI_OK)
		rc = cli_request_flag(r, cli, "--enabled", "enabled");
	if (rc == CLI_OK)
		rc = cli_request_flag(r, cli, "--intranet-only", "intranet_only");
	return rc;
}

int cmd_account_add(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "account.add");
	int rc = add_fields(cli, &r);
	if (rc == CLI_OK && !cli_has(cli, "--no-password"))
		rc = add_password(cli, &r);
	if (rc != CLI_OK) {
		buf_free(&r.text);
		return rc;
	}
	return cli_request_done(&r, cli, "Account added.", "계정을 추가했습니다.");
}

int cmd_account_set(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "account.set");
	int rc = add_fields(cli, &r);
	if (rc != CLI_OK) {
		buf_free(&r.text);
		return rc;
	}
	return cli_request_done(&r, cli, "Account changed.", "계정을 바꿨습니다.");
}

int cmd_account_passwd(struct cli *cli)
{
	JSON_DOC_SCOPED shown = NULL;
	struct cli_request r;
	bool json = cli->json;
	/* First whether there is such an account: nobody types a password for nothing. */
	cli_request_begin(&r, "account.show");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	cli->json = false;
	int rc = cli_request_send(&r, cli, &shown);
	cli->json = json;
	if (rc != CLI_OK)
		return rc;
	cli_request_begin(&r, "account.set");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	rc = add_password(cli, &r);
	if (rc != CLI_OK) {
		buf_free(&r.text);
		return rc;
	}
	return cli_request_done(&r, cli, "Password changed.", "암호를 바꿨습니다.");
}

static struct str quota_text(struct cli *cli, int64_t v, bool size)
{
	if (v < 0)
		return str_of(cli_text(cli, "default", "기본"));
	if (v == 0)
		return str_of(cli_text(cli, "none", "없음"));
	if (!size)
		return arena_fmt(cli->arena, "%lld", (long long)v);
	static const char units[] = {0, 'K', 'M', 'G', 'T'};
	size_t u = 0;
	while (u + 1 < sizeof units && v % 1024 == 0) {
		v /= 1024;
		u++;
	}
	return u ? arena_fmt(cli->arena, "%lld%c", (long long)v, units[u])
		 : arena_fmt(cli->arena, "%lld", (long long)v);
}

static struct str text_of(const struct json_value *v, const char *name)
{
	return json_value_str_or(json_value_member(v, name), STR(""));
}

static int64_t number_of(const struct json_value *v, const char *name)
{
	return json_value_int_or(json_value_member(v, name), 0);
}

static bool flag_of(const struct json_value *v, const char *name)
{
	return json_value_bool_or(json_value_member(v, name), false);
}

int cmd_account_list(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "account.list");
	cli_request_maybe(&r, "domain", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	const struct json_value *list = json_value_member(json_doc_root(reply), "accounts");
	struct table *t = table_new(cli->arena, cli_text(cli, "ADDRESS|ENABLED|ROLE|>QUOTA|NAME",
							 "주소|사용|역할|>용량|이름"));
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *v = json_value_item(list, i);
		table_cell(t, text_of(v, "address"));
		table_cell(t, str_of(cli_yes_no(cli, flag_of(v, "enabled") && flag_of(v, "domain_enabled"))));
		table_cell(t, text_of(v, "role"));
		table_cell(t, quota_text(cli, number_of(v, "quota_bytes"), true));
		table_cell(t, text_of(v, "display_name"));
	}
	table_print(t, &cli->out);
	return CLI_OK;
}

static void line(struct cli *cli, struct table *t, const char *en, const char *ko, struct str value)
{
	table_cell(t, str_of(cli_text(cli, en, ko)));
	table_cell(t, value);
}

static struct str protocols_text(struct cli *cli, const struct json_value *v)
{
	const struct json_value *list = json_value_member(v, "protocols");
	struct str s = STR("");
	for (size_t i = 0; i < json_value_count(list); i++)
		s = arena_fmt(cli->arena, "%.*s%s%.*s", STR_ARG(s), i ? "," : "",
			      STR_ARG(json_value_str_or(json_value_item(list, i), STR(""))));
	return s;
}

int cmd_account_show(struct cli *cli)
{
	JSON_DOC_SCOPED reply = NULL;
	struct cli_request r;
	cli_request_begin(&r, "account.show");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	int rc = cli_request_send(&r, cli, &reply);
	if (rc != CLI_OK || cli->json)
		return rc;
	const struct json_value *v = json_value_member(json_doc_root(reply), "account");
	struct table *t = table_new(cli->arena, "|");
	line(cli, t, "Address", "주소", text_of(v, "address"));
	line(cli, t, "Name", "이름", text_of(v, "display_name"));
	line(cli, t, "Enabled", "사용", str_of(cli_yes_no(cli, flag_of(v, "enabled"))));
	line(cli, t, "Domain enabled", "도메인 사용", str_of(cli_yes_no(cli, flag_of(v, "domain_enabled"))));
	line(cli, t, "Password set", "암호 설정됨", str_of(cli_yes_no(cli, flag_of(v, "has_password"))));
	line(cli, t, "Quota", "용량 제한", quota_text(cli, number_of(v, "quota_bytes"), true));
	line(cli, t, "Message quota", "메일 수 제한", quota_text(cli, number_of(v, "quota_messages"), false));
	line(cli, t, "Role", "역할", text_of(v, "role"));
	line(cli, t, "Language", "언어", text_of(v, "language").n ? text_of(v, "language")
								    : str_of(cli_text(cli, "default", "기본")));
	line(cli, t, "Protocols", "프로토콜", protocols_text(cli, v));
	line(cli, t, "Intranet only", "인트라넷 전용", str_of(cli_yes_no(cli, flag_of(v, "intranet_only"))));
	line(cli, t, "Created", "생성일", cli_time(cli->arena, number_of(v, "created")));
	line(cli, t, "Password changed", "암호 변경일", cli_time(cli->arena, number_of(v, "password_changed")));
	table_print(t, &cli->out);
	return CLI_OK;
}

int cmd_account_remove(struct cli *cli)
{
	struct cli_request r;
	struct str question = arena_fmt(
		cli->arena, cli_text(cli, "Remove account %.*s?%c", "계정 %.*s을(를) 지울까요?%c"),
		STR_ARG(cli_arg(cli, 0)), 0);
	if (!cli_confirm(cli, question.p))
		return CLI_USAGE;
	cli_request_begin(&r, "account.remove");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	return cli_request_done(&r, cli, "Account removed; pabal account restore brings it back.",
				"계정을 지웠습니다. pabal account restore로 되살릴 수 있습니다.");
}

int cmd_account_restore(struct cli *cli)
{
	struct cli_request r;
	cli_request_begin(&r, "account.restore");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	return cli_request_done(&r, cli, "Account restored.", "계정을 되살렸습니다.");
}
