/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal spf check */
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "sender_auth/spf/spf.h"

static struct str as_json(struct cli *cli, const struct spf_verdict *v)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "result", spf_result_name(v->result));
	json_write_name(&w, STR("explanation"));
	if (v->explanation.n > 0)
		json_write_str(&w, v->explanation);
	else
		json_write_null(&w);
	json_write_member_str(&w, "domain", v->domain);
	json_write_member_str(&w, "mechanism", v->term);
	json_write_member_str(&w, "reason", v->reason);
	json_write_member_int(&w, "lookups", v->lookups);
	json_write_member_int(&w, "void_lookups", v->void_lookups);
	json_write_object_end(&w);
	return arena_str(cli->arena, buf_str(&b));
}

static void print(struct cli *cli, const struct spf_verdict *v)
{
	cli_print(cli, "%s\n", spf_result_name(v->result));
	if (v->domain.n > 0)
		cli_print(cli, cli_text(cli, "domain       %.*s\n", "도메인       %.*s\n"), STR_ARG(v->domain));
	if (v->term.n > 0)
		cli_print(cli, cli_text(cli, "matched      %.*s\n", "일치한 항목  %.*s\n"), STR_ARG(v->term));
	if (v->reason.n > 0)
		cli_print(cli, cli_text(cli, "reason       %.*s\n", "이유         %.*s\n"), STR_ARG(v->reason));
	if (v->explanation.n > 0)
		cli_print(cli, cli_text(cli, "explanation  %.*s\n", "설명         %.*s\n"),
			  STR_ARG(v->explanation));
	cli_print(cli, cli_text(cli, "look-ups     %u of %d\n", "DNS 조회     %u / %d\n"), v->lookups,
		  SPF_LOOKUPS_MAX);
}

int cmd_spf_check(struct cli *cli)
{
	struct spf_request q = {
		.helo = cli_option(cli, "--helo"), .mail_from = cli_option(cli, "--mail-from"),
		.receiver = cli_option(cli, "--receiver"),
	};
	struct spf_verdict v;
	struct dns_resolver *r = NULL;
	if (!cli_ip(cli, cli_option(cli, "--ip"), &q.ip))
		return cli_usage(cli, "%s", cli_text(cli, "--ip needs an IPv4 or IPv6 address",
						     "--ip에는 IPv4 또는 IPv6 주소가 필요합니다"));
	int code = cli_resolver(cli, &r);
	if (code)
		return code;
	spf_check(r, cli->arena, &q, &v);
	dns_resolver_free(r);
	if (!cli_print_json(cli, as_json(cli, &v)))
		print(cli, &v);
	return CLI_OK;
}
