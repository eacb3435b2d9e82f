/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal mta-sts check, psl, dns query */
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "policy/mta_sts.h"
#include "sender_auth/public_suffix.h"

#include <arpa/inet.h>

static int check_policy(struct cli *cli, struct str file, struct str host)
{
	BUF_SCOPED text = {0}, json = {0};
	struct mta_sts_policy p;
	struct json_writer w;
	struct err err = {0};
	int code = cli_read(cli, file, MTA_STS_POLICY_MAX, &text);
	if (code)
		return code;
	if (!mta_sts_policy_parse(cli->arena, buf_str(&text), &p, &err))
		return cli_fail_err(cli, &err);
	bool match = !host.p || mta_sts_policy_has(&p, host);
	json_write_init(&w, &json);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "mode", mta_sts_mode_name(p.mode));
	json_write_member_int(&w, "max_age", p.max_age_s);
	json_write_name(&w, STR("mx"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < p.mx_n; i++)
		json_write_str(&w, p.mx[i]);
	json_write_array_end(&w);
	if (host.p)
		json_write_member_bool(&w, "match", match);
	json_write_object_end(&w);
	if (!cli_print_json(cli, buf_str(&json))) {
		cli_print(cli, "mode %s, max_age %u\n", mta_sts_mode_name(p.mode), p.max_age_s);
		for (size_t i = 0; i < p.mx_n; i++)
			cli_print(cli, "mx %.*s\n", STR_ARG(p.mx[i]));
		if (!match)
			cli_print(cli,
				  cli_text(cli, "%.*s is not among them\n", "%.*s은 여기에 없습니다\n"),
				  STR_ARG(host));
	}
	return match ? CLI_OK : CLI_NOT_FOUND;
}

int cmd_mta_sts_check(struct cli *cli)
{
	struct str record = cli_option(cli, "--record"), policy = cli_option(cli, "--policy"), id;
	struct err err = {0};
	if (!record.p && !policy.p)
		return cli_usage(cli, "%s", cli_text(cli, "--record or --policy is needed",
						     "--record 또는 --policy가 필요합니다"));
	if (record.p && !mta_sts_record_parse(record, &id, &err))
		return cli_fail_err(cli, &err);
	if (policy.p)
		return check_policy(cli, policy, cli_option(cli, "--mx"));
	struct str json = arena_fmt(cli->arena, "{\"id\":\"%.*s\"}", STR_ARG(id)); /* letters and digits */
	if (!cli_print_json(cli, json))
		cli_print(cli, "id %.*s\n", STR_ARG(id));
	return CLI_OK;
}

int cmd_psl(struct cli *cli)
{
	BUF_SCOPED json = {0};
	struct json_writer w;
	struct str domain = arena_lower(cli->arena, cli_arg(cli, 0));
	struct public_suffixes *s = public_suffixes_open();
	struct str found = public_suffix_registrable(s, domain);
	public_suffixes_close(s);
	json_write_init(&w, &json);
	json_write_object_begin(&w);
	json_write_member_str(&w, "domain", domain);
	json_write_name(&w, STR("registrable"));
	if (found.n > 0)
		json_write_str(&w, found);
	else
		json_write_null(&w);
	json_write_object_end(&w);
	if (!cli_print_json(cli, buf_str(&json)) && found.n > 0)
		cli_print(cli, "%.*s\n", STR_ARG(found));
	return found.n > 0 ? CLI_OK : CLI_NOT_FOUND;
}

static const struct {
	const char *name;
	enum dns_type type;
} types[] = {
	{"A", DNS_A}, {"AAAA", DNS_AAAA}, {"MX", DNS_MX}, {"TXT", DNS_TXT}, {"PTR", DNS_PTR},
	{"CNAME", DNS_CNAME}, {"NS", DNS_NS}, {"SRV", DNS_SRV}, {"TLSA", DNS_TLSA},
};

static bool read_type(struct str text, enum dns_type *out)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (str_eq_nocase(text, str_of(types[i].name)))
			return *out = types[i].type, true;
	}
	return false;
}

static struct str record_text(struct cli *cli, enum dns_type type, const struct dns_record *r)
{
	char ip[INET6_ADDRSTRLEN] = "";
	struct str name = r->name.n ? r->name : STR(".");
	struct arena *a = cli->arena;
	struct str hex = STR("");
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		inet_ntop(type == DNS_A ? AF_INET : AF_INET6, r->data.p, ip, sizeof ip);
		return arena_str(a, str_of(ip));
	case DNS_MX:
		return arena_fmt(a, "%u %.*s", r->preference, STR_ARG(name));
	case DNS_SRV:
		return arena_fmt(a, "%u %u %u %.*s", r->preference, r->weight, r->port, STR_ARG(name));
	case DNS_TLSA:
		for (size_t i = 0; i < r->data.n; i++)
			hex = arena_fmt(a, "%.*s%02x", STR_ARG(hex), (unsigned char)r->data.p[i]);
		return arena_fmt(a, "%u %u %u %.*s", r->usage, r->selector, r->matching, STR_ARG(hex));
	case DNS_TXT:
		return r->data;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_SOA:
	case DNS_PTR:
		break;
	}
	return name;
}

static struct str as_json(struct cli *cli, enum dns_type type, const struct dns_answer *answer)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "status", dns_status_name(answer->status));
	json_write_member_bool(&w, "secure", answer->secure);
	json_write_member_int(&w, "ttl", answer->ttl);
	json_write_member_str(&w, "canonical", answer->canonical);
	json_write_name(&w, STR("records"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < answer->n; i++)
		json_write_str(&w, record_text(cli, type, &answer->at[i]));
	json_write_array_end(&w);
	json_write_object_end(&w);
	return arena_str(cli->arena, buf_str(&b));
}

int cmd_dns_query(struct cli *cli)
{
	struct str text = cli_arg(cli, 1);
	struct dns_resolver *r = NULL;
	struct dns_answer answer;
	enum dns_type type = DNS_A;
	if (text.p && !read_type(text, &type))
		return cli_usage(cli, cli_text(cli, "unknown type %.*s", "알 수 없는 유형 %.*s"), STR_ARG(text));
	int code = cli_resolver(cli, &r);
	if (code)
		return code;
	dns_query(r, cli->arena, cli_arg(cli, 0), type, &answer);
	dns_resolver_free(r);
	if (!cli_print_json(cli, as_json(cli, type, &answer))) {
		cli_print(cli, "%s %s, TTL %u\n", dns_status_name(answer.status),
			  answer.secure ? "secure" : "insecure", answer.ttl);
		for (size_t i = 0; i < answer.n; i++) {
			/* what foreign records hold is shown as text, never as control characters */
			struct str s = record_text(cli, type, &answer.at[i]);
			for (size_t k = 0; k < s.n; k++)
				buf_byte(&cli->out,
					 ascii_is((unsigned char)s.p[k], ASCII_CTL) ? '?' : s.p[k]);
			buf_byte(&cli->out, '\n');
		}
	}
	return answer.status == DNS_FOUND ? CLI_OK : dns_is_error(answer.status) ? CLI_TEMP : CLI_NOT_FOUND;
}
