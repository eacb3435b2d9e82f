/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal dkim list, import, rotate, set, remove: the keys that the server signs with. */
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "cli/ask.h"
#include "cli/cli_int.h"
#include "cli/control.h"
#include "cli/dkim_ring.h"
#include "cli/table.h"
#include "config/config.h"
#include "crypto/key.h"
#include "json/json.h"
#include "sender_auth/dkim/record.h"

#include <stdlib.h>
#include <string.h>

/* ---- list ---- */

struct shown {
	const struct dkim_key_file *f;
	struct str dns; /* "match", "missing"; empty: the server does not run */
	bool seen, signs;
	int64_t checked;
	const char *state, *text, *todo; /* todo: "" */
};

/* What the queue says of the key; NULL: it does not know it, or does not run. */
static const struct json_value *find_row(const struct json_value *keys, const struct dkim_key_file *f)
{
	for (size_t i = 0; i < json_value_count(keys); i++) {
		const struct json_value *r = json_value_item(keys, i);
		if (str_eq(json_value_str_or(json_value_member(r, "domain"), STR_NONE), f->domain) &&
		    str_eq(json_value_str_or(json_value_member(r, "selector"), STR_NONE), f->selector))
			return r;
	}
	return NULL;
}

static void judge(struct cli *cli, struct shown *s)
{
	bool match = str_eq(s->dns, STR("match"));
	s->todo = "";
	if (!s->f->key) {
		s->state = "broken";
		s->text = cli_text(cli, "broken", "사용 불가");
		s->todo = arena_cstr(cli->arena, s->f->problem);
	} else if (s->f->use == DKIM_USE_NEVER) {
		s->state = "retired";
		s->text = cli_text(cli, "retired", "은퇴");
		s->todo = cli_text(cli, "when no mail signed with it is under way: pabal dkim remove",
				   "이 키로 서명한 메일이 모두 배달된 뒤 pabal dkim remove");
	} else if (!s->dns.n) {
		s->state = "unknown";
		s->text = cli_text(cli, "server is down", "서버 정지");
	} else if (s->seen && !match && !str_eq(s->dns, STR("unchecked")) &&
		   !str_eq(s->dns, STR("unknown"))) {
		s->state = "lost";
		s->text = cli_text(cli, "lost", "DNS에서 사라짐");
		s->todo = cli_text(cli, "the DNS no longer has it: publish the record of pabal dkim txt",
				   "DNS에 없습니다. pabal dkim txt의 레코드를 다시 등록하십시오");
	} else if (s->signs) {
		s->state = "active";
		s->text = cli_text(cli, "signs", "서명 중");
		if (!match && !s->seen)
			s->todo = cli_text(cli, "it signs though the DNS was not seen to have it",
					   "DNS에서 확인되지 않았지만 서명합니다");
	} else if (s->seen) {
		s->state = "standby";
		s->text = cli_text(cli, "standby", "대기");
		s->todo = cli_text(cli, "a newer key signs; a week after the change: pabal dkim remove",
				   "더 새 키가 서명합니다. 바뀐 지 일주일 뒤 pabal dkim remove");
	} else {
		s->state = "pending";
		s->text = cli_text(cli, "waits for DNS", "DNS 대기");
		s->todo = cli_text(cli, "publish the record of pabal dkim txt; then it signs",
				   "pabal dkim txt의 레코드를 DNS에 등록하면 서명을 시작합니다");
	}
}

static void show(struct cli *cli, struct table *t, struct json_writer *w, const struct shown *s)
{
	const struct dkim_key_file *f = s->f;
	const char *type = !f->key ? "-" : key_type(f->key) == KEY_RSA ? "rsa" : "ed25519";
	bool weak = f->key && key_type(f->key) == KEY_RSA && key_bits(f->key) < DKIM_RSA_BITS_GOOD;
	table_cell(t, f->domain);
	table_cell(t, f->selector);
	table_cell_fmt(t, "%s %u%s", type, f->key ? key_bits(f->key) : 0,
		       weak ? cli_text(cli, " weak", " 약함") : "");
	table_cell(t, str_of(s->text));
	table_cell(t, s->dns.n ? s->dns : STR("-"));
	table_cell(t, cli_time(cli->arena, f->created_unix));
	table_cell(t, str_of(s->todo));
	json_write_object_begin(w);
	json_write_member_str(w, "domain", f->domain);
	json_write_member_str(w, "selector", f->selector);
	json_write_member_cstr(w, "key_type", type);
	json_write_member_int(w, "bits", f->key ? key_bits(f->key) : 0);
	json_write_member_bool(w, "weak", weak);
	json_write_member_cstr(w, "state", s->state);
	json_write_member_cstr(w, "sign", dkim_use_name(f->use));
	json_write_member_str(w, "dns", s->dns);
	json_write_member_int(w, "checked", s->checked);
	json_write_member_str(w, "identity", f->identity);
	json_write_member_bool(w, "encrypted", f->encrypted);
	json_write_member_int(w, "created", f->created_unix);
	json_write_member_str(w, "file", f->path);
	json_write_member_cstr(w, "todo", s->todo);
	json_write_object_end(w);
}

/* {"verb":"dkim.status"} to the queue; NULL when no server runs. */
static struct json_doc *ask_queue(struct cli *cli)
{
	BUF_SCOPED reply = {0};
	FD_SCOPED fd = -1;
	struct json_doc *doc = NULL;
	struct err ignored;
	if (!control_connect(config_path(cli->config, SETTING_RUN_DIR), "queue", &fd, &ignored) || fd < 0 ||
	    !control_call(fd, STR("{\"verb\":\"dkim.status\"}"), &reply, &ignored) ||
	    !json_doc_parse(buf_str(&reply), CONTROL_LINE_MAX, &doc, &ignored))
		return NULL;
	return doc;
}

int cli_ring_list(struct cli *cli)
{
	BUF_SCOPED json = {0};
	struct json_writer w;
	struct dkim_keyring ring;
	int code = cli_ring_open(cli, &ring);
	if (code)
		return code;
	JSON_DOC_SCOPED doc = ask_queue(cli);
	const struct json_value *keys = doc ? json_value_member(json_doc_root(doc), "keys") : NULL;
	struct table *t = table_new(cli->arena, cli_text(cli, "DOMAIN|SELECTOR|KEY|STATE|DNS|CREATED|TO DO",
							 "도메인|선택자|키|상태|DNS|만든 때|할 일"));
	json_write_init(&w, &json);
	json_write_array_begin(&w);
	for (size_t i = 0; i < ring.n; i++) {
		struct shown s = {.f = &ring.at[i]};
		const struct json_value *row = keys ? find_row(keys, s.f) : NULL;
		if (row) {
			s.dns = json_value_str_or(json_value_member(row, "dns"), STR_NONE);
			s.seen = json_value_bool_or(json_value_member(row, "seen"), false);
			s.signs = json_value_bool_or(json_value_member(row, "signs"), false);
			s.checked = json_value_int_or(json_value_member(row, "checked"), 0);
		}
		judge(cli, &s);
		show(cli, t, &w, &s);
	}
	json_write_array_end(&w);
	if (!cli_print_json(cli, buf_str(&json)))
		table_print(t, &cli->out);
	dkim_keyring_free(&ring);
	return CLI_OK;
}

/* ---- import ---- */

/* The passphrase is needed at each start: from where? */
static int keep_encrypted(struct cli *cli, struct dkim_key_file *f, struct str pem)
{
	struct err err = {0};
	struct str file = cli_option(cli, "--passphrase-file");
	if (file.p) {
		char *path = realpath(arena_cstr(cli->arena, file), NULL);
		if (!path)
			return cli_fail(cli, CLI_IO, "%.*s: %m", STR_ARG(file));
		f->passphrase_file = arena_str(cli->arena, str_of(path));
		free(path);
	} else if (!config_path(cli->config, SETTING_DKIM_PASSPHRASE_FILE)[0] &&
		   !config_str(cli->config, SETTING_DKIM_PASSPHRASE).n) {
		return cli_usage(
			cli, "%s",
			cli_text(cli,
				 "--keep needs the passphrase at each start: --passphrase-file FILE, or "
				 "setting dkim.passphrase_file",
				 "--keep은 시작할 때마다 암호가 필요합니다. --passphrase-file 파일 또는 "
				 "설정 "
				 "dkim.passphrase_file을 쓰십시오"));
	}
	if (!dkim_keyring_put(cli->config, cli->arena, f, pem, &err))
		return cli_fail(cli, cli_exit_of(&err), "%s", err.sys ? err.cause : err.text);
	return 0;
}

static bool read_sign(struct cli *cli, struct dkim_key_file *f)
{
	struct str sign = cli_option(cli, "--sign");
	return !sign.p || dkim_use_parse(sign, &f->use);
}

/* "none" takes it away. */
static bool read_identity(struct cli *cli, struct dkim_key_file *f)
{
	struct str i = cli_option(cli, "--identity");
	if (!i.p)
		return true;
	f->identity = str_eq(i, STR("none")) ? STR_NONE : i;
	struct str host =
		str_from(i, str_find_last_byte(i, '@') == STR_NPOS ? 0 : str_find_last_byte(i, '@') + 1);
	return !f->identity.n || str_eq(i, STR("from")) || str_eq_nocase(host, f->domain) ||
	       (host.n > f->domain.n && str_ends_nocase(host, f->domain) &&
		host.p[host.n - f->domain.n - 1] == '.');
}

static int read_options(struct cli *cli, struct dkim_key_file *f)
{
	if (!read_sign(cli, f))
		return cli_usage(cli, "%s", cli_text(cli, "--sign is auto, always or never",
						     "--sign은 auto, always, never 중 하나입니다"));
	if (!read_identity(cli, f))
		return cli_usage(cli, "%s",
				 cli_text(cli, "--identity is from, none, or an address in the domain",
					  "--identity는 from, none 또는 그 도메인의 주소입니다"));
	return 0;
}

static void say_record(struct cli *cli, const struct dkim_key_file *f)
{
	BUF_SCOPED json = {0};
	BUF_SCOPED zone = {0};
	struct json_writer w;
	struct str text;
	struct err ignored;
	if (!dkim_record_text(cli->arena, f->key, &text, &ignored))
		return;
	dkim_record_zone(&zone, f->domain, f->selector, text);
	json_write_init(&w, &json);
	json_write_object_begin(&w);
	json_write_member_str(&w, "domain", f->domain);
	json_write_member_str(&w, "selector", f->selector);
	json_write_member_str(&w, "name", arena_fmt(cli->arena, "%.*s._domainkey.%.*s", STR_ARG(f->selector),
						    STR_ARG(f->domain)));
	json_write_member_cstr(&w, "type", "TXT");
	json_write_member_str(&w, "value", text);
	json_write_member_str(&w, "zone", str_trim(buf_str(&zone)));
	json_write_member_cstr(&w, "key_type", key_type(f->key) == KEY_RSA ? "rsa" : "ed25519");
	json_write_member_int(&w, "bits", key_bits(f->key));
	json_write_member_str(&w, "file", f->path);
	json_write_object_end(&w);
	if (!cli_print_json(cli, buf_str(&json)))
		buf_add(&cli->out, buf_str(&zone));
}

int cmd_dkim_import(struct cli *cli)
{
	BUF_SCOPED pem = {0};
	struct dkim_keyring ring = {0};
	struct dkim_key_file f = {.created_unix = clock_wall_s()};
	int code = cli_ring_names(cli, &f.domain, &f.selector);
	if (code == 0)
		code = read_options(cli, &f);
	if (code == 0)
		code = cli_ring_open(cli, &ring);
	if (code == 0)
		code = cli_dkim_key(cli, cli_arg(cli, 0), &f.key);
	if (code == 0 && cli_has(cli, "--keep")) {
		code = cli_ring_vacant(cli, &ring, &f);
		if (code == 0)
			code = cli_ring_audit(cli, "import", &f);
		if (code == 0)
			code = cli_read(cli, cli_arg(cli, 0), DKIM_KEY_FILE_MAX, &pem);
		if (code == 0)
			code = keep_encrypted(cli, &f, buf_str(&pem));
	} else if (code == 0) {
		code = cli_ring_add(cli, "import", &ring, &f);
	}
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	if (code == 0)
		code = cli_ring_changed(cli);
	if (code == 0)
		say_record(cli, &f);
	key_free(f.key);
	dkim_keyring_free(&ring);
	return code;
}

/* ---- generate into the keyring, rotate ---- */

static int make_one(struct cli *cli, const char *act, struct dkim_keyring *ring, struct dkim_key_file *f,
		    enum key_type type, unsigned bits)
{
	struct err err = {0};
	if (!key_generate(type, bits, &f->key, &err))
		return cli_fail_err(cli, &err);
	f->created_unix = clock_wall_s();
	if (!f->selector.p)
		f->selector = cli_ring_new_selector(cli, ring, f->domain, type == KEY_ED25519);
	return cli_ring_add(cli, act, ring, f);
}

int cli_ring_generate(struct cli *cli, unsigned bits)
{
	struct dkim_keyring ring = {0};
	struct str type = cli_option(cli, "--type"), domain, selector;
	bool both = !type.p || str_eq(type, STR("both")), rsa = both || str_eq(type, STR("rsa"));
	struct dkim_key_file made[2] = {{.created_unix = 0}, {.created_unix = 0}};
	size_t n = 0;
	int code = cli_ring_names(cli, &domain, &selector);
	if (code == 0 && !rsa && !str_eq(type, STR("ed25519")))
		code = cli_usage(cli, "%s", cli_text(cli, "--type is rsa, ed25519 or both",
						     "--type은 rsa, ed25519, both 중 하나입니다"));
	if (code == 0)
		code = cli_ring_open(cli, &ring);
	if (code == 0 && rsa) {
		made[n] = (struct dkim_key_file){.domain = domain, .selector = selector};
		code = make_one(cli, "generate", &ring, &made[n++], KEY_RSA, bits);
	}
	if (code == 0 && (both || !rsa)) { /* two keys have two names (RFC 8463 section 3) */
		made[n] = (struct dkim_key_file){.domain = domain, .selector = selector};
		if (rsa && selector.p)
			made[n].selector = arena_cat(cli->arena, selector, STR("e"));
		code = make_one(cli, "generate", &ring, &made[n++], KEY_ED25519, 0);
	}
	if (code == 0)
		code = cli_ring_changed(cli);
	for (size_t i = 0; i < n; i++) {
		if (code == 0)
			say_record(cli, &made[i]);
		key_free(made[i].key);
	}
	dkim_keyring_free(&ring);
	return code;
}

/* The newest of that kind, which the new one takes after; NULL: none. */
static const struct dkim_key_file *newest(const struct dkim_keyring *ring, struct str domain,
					  enum key_type type)
{
	for (size_t i = 0; i < ring->n; i++) { /* newest first */
		const struct dkim_key_file *f = &ring->at[i];
		if (str_eq(f->domain, domain) && f->key && key_type(f->key) == type &&
		    f->use != DKIM_USE_NEVER)
			return f;
	}
	return NULL;
}

int cmd_dkim_rotate(struct cli *cli)
{
	static const enum key_type types[] = {KEY_RSA, KEY_ED25519};
	struct dkim_keyring ring = {0};
	struct dkim_key_file made[2] = {{.created_unix = 0}, {.created_unix = 0}};
	struct str domain, selector;
	size_t n = 0;
	int64_t bits;
	int code = cli_ring_names(cli, &domain, &selector);
	if (code == 0 && !cli_number(cli, "--bits", DKIM_RSA_BITS_GOOD, &bits, &code))
		return code;
	if (code == 0)
		code = cli_ring_open(cli, &ring);
	for (size_t i = 0; code == 0 && i < 2; i++) {
		const struct dkim_key_file *old = newest(&ring, domain, types[i]);
		if (!old)
			continue;
		/* Whatever was said of the old one, the new one begins when the DNS has it. */
		made[n] = (struct dkim_key_file){.domain = domain, .identity = old->identity};
		if (selector.p)
			made[n].selector = n ? arena_cat(cli->arena, selector, STR("e")) : selector;
		code = make_one(cli, "rotate", &ring, &made[n++], types[i],
				bits > 65536 ? 65536 : (unsigned)bits);
	}
	if (code == 0 && n == 0)
		code = cli_fail(cli, CLI_NOT_FOUND, "%s",
				cli_text(cli, "the domain has no key: pabal dkim generate makes one",
					 "도메인에 키가 없습니다. pabal dkim generate로 만드십시오"));
	if (code == 0)
		code = cli_ring_changed(cli);
	if (code == 0 && !cli->json)
		cli_print(cli, "%s\n",
			  cli_text(cli,
				   "; Put these beside the old ones. The old keys sign until the DNS has "
				   "the new; see "
				   "pabal dkim list.",
				   "; 이전 레코드 옆에 등록하십시오. DNS에 새 키가 나타날 때까지 이전 "
				   "키로 서명합니다. "
				   "pabal dkim list를 보십시오."));
	for (size_t i = 0; i < n; i++) {
		if (code == 0)
			say_record(cli, &made[i]);
		key_free(made[i].key);
	}
	dkim_keyring_free(&ring);
	return code;
}

/* ---- set, remove ---- */

static int pick_own(struct cli *cli, struct dkim_keyring *ring, struct dkim_key_file **out)
{
	struct str domain, selector;
	int code = cli_ring_names(cli, &domain, &selector);
	if (code == 0)
		code = cli_ring_open(cli, ring);
	if (code)
		return code;
	*out = cli_ring_find(ring, domain, selector);
	if (!*out)
		return cli_fail(cli, CLI_NOT_FOUND, "%s",
				cli_text(cli, "there is no such key", "그런 키가 없습니다"));
	if (!(*out)->own)
		return cli_fail(cli, CLI_CONFIG, "%s",
				cli_text(cli, "this key stands in setting dkim.keys: change it there",
					 "이 키는 설정 dkim.keys에 있습니다. 거기서 바꾸십시오"));
	return 0;
}

int cmd_dkim_set(struct cli *cli)
{
	BUF_SCOPED pem = {0};
	struct dkim_keyring ring = {0};
	struct dkim_key_file *f;
	struct err err = {0};
	int code = pick_own(cli, &ring, &f);
	if (code == 0)
		code = read_options(cli, f);
	if (code == 0)
		code = cli_ring_audit(cli, "set", f);
	if (code == 0 && (!dkim_keyring_pem(f, &pem, &err) ||
			  !dkim_keyring_put(cli->config, cli->arena, f, buf_str(&pem), &err)))
		code = cli_fail(cli, cli_exit_of(&err), "%s", err.sys ? err.cause : err.text);
	if (pem.p)
		secret_wipe(pem.p, pem.n);
	dkim_keyring_free(&ring);
	return code ? code : cli_ring_changed(cli);
}

int cmd_dkim_remove(struct cli *cli)
{
	struct dkim_keyring ring = {0};
	struct dkim_key_file *f;
	struct err err = {0};
	int code = pick_own(cli, &ring, &f);
	if (code == 0) {
		struct str question =
			arena_fmt(cli->arena,
				  cli_text(cli, "Remove the key %.*s of %.*s for good",
					   "키 %.*s(도메인 %.*s)를 완전히 지웁니다"),
				  STR_ARG(f->selector), STR_ARG(f->domain));
		if (!cli_confirm(cli, arena_cstr(cli->arena, question)))
			code = CLI_USAGE;
	}
	if (code == 0)
		code = cli_ring_audit(cli, "remove", f);
	if (code == 0 && !dkim_keyring_remove(cli->config, f, &err))
		code = cli_fail(cli, cli_exit_of(&err), "%s", err.sys ? err.cause : err.text);
	if (code == 0)
		code = cli_ring_changed(cli);
	if (code == 0)
		cli_print(cli,
			  cli_text(cli,
				   "Removed. Leave an empty record in the DNS for a while (\"v=DKIM1; "
				   "p=\"): "
				   "%.*s._domainkey.%.*s\n",
				   "지웠습니다. 당분간 DNS에 빈 레코드(\"v=DKIM1; p=\")를 두십시오: "
				   "%.*s._domainkey.%.*s\n"),
			  STR_ARG(f->selector), STR_ARG(f->domain));
	dkim_keyring_free(&ring);
	return code;
}
