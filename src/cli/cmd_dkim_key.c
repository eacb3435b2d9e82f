/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal dkim generate, txt, list, check: key files and their DNS records. */
#include "base/file.h"
#include "base/secret.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "cli/table.h"
#include "crypto/key.h"
#include "dns/resolver.h"
#include "json/json.h"
#include "sender_auth/dkim/record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BITS_DEFAULT = 2048, KEY_FILE_MAX = 65536 };

static struct str record_name(struct cli *cli, struct str domain, struct str selector)
{
	if (!selector.p)
		return STR_NONE;
	return arena_fmt(cli->arena, "%.*s._domainkey%s%.*s", STR_ARG(selector), domain.n ? "." : "",
			 STR_ARG(domain));
}

struct record {
	const struct key *key;
	struct str domain, selector, text, zone;
};

static struct str as_json(struct cli *cli, const struct record *r, struct str file)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_str(&w, "name", record_name(cli, r->domain, r->selector));
	json_write_member_cstr(&w, "type", "TXT");
	json_write_member_str(&w, "value", r->text);
	json_write_member_str(&w, "zone", str_trim(r->zone));
	json_write_member_cstr(&w, "key_type", key_type(r->key) == KEY_RSA ? "rsa" : "ed25519");
	json_write_member_int(&w, "bits", key_bits(r->key));
	if (file.p)
		json_write_member_str(&w, "file", file);
	json_write_object_end(&w);
	return arena_str(cli->arena, buf_str(&b));
}

static int make_record(struct cli *cli, const struct key *key, struct str domain, struct str selector,
		       struct record *out)
{
	BUF_SCOPED zone = {0};
	struct err err = {0};
	*out = (struct record){.key = key, .domain = domain, .selector = selector};
	if (!dkim_record_text(cli->arena, key, &out->text, &err))
		return cli_fail_err(cli, &err);
	dkim_record_zone(&zone, domain.p ? domain : STR("example.com"),
			 selector.p ? selector : STR("selector"), out->text);
	out->zone = arena_str(cli->arena, buf_str(&zone));
	return 0;
}

static void print_fields(struct cli *cli, const struct record *r)
{
	struct str name = record_name(cli, r->domain, r->selector);
	cli_print(cli,
		  cli_text(cli, "name   %.*s\ntype   TXT\nvalue  %.*s\n",
			   "이름   %.*s\n유형   TXT\n값     %.*s\n"),
		  STR_ARG(name.p ? name : STR("-")), STR_ARG(r->text));
}

/* Never over an existing file, unless told so; readable by its owner alone from the start. */
static int write_key(struct cli *cli, struct str file, struct str pem)
{
	const char *path = arena_cstr(cli->arena, file);
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (cli_has(cli, "--force") ? O_TRUNC : O_EXCL);
	struct err err = {0};
	if (!path)
		return cli_usage(cli, "%s", strerror(EINVAL));
	FD_SCOPED fd = open(path, flags, 0600);
	if (fd < 0 && errno == EEXIST)
		return cli_fail(cli, CLI_DATA, cli_text(cli, "%s exists already; --force replaces it",
							"%s 파일이 이미 있습니다. --force로 덮어씁니다"), path);
	if (fd < 0 || fchmod(fd, 0600) != 0)
		return cli_fail(cli, CLI_IO, "%s: %s", path, strerror(errno));
	if (!file_write_all(fd, pem.p, pem.n, &err) || fsync(fd) != 0)
		return cli_fail(cli, CLI_IO, "%s: %s", path, err.cause[0] ? err.cause : strerror(errno));
	return 0;
}

static int generate(struct cli *cli, struct key **out)
{
	struct str type = cli_option(cli, "--type");
	struct err err = {0};
	int64_t bits;
	int code;
	if (!cli_number(cli, "--bits", BITS_DEFAULT, &bits, &code))
		return code;
	bool rsa = !type.p || str_eq(type, STR("rsa"));
	if (!rsa && !str_eq(type, STR("ed25519")))
		return cli_usage(
			cli, "%s",
			cli_text(cli, "--type is rsa or ed25519", "--type은 rsa 또는 ed25519입니다"));
	if (!key_generate(rsa ? KEY_RSA : KEY_ED25519, bits > 65536 ? 65536 : (unsigned)bits, out, &err))
		return cli_fail_err(cli, &err);
	return 0;
}

static int save(struct cli *cli, const struct key *key)
{
	BUF_SCOPED pem = {0};
	SECRET_SCOPED passphrase = {0};
	struct err err = {0};
	bool encrypt = cli_has(cli, "--encrypt") || cli_has(cli, "--passphrase-file") ||
		       cli_has(cli, "--passphrase-stdin");
	int code = encrypt ? cli_passphrase(cli, true, &passphrase) : 0;
	if (code)
		return code;
	if (!key_write_pem(key, (struct str){passphrase.p, passphrase.n}, &pem, &err))
		code = cli_fail_err(cli, &err);
	if (code == 0)
		code = write_key(cli, cli_option(cli, "--out"), buf_str(&pem));
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	return code;
}

int cmd_dkim_generate(struct cli *cli)
{
	struct key *key = NULL;
	struct record record;
	struct str domain = cli_option(cli, "--domain"), selector = cli_option(cli, "--selector");
	if (!dns_name_valid(domain) || !dns_name_valid(selector))
		return cli_usage(cli, "%s", cli_text(cli, "domain and selector must be names for the DNS",
						     "도메인과 선택자는 DNS 이름이어야 합니다"));
	int code = generate(cli, &key);
	if (code == 0)
		code = save(cli, key);
	if (code == 0)
		code = make_record(cli, key, domain, selector, &record);
	if (code == 0 && !cli_print_json(cli, as_json(cli, &record, cli_option(cli, "--out"))))
		buf_add(&cli->out, record.zone);
	key_free(key);
	return code;
}

int cmd_dkim_txt(struct cli *cli)
{
	struct key *key = NULL;
	struct record record;
	struct str form = cli_option(cli, "--form");
	int code = cli_dkim_key(cli, cli_arg(cli, 0), &key);
	if (code == 0)
		code = make_record(cli, key, cli_option(cli, "--domain"), cli_option(cli, "--selector"),
				   &record);
	if (code == 0 && !cli_print_json(cli, as_json(cli, &record, STR_NONE))) {
		if (!form.p || str_eq(form, STR("line")))
			cli_print(cli, "%.*s\n", STR_ARG(record.text));
		else if (str_eq(form, STR("zone")))
			buf_add(&cli->out, record.zone);
		else if (str_eq(form, STR("fields")))
			print_fields(cli, &record);
		else
			code = cli_usage(cli, "%s", cli_text(cli, "--form is line, zone or fields",
							     "--form은 line, zone, fields 중 하나입니다"));
	}
	key_free(key);
	return code;
}

/* What one file is; without its passphrase little can be told. */
struct listed {
	struct str file, type, state;
	unsigned bits;
};

static int look_at(struct cli *cli, struct str file, struct listed *out)
{
	BUF_SCOPED pem = {0};
	struct key *key = NULL;
	struct err err = {0};
	*out = (struct listed){.file = file, .type = STR("-")};
	int code = cli_read(cli, file, KEY_FILE_MAX, &pem);
	if (code)
		return code;
	if (dkim_key_is_encrypted(buf_str(&pem)))
		out->state = str_of(cli_text(cli, "passphrase", "암호 있음"));
	else if (!dkim_key_load(buf_str(&pem), STR(""), &key, &err))
		out->state = arena_str(cli->arena, str_of(err.text));
	if (key) {
		out->type = key_type(key) == KEY_RSA ? STR("rsa") : STR("ed25519");
		out->bits = key_bits(key);
		bool weak = key_type(key) == KEY_RSA && out->bits < DKIM_RSA_BITS_GOOD;
		out->state = str_of(weak ? cli_text(cli, "weak", "약함") : "-");
	}
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	key_free(key);
	return 0;
}

int cmd_dkim_list(struct cli *cli)
{
	BUF_SCOPED json = {0};
	struct json_writer w;
	struct table *t = table_new(cli->arena, cli_text(cli, "FILE|TYPE|>BITS|STATE", "파일|종류|>비트|상태"));
	json_write_init(&w, &json);
	json_write_array_begin(&w);
	for (size_t i = 0; i < cli->nargs; i++) {
		struct listed l;
		int code = look_at(cli, cli->args[i], &l);
		if (code)
			return code;
		table_cell(t, l.file);
		table_cell(t, l.type);
		table_cell_fmt(t, "%u", l.bits);
		table_cell(t, l.state);
		json_write_object_begin(&w);
		json_write_member_str(&w, "file", l.file);
		json_write_member_str(&w, "key_type", l.type);
		json_write_member_int(&w, "bits", l.bits);
		json_write_member_str(&w, "state", l.state);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	if (!cli_print_json(cli, buf_str(&json)))
		table_print(t, &cli->out);
	return CLI_OK;
}

static const struct {
	const char *word, *en, *ko;
} states[] = {
	[DKIM_RECORD_SAME] = {"match", "the DNS has this key", "DNS의 키가 이 키와 같습니다"},
	[DKIM_RECORD_OTHER_KEY] = {"mismatch", "the DNS has another key", "DNS에 다른 키가 있습니다"},
	[DKIM_RECORD_TRUNCATED] =
		{"truncated",
		 "the key in the DNS is cut off: split the value into strings of at most 255 octets",
		 "DNS의 키가 잘렸습니다. 값을 255바이트 이하 문자열로 나누십시오"},
	[DKIM_RECORD_REVOKED] = {"revoked", "the DNS says the key is revoked (empty p=)",
				 "DNS에 키가 폐기된 것으로 되어 있습니다(p=가 비어 있음)"},
	[DKIM_RECORD_MALFORMED] = {"malformed", "what stands in the DNS is no key record",
				   "DNS의 내용이 키 레코드가 아닙니다"},
	[DKIM_RECORD_PEM] =
		{"malformed",
		 "the key was pasted with its BEGIN and END lines: p= takes only what is between, on one "
		 "line",
		 "키를 BEGIN, END 줄까지 붙여 넣었습니다. p=에는 그 사이만 한 줄로 넣어야 합니다"},
};

/* The best of what stands at the name: others' TXT records may be beside it. */
static enum dkim_record_match compare(struct cli *cli, const struct dns_answer *answer, const struct key *key)
{
	enum dkim_record_match best = DKIM_RECORD_MALFORMED;
	for (size_t i = 0; i < answer->n; i++) {
		enum dkim_record_match one = dkim_record_compare(cli->arena, answer->at[i].data, key);
		if (one == DKIM_RECORD_PEM || one < best)
			best = one;
	}
	return best;
}

static int report(struct cli *cli, const char *word, const char *text, const struct dns_answer *answer,
		  int code)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	json_write_init(&w, &b);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "result", word);
	json_write_member_cstr(&w, "text", text);
	json_write_member_int(&w, "ttl", answer->ttl);
	json_write_member_int(&w, "records", (int64_t)answer->n);
	json_write_object_end(&w);
	if (!cli_print_json(cli, buf_str(&b)))
		cli_print(cli, cli_text(cli, "%s: %s (TTL %u s)\n", "%s: %s (TTL %u초)\n"), word, text,
			  answer->ttl);
	return code;
}

int cmd_dkim_check(struct cli *cli)
{
	struct key *key = NULL;
	struct dns_resolver *r = NULL;
	struct dns_answer answer;
	int code = cli_dkim_key(cli, cli_option(cli, "--key"), &key);
	if (code == 0)
		code = cli_resolver(cli, &r);
	if (code) {
		key_free(key);
		return code;
	}
	dns_query(r, cli->arena,
		  record_name(cli, cli_option(cli, "--domain"), cli_option(cli, "--selector")), DNS_TXT,
		  &answer);
	dns_resolver_free(r);
	if (dns_is_error(answer.status))
		code = report(cli, "unknown", dns_status_name(answer.status), &answer, CLI_TEMP);
	else if (answer.n == 0)
		code = report(cli, "missing", cli_text(cli, "there is no such record", "레코드가 없습니다"), &answer,
			      CLI_NOT_FOUND);
	else {
		enum dkim_record_match m = compare(cli, &answer, key);
		code = report(cli, states[m].word, cli->korean ? states[m].ko : states[m].en, &answer,
			      m == DKIM_RECORD_SAME ? CLI_OK : CLI_DATA);
	}
	key_free(key);
	return code;
}
