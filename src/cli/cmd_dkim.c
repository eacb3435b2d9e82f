/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal dkim verify, sign: a message through standard input. */
#include "base/clock.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "cli/table.h"
#include "crypto/key.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "mail/header.h"
#include "sender_auth/dkim/record.h"
#include "sender_auth/dkim/sign.h"
#include "sender_auth/dkim/verify.h"
#include "sender_auth/public_suffix.h"

static struct str as_json(struct cli *cli, const struct dkim_verdicts *all)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "result", dkim_result_name(all->result));
	json_write_name(&w, STR("signatures"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < all->n; i++) {
		const struct dkim_verdict *v = &all->at[i];
		json_write_object_begin(&w);
		json_write_member_str(&w, "domain", v->domain);
		json_write_member_str(&w, "selector", v->selector);
		json_write_member_str(&w, "algorithm", v->algorithm);
		json_write_member_cstr(&w, "result", dkim_result_name(v->result));
		json_write_member_str(&w, "reason", v->reason);
		json_write_member_str(&w, "identity", v->identity);
		json_write_member_int(&w, "bits", v->key_bits);
		json_write_member_bool(&w, "testing", v->testing);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	json_write_object_end(&w);
	return arena_str(cli->arena, buf_str(&b));
}

static void print(struct cli *cli, const struct dkim_verdicts *all)
{
	struct table *t = table_new(cli->arena, cli_text(cli, "RESULT|DOMAIN|SELECTOR|ALGORITHM|>BITS|REASON",
							 "결과|도메인|선택자|알고리즘|>비트|이유"));
	for (size_t i = 0; i < all->n; i++) {
		const struct dkim_verdict *v = &all->at[i];
		table_cell(t, str_of(dkim_result_name(v->result)));
		table_cell(t, v->domain);
		table_cell(t, v->selector);
		table_cell(t, v->algorithm);
		table_cell_fmt(t, "%u", v->key_bits);
		table_cell(t, v->reason);
	}
	cli_print(cli, "%s\n", dkim_result_name(all->result));
	table_print(t, &cli->out);
}

int cmd_dkim_verify(struct cli *cli)
{
	BUF_SCOPED raw = {0}, crlf = {0};
	struct dns_resolver *r = NULL;
	struct dkim_verdicts all;
	int64_t now;
	int code;
	if (!cli_number(cli, "--time", clock_wall_s(), &now, &code))
		return code;
	code = cli_read_message(cli, &raw, &crlf);
	if (code == 0)
		code = cli_resolver(cli, &r);
	if (code)
		return code;
	size_t header = header_length(buf_str(&crlf));
	struct public_suffixes *suffixes = public_suffixes_open();
	struct dkim_verify *v = dkim_verify_new(cli->arena, str_sub(buf_str(&crlf), 0, header), suffixes);
	dkim_verify_body(v, str_from(buf_str(&crlf), header));
	dkim_verify_end(v, r, now, &all);
	if (!cli_print_json(cli, as_json(cli, &all)))
		print(cli, &all);
	dkim_verify_free(v);
	public_suffixes_close(suffixes);
	dns_resolver_free(r);
	return CLI_OK;
}

static bool read_canon(struct cli *cli, struct dkim_signer *signer)
{
	struct str rest = cli_option(cli, "--canon");
	signer->header_canon = signer->body_canon = DKIM_RELAXED;
	if (!rest.p)
		return true;
	struct str header = str_cut(&rest, '/'), body = rest.p ? rest : STR("simple");
	signer->header_canon = str_eq(header, STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
	signer->body_canon = str_eq(body, STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
	return (signer->header_canon == DKIM_RELAXED || str_eq(header, STR("simple"))) &&
	       (signer->body_canon == DKIM_RELAXED || str_eq(body, STR("simple")));
}

/* Signs and prints; line ends come out as they went in. */
static int sign(struct cli *cli, const struct dkim_signer *signer)
{
	BUF_SCOPED raw = {0}, crlf = {0}, field = {0};
	struct err err = {0};
	int code = cli_read_message(cli, &raw, &crlf);
	if (code)
		return code;
	size_t header = header_length(buf_str(&crlf));
	struct dkim_sign *s = dkim_sign_new(cli->arena, signer, 1);
	dkim_sign_body(s, str_from(buf_str(&crlf), header));
	if (!dkim_sign_end(s, str_sub(buf_str(&crlf), 0, header), &field, &err))
		code = cli_fail_err(cli, &err);
	dkim_sign_free(s);
	if (code)
		return code;
	bool bare = raw.n != crlf.n;
	for (size_t i = 0; i < field.n; i++) {
		if (!bare || field.p[i] != '\r')
			buf_byte(&cli->out, field.p[i]);
	}
	buf_add(&cli->out, buf_str(&raw));
	return CLI_OK;
}

int cmd_dkim_sign(struct cli *cli)
{
	struct key *key = NULL;
	struct dkim_signer signer = {
		.domain = cli_option(cli, "--domain"), .selector = cli_option(cli, "--selector"),
		.identity = cli_option(cli, "--identity"), .headers = cli_option(cli, "--headers"),
		.oversign = cli_option(cli, "--oversign"), .sign = dkim_sign_with_key,
	};
	int code;
	if (!read_canon(cli, &signer))
		return cli_usage(cli, "%s", cli_text(cli, "--canon is relaxed or simple, for header/body",
						     "--canon은 머리글/본문에 대해 relaxed 또는 simple입니다"));
	if (!cli_number(cli, "--time", clock_wall_s(), &signer.time, &code) ||
	    !cli_number(cli, "--expire", 0, &signer.lifetime_s, &code))
		return code;
	code = cli_dkim_key(cli, cli_option(cli, "--key"), &key);
	if (code)
		return code;
	signer.context = key;
	(void)dkim_key_algorithm(key, &signer.algorithm);
	code = sign(cli, &signer);
	key_free(key);
	return code;
}
