/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal arc verify, sign: a message through standard input. */
#include "base/clock.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "crypto/key.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "mail/header.h"
#include "sender_auth/arc/arc.h"
#include "sender_auth/dkim/record.h"

static int validate(struct cli *cli, struct str message, struct arc_verdict *out)
{
	struct dns_resolver *r = NULL;
	int code = cli_resolver(cli, &r);
	if (code)
		return code;
	size_t header = header_length(message);
	struct arc_check *c = arc_check_new(cli->arena, str_sub(message, 0, header));
	arc_check_body(c, str_from(message, header));
	arc_check_end(c, r, out);
	arc_check_free(c);
	dns_resolver_free(r);
	return 0;
}

int cmd_arc_verify(struct cli *cli)
{
	BUF_SCOPED raw = {0}, crlf = {0}, json = {0};
	struct arc_verdict v;
	struct json_writer w;
	int code = cli_read_message(cli, &raw, &crlf);
	if (code == 0)
		code = validate(cli, buf_str(&crlf), &v);
	if (code)
		return code;
	json_write_init(&w, &json);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "cv", arc_status_name(v.status));
	json_write_member_str(&w, "reason", v.reason);
	json_write_member_int(&w, "instances", v.n);
	json_write_object_end(&w);
	if (!cli_print_json(cli, buf_str(&json)))
		cli_print(cli, "%s%s%.*s\n", arc_status_name(v.status), v.reason.n ? ": " : "",
			  STR_ARG(v.reason));
	return CLI_OK;
}

/* What our own server wrote when the message came counts; else the chain is validated now. */
static int status_of(struct cli *cli, struct str message, struct str id, enum arc_status *out)
{
	struct str header = str_sub(message, 0, header_length(message));
	struct arc_verdict v;
	if (arc_status_recorded(cli->arena, header, id, out))
		return 0;
	*out = ARC_NONE;
	if (header_count(header, STR("ARC-Seal")) == 0)
		return 0;
	int code = validate(cli, message, &v);
	*out = code == 0 ? v.status : ARC_FAIL;
	return code;
}

static int seal(struct cli *cli, const struct arc_signer *signer, struct str message, struct buf *out)
{
	enum arc_status status;
	struct err err = {0};
	int code = status_of(cli, message, signer->authserv_id, &status);
	if (code)
		return code;
	size_t header = header_length(message);
	struct arc_seal *s = arc_seal_new(cli->arena, signer);
	arc_seal_body(s, str_from(message, header));
	if (!arc_seal_end(s, str_sub(message, 0, header), status, out, &err))
		code = cli_fail_err(cli, &err);
	arc_seal_free(s);
	if (code == 0 && out->n == 0)
		cli_fail(cli, 0, "%s", cli_text(cli, "the chain has failed or is full: nothing was added",
						"체인이 실패했거나 가득 차서 아무것도 더하지 않았습니다"));
	return code;
}

int cmd_arc_sign(struct cli *cli)
{
	BUF_SCOPED raw = {0}, crlf = {0}, fields = {0};
	struct key *key = NULL;
	struct arc_signer signer = {
		.domain = cli_option(cli, "--domain"), .selector = cli_option(cli, "--selector"),
		.authserv_id = cli_option(cli, "--authserv-id"), .headers = cli_option(cli, "--headers"),
		.sign = dkim_sign_with_key,
	};
	int code;
	if (!cli_number(cli, "--time", clock_wall_s(), &signer.time, &code))
		return code;
	code = cli_dkim_key(cli, cli_option(cli, "--key"), &key);
	if (code)
		return code;
	signer.context = key;
	(void)dkim_key_algorithm(key, &signer.algorithm);
	code = cli_read_message(cli, &raw, &crlf);
	if (code == 0)
		code = seal(cli, &signer, buf_str(&crlf), &fields);
	key_free(key);
	if (code)
		return code;
	bool bare = raw.n != crlf.n;
	for (size_t i = 0; i < fields.n; i++) {
		if (!bare || fields.p[i] != '\r')
			buf_byte(&cli->out, fields.p[i]);
	}
	buf_add(&cli->out, buf_str(&raw));
	return CLI_OK;
}
