/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal dmarc check */
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "sender_auth/dmarc/dmarc.h"
#include "sender_auth/public_suffix.h"

enum { RESULTS_MAX = 100 };

static struct str as_json(struct cli *cli, const struct dmarc_verdict *v)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "result", dmarc_result_name(v->result));
	json_write_member_cstr(&w, "policy", v->has_policy ? dmarc_policy_name(v->policy) : NULL);
	json_write_member_str(&w, "policy_domain", v->policy_domain);
	json_write_member_str(&w, "organizational_domain", v->organization);
	json_write_member_bool(&w, "spf_aligned", v->spf_aligned);
	json_write_member_bool(&w, "dkim_aligned", v->dkim_aligned);
	json_write_member_str(&w, "reason", v->reason);
	json_write_object_end(&w);
	return arena_str(cli->arena, buf_str(&b));
}

static void print(struct cli *cli, const struct dmarc_verdict *v)
{
	cli_print(cli, "%s\n", dmarc_result_name(v->result));
	if (v->has_policy)
		cli_print(cli, cli_text(cli, "policy        %s (%.*s)\n", "정책          %s (%.*s)\n"),
			  dmarc_policy_name(v->policy), STR_ARG(v->policy_domain));
	if (v->organization.n > 0)
		cli_print(cli, cli_text(cli, "organization  %.*s\n", "조직 도메인   %.*s\n"),
			  STR_ARG(v->organization));
	if (v->reason.n > 0)
		cli_print(cli, cli_text(cli, "reason        %.*s\n", "이유          %.*s\n"),
			  STR_ARG(v->reason));
	if (v->has_policy && v->record.has_percent)
		cli_print(cli, "%s\n", cli_text(cli, "note          pct= is no longer in use (RFC 9989)",
						"참고          pct=는 더 이상 쓰이지 않습니다(RFC 9989)"));
}

static int bad(struct cli *cli, struct str text)
{
	return cli_usage(cli, cli_text(cli, "\"%.*s\" is not RESULT:DOMAIN", "\"%.*s\"은 결과:도메인 형식이 아닙니다"),
			 STR_ARG(text));
}

static int add_dkim(struct cli *cli, struct str text, struct dmarc_dkim *list, size_t *n)
{
	struct str domain = text, result = str_cut(&domain, ':');
	if (*n == RESULTS_MAX || !dkim_result_parse(result, &list[*n].result))
		return bad(cli, text);
	list[(*n)++].domain = domain;
	return 0;
}

int cmd_dmarc_check(struct cli *cli)
{
	struct dmarc_dkim dkim[RESULTS_MAX];
	struct dmarc_request q = {
		.author_domain = cli_option(cli, "--from"),
		.dkim = dkim,
		.use_suffixes = cli_has(cli, "--psl"),
	};
	struct dns_resolver *r = NULL;
	struct dmarc_verdict v;
	struct str spf = cli_option(cli, "--spf"), text;
	int code = 0;
	q.spf_domain = spf;
	if (spf.p && !spf_result_parse(str_cut(&q.spf_domain, ':'), &q.spf))
		return bad(cli, spf);
	for (size_t i = 0; code == 0 && (text = cli_option_at(cli, "--dkim", i)).p; i++)
		code = add_dkim(cli, text, dkim, &q.dkim_n);
	for (size_t i = 0; code == 0 && i < cli->nargs; i++)
		code = add_dkim(cli, cli->args[i], dkim, &q.dkim_n);
	if (code == 0)
		code = cli_resolver(cli, &r);
	if (code)
		return code;
	struct public_suffixes *suffixes = q.use_suffixes ? public_suffixes_open() : NULL;
	q.suffixes = suffixes;
	dmarc_check(r, cli->arena, &q, &v);
	public_suffixes_close(suffixes);
	dns_resolver_free(r);
	if (!cli_print_json(cli, as_json(cli, &v)))
		print(cli, &v);
	return CLI_OK;
}
