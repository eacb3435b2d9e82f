/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal dkim generate, txt, list, check: key files and their DNS records. */
#include "base/file.h"
#include "base/secret.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "cli/control.h"
#include "cli/dkim_ring.h"
#include "cli/table.h"
#include "config/config.h"
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

/* Into a file, for who keeps keys elsewhere; else among the server's. */
int cmd_dkim_generate(struct cli *cli)
{
	struct key *key = NULL;
	struct record record;
	struct str domain = cli_option(cli, "--domain"), selector = cli_option(cli, "--selector");
	if (!cli_has(cli, "--out")) {
		int64_t bits;
		int code;
		if (!cli_number(cli, "--bits", BITS_DEFAULT, &bits, &code))
			return code;
		return cli_ring_generate(cli, bits > 65536 ? 65536 : (unsigned)bits);
	}
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

/* A file, or one of the server's keys by its selector (R130); *key stays the ring's then. */
static int find_key(struct cli *cli, struct dkim_keyring *ring, struct key **key, struct str *domain,
		    struct str *selector)
{
	struct str word = cli_arg(cli, 0);
	struct dkim_key_file *f;
	const char *path = word.p ? arena_cstr(cli->arena, word) : NULL;
	*domain = cli_option(cli, "--domain");
	*selector = cli_option(cli, "--selector");
	if (path && (access(path, F_OK) == 0 || str_has_byte(word, '/')))
		return cli_dkim_key(cli, word, key);
	int code = cli_ring_names(cli, domain, selector);
	if (word.p && !selector->p)
		*selector = arena_lower(cli->arena, word);
	if (code == 0)
		code = cli_ring_open(cli, ring);
	if (code == 0)
		code = cli_ring_pick(cli, ring, *domain, *selector, &f);
	if (code)
		return code;
	*key = f->key;
	*domain = f->domain;
	*selector = f->selector;
	return 0;
}

int cmd_dkim_txt(struct cli *cli)
{
	struct key *key = NULL;
	struct dkim_keyring ring = {0};
	struct record record;
	struct str form = cli_option(cli, "--form"), domain, selector;
	int code = find_key(cli, &ring, &key, &domain, &selector);
	if (code == 0)
		code = make_record(cli, key, domain, selector, &record);
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
	if (!ring.n)
		key_free(key);
	dkim_keyring_free(&ring);
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
	if (cli->nargs == 0)
		return cli_ring_list(cli);
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

struct checked {
	struct str domain, selector;
	const char *word, *text;
	uint32_t ttl;
	size_t records;
	int code;
};

static void look(struct cli *cli, struct dns_resolver *r, const struct key *key, struct checked *c)
{
	struct dns_answer answer;
	dns_query(r, cli->arena, record_name(cli, c->domain, c->selector), DNS_TXT, &answer);
	c->ttl = answer.ttl;
	c->records = answer.n;
	if (dns_is_error(answer.status)) {
		c->word = "unknown";
		c->text = dns_status_name(answer.status);
		c->code = CLI_TEMP;
	} else if (answer.n == 0) {
		c->word = "missing";
		c->text = cli_text(cli, "there is no such record", "레코드가 없습니다");
		c->code = CLI_NOT_FOUND;
	} else {
		enum dkim_record_match m = compare(cli, &answer, key);
		c->word = states[m].word;
		c->text = cli->korean ? states[m].ko : states[m].en;
		c->code = m == DKIM_RECORD_SAME ? CLI_OK : CLI_DATA;
	}
}

static void put_checked(struct json_writer *w, const struct checked *c)
{
	json_write_object_begin(w);
	json_write_member_str(w, "domain", c->domain);
	json_write_member_str(w, "selector", c->selector);
	json_write_member_cstr(w, "result", c->word);
	json_write_member_cstr(w, "text", c->text);
	json_write_member_int(w, "ttl", c->ttl);
	json_write_member_int(w, "records", (int64_t)c->records);
	json_write_object_end(w);
}

static int check_file(struct cli *cli, struct dns_resolver *r)
{
	BUF_SCOPED b = {0};
	struct json_writer w;
	struct key *key = NULL;
	struct checked c = {.domain = cli_option(cli, "--domain"), .selector = cli_option(cli, "--selector")};
	if (!c.domain.p || !c.selector.p)
		return cli_usage(cli, "%s", cli_text(cli, "--key needs --domain and --selector",
						     "--key에는 --domain과 --selector가 필요합니다"));
	int code = cli_dkim_key(cli, cli_option(cli, "--key"), &key);
	if (code)
		return code;
	look(cli, r, key, &c);
	key_free(key);
	json_write_init(&w, &b);
	put_checked(&w, &c);
	if (!cli_print_json(cli, buf_str(&b)))
		cli_print(cli, cli_text(cli, "%s: %s (TTL %u s)\n", "%s: %s (TTL %u초)\n"), c.word,
			  c.text, c.ttl);
	return c.code;
}

/* A running server takes over what was seen, so that signing begins at once, and looks for the rest. */
static void tell_server(struct cli *cli, struct str seen)
{
	BUF_SCOPED reply = {0};
	FD_SCOPED fd = -1;
	struct err ignored;
	struct str request = arena_fmt(cli->arena, "{\"verb\":\"dkim.check\",\"seen\":%.*s}", STR_ARG(seen));
	if (control_connect(config_path(cli->config, SETTING_RUN_DIR), "queue", &fd, &ignored) && fd >= 0)
		(void)!control_call(fd, request, &reply, &ignored);
}

static void put_seen(struct json_writer *w, const struct checked *c)
{
	json_write_object_begin(w);
	json_write_member_str(w, "domain", c->domain);
	json_write_member_str(w, "selector", c->selector);
	json_write_object_end(w);
}

/* The server's keys, all or those of a domain; the worst of them is the exit code. */
static int check_ring(struct cli *cli, struct dns_resolver *r)
{
	BUF_SCOPED b = {0};
	BUF_SCOPED seen = {0};
	struct json_writer w, seen_w;
	struct dkim_keyring ring = {0};
	struct str domain, selector;
	struct table *t = table_new(cli->arena, cli_text(cli, "DOMAIN|SELECTOR|RESULT|>TTL|",
							 "도메인|선택자|결과|>TTL|"));
	int code = cli_ring_names(cli, &domain, &selector), worst = CLI_OK;
	size_t n = 0;
	if (code == 0)
		code = cli_ring_open(cli, &ring);
	if (code)
		return code;
	json_write_init(&w, &b);
	json_write_init(&seen_w, &seen);
	json_write_array_begin(&w);
	json_write_array_begin(&seen_w);
	for (size_t i = 0; i < ring.n; i++) {
		const struct dkim_key_file *f = &ring.at[i];
		struct checked c = {.domain = f->domain, .selector = f->selector, .word = "broken",
				    .code = CLI_DATA};
		if ((domain.p && !str_eq(f->domain, domain)) ||
		    (selector.p && !str_eq(f->selector, selector)))
			continue;
		n++;
		if (f->key)
			look(cli, r, f->key, &c);
		else
			c.text = arena_cstr(cli->arena, f->problem);
		worst = c.code ? c.code : worst;
		put_checked(&w, &c);
		if (c.code == CLI_OK)
			put_seen(&seen_w, &c);
		table_cell(t, c.domain);
		table_cell(t, c.selector);
		table_cell(t, str_of(c.word));
		table_cell_fmt(t, "%u", c.ttl);
		table_cell(t, str_of(c.text));
	}
	json_write_array_end(&w);
	json_write_array_end(&seen_w);
	dkim_keyring_free(&ring);
	if (n == 0)
		return cli_fail(cli, CLI_NOT_FOUND, "%s",
				cli_text(cli, "there is no such key", "그런 키가 없습니다"));
	if (!cli_print_json(cli, buf_str(&b)))
		table_print(t, &cli->out);
	tell_server(cli, buf_str(&seen));
	return worst;
}

int cmd_dkim_check(struct cli *cli)
{
	struct dns_resolver *r = NULL;
	int code = cli_resolver(cli, &r);
	if (code)
		return code;
	code = cli_has(cli, "--key") ? check_file(cli, r) : check_ring(cli, r);
	dns_resolver_free(r);
	return code;
}
