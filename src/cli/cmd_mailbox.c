/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal mailbox list|status|check|reindex|handback ADDRESS: reads and mends the store itself, while the
 * server runs or not: the account's lock holds between processes. Run by root it becomes the owner
 * of the mail directory first, so that nothing it makes is root's.
 */
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "cli/cmd_directory.h"
#include "cli/table.h"
#include "config/config.h"
#include "store/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct mail {
	struct cli *cli;
	int root_fd;
	struct store *store;
	struct account *account;
};

/* What the directory knows of the account. */
static int read_facts(struct cli *cli, struct account_facts *out)
{
	struct cli_request r;
	JSON_DOC_SCOPED doc = NULL;
	bool json = cli->json;

	cli_request_begin(&r, "account.show");
	cli_request_str(&r, "address", cli_arg(cli, 0));
	cli->json = false; /* its reply is not ours */
	int rc = cli_request_send(&r, cli, &doc);
	cli->json = json;
	if (rc != CLI_OK)
		return rc;
	const struct json_value *v = json_value_member(json_doc_root(doc), "account");
	int64_t bytes = json_value_int_or(json_value_member(v, "quota_bytes"), 0);
	int64_t messages = json_value_int_or(json_value_member(v, "quota_messages"), 0);
	*out = (struct account_facts){
		.address = arena_str(cli->arena,
				     json_value_str_or(json_value_member(v, "address"), STR_NONE)),
		.language = arena_str(cli->arena,
				      json_value_str_or(json_value_member(v, "language"), STR("ko"))),
		.quota_bytes = bytes > 0 ? (uint64_t)bytes : 0,
		.quota_messages = messages > 0 ? (uint64_t)messages : 0,
	};
	return CLI_OK;
}

static bool open_store(struct mail *m, const struct account_facts *f, struct err *err)
{
	const struct config *c = m->cli->config;
	struct arena *a = m->cli->arena;
	const char *path = config_path(c, SETTING_MAIL_DIR);
	struct store_options o = {
		.root_path = path,
		.template =
			arena_cstr(a, arena_cat(a, config_str(c, SETTING_MAIL_HOME), STR("/Maildir"))),
	};

	m->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->root_fd < 0)
		return err_sys(err, "open %s", path);
	o.root_fd = m->root_fd;
	return cli_become_owner(m->root_fd, err) && store_new(&o, &m->store, err) &&
	       account_open(m->store, f, &m->account, err);
}

static void mail_close(struct mail *m)
{
	account_close(m->account);
	store_free(m->store);
	if (m->root_fd >= 0)
		close(m->root_fd);
}

static int mail_open(struct mail *m, struct cli *cli)
{
	struct account_facts facts;
	struct err err = {0};

	*m = (struct mail){.cli = cli, .root_fd = -1};
	int rc = cli_config(cli);
	if (rc == CLI_OK)
		rc = read_facts(cli, &facts);
	if (rc != CLI_OK || open_store(m, &facts, &err))
		return rc;
	mail_close(m);
	return cli_fail_err(cli, &err);
}

/* ---- list and status -------------------------------------------------------------------- */
static const char *use_name(enum special_use use)
{
	switch (use) {
	case USE_NONE:
		return "";
	case USE_ALL:
		return "\\All";
	case USE_ARCHIVE:
		return "\\Archive";
	case USE_DRAFTS:
		return "\\Drafts";
	case USE_FLAGGED:
		return "\\Flagged";
	case USE_JUNK:
		return "\\Junk";
	case USE_SENT:
		return "\\Sent";
	case USE_TRASH:
		return "\\Trash";
	}
	return "";
}

static void json_entry(struct json_writer *w, const struct mailbox_entry *e)
{
	json_write_object_begin(w);
	json_write_member_str(w, "name", e->name);
	json_write_member_bool(w, "exists", !(e->attrs & MAILBOX_NONEXISTENT));
	json_write_member_bool(w, "subscribed", e->attrs & MAILBOX_SUBSCRIBED);
	json_write_member_str(w, "use", str_of(use_name(e->use)));
	json_write_member_str(w, "id", str_of(e->mailbox_id));
	json_write_object_end(w);
}

static void print_list(struct cli *cli, const struct mailbox_entry *e, size_t n)
{
	struct table *t =
		table_new(cli->arena, cli_text(cli, "MAILBOX|USE|SUBSCRIBED|ID", "메일함|용도|구독|ID"));

	for (size_t i = 0; i < n; i++) {
		table_cell(t, e[i].name);
		table_cell(t, str_of(use_name(e[i].use)));
		table_cell(t, str_of(cli_yes_no(cli, e[i].attrs & MAILBOX_SUBSCRIBED)));
		table_cell(t, e[i].mailbox_id[0] ? str_of(e[i].mailbox_id) : STR("-"));
	}
	table_print(t, &cli->out);
}

static void json_list(struct cli *cli, const struct mailbox_entry *e, size_t n)
{
	struct json_writer w;

	json_write_init(&w, &cli->out);
	json_write_array_begin(&w);
	for (size_t i = 0; i < n; i++)
		json_entry(&w, &e[i]);
	json_write_array_end(&w);
	buf_byte(&cli->out, '\n');
}

int cmd_mailbox_list(struct cli *cli);
int cmd_mailbox_list(struct cli *cli)
{
	struct mailbox_entry *e;
	struct mail m;
	struct err err = {0};
	size_t n;

	int rc = mail_open(&m, cli);
	if (rc != CLI_OK)
		return rc;
	if (!mailbox_list(m.account, cli->arena, &e, &n, &err))
		rc = cli_fail_err(cli, &err);
	else if (cli->json)
		json_list(cli, e, n);
	else
		print_list(cli, e, n);
	mail_close(&m);
	return rc;
}

struct report {
	struct table *table;
	struct json_writer w;
};

static void json_status(struct json_writer *w, struct str name, const struct mailbox_status *s)
{
	json_write_object_begin(w);
	json_write_member_str(w, "name", name);
	json_write_member_int(w, "messages", s->messages);
	json_write_member_int(w, "unseen", s->unseen);
	json_write_member_int(w, "deleted", s->deleted);
	json_write_member_int(w, "size", (int64_t)s->size);
	json_write_member_int(w, "uidnext", s->uidnext);
	json_write_member_int(w, "uidvalidity", s->uidvalidity);
	json_write_member_int(w, "highestmodseq", (int64_t)s->highestmodseq);
	json_write_member_str(w, "id", str_of(s->mailbox_id));
	json_write_object_end(w);
}

static void one_status(struct mail *m, struct report *r, struct str name, const struct mailbox_status *s)
{
	if (m->cli->json) {
		json_status(&r->w, name, s);
		return;
	}
	table_cell(r->table, name);
	table_cell_fmt(r->table, "%u", s->messages);
	table_cell_fmt(r->table, "%u", s->unseen);
	table_cell_fmt(r->table, "%llu", (unsigned long long)s->size);
	table_cell_fmt(r->table, "%u", s->uidnext);
	table_cell_fmt(r->table, "%u", s->uidvalidity);
}

/* The mailboxes named, or all. */
static bool names_of(struct mail *m, struct str **out, size_t *out_n, struct err *err)
{
	struct cli *cli = m->cli;
	struct mailbox_entry *e;
	size_t n;

	*out_n = 0;
	if (cli->nargs > 1) {
		*out = arena_array(cli->arena, cli->nargs, sizeof(**out));
		for (size_t i = 1; i < cli->nargs; i++)
			(*out)[(*out_n)++] = cli_arg(cli, i);
		return true;
	}
	if (!mailbox_list(m->account, cli->arena, &e, &n, err))
		return false;
	*out = arena_array(cli->arena, n + 1, sizeof(**out));
	for (size_t i = 0; i < n; i++)
		if (!(e[i].attrs & MAILBOX_NONEXISTENT))
			(*out)[(*out_n)++] = e[i].name;
	return true;
}

static bool all_status(struct mail *m, struct report *r, struct err *err)
{
	struct str *names;
	size_t n;

	if (!names_of(m, &names, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct mailbox_status s;
		if (!mailbox_status(m->account, names[i], &s, err))
			return false;
		one_status(m, r, names[i], &s);
	}
	return true;
}

int cmd_mailbox_status(struct cli *cli);
int cmd_mailbox_status(struct cli *cli)
{
	struct mail m;
	struct quota_use q;
	struct err err = {0};
	struct report r = {
		.table = table_new(cli->arena,
				   cli_text(cli, "MAILBOX|>MESSAGES|>UNSEEN|>SIZE|>UIDNEXT|>UIDVALIDITY",
					    "메일함|>메시지|>안 읽음|>크기|>UIDNEXT|>UIDVALIDITY"))};

	int rc = mail_open(&m, cli);
	if (rc != CLI_OK)
		return rc;
	if (cli->json) {
		json_write_init(&r.w, &cli->out);
		json_write_object_begin(&r.w);
		json_write_name(&r.w, STR("mailboxes"));
		json_write_array_begin(&r.w);
	}
	if (!all_status(&m, &r, &err) || !account_quota(m.account, &q, &err)) {
		rc = cli_fail_err(cli, &err);
		buf_clear(&cli->out);
	} else if (cli->json) {
		json_write_array_end(&r.w);
		json_write_member_int(&r.w, "bytes", (int64_t)q.bytes);
		json_write_member_int(&r.w, "messages", (int64_t)q.messages);
		json_write_object_end(&r.w);
		buf_byte(&cli->out, '\n');
	} else {
		table_print(r.table, &cli->out);
		cli_print(cli,
			  cli_text(cli, "%llu messages, %llu bytes\n", "메시지 %llu통, %llu바이트\n"),
			  (unsigned long long)q.messages, (unsigned long long)q.bytes);
	}
	mail_close(&m);
	return rc;
}

/* ---- check and reindex ------------------------------------------------------------------ */
static void print_check(struct cli *cli, struct str report, size_t differences)
{
	struct json_writer w;

	if (!cli->json) {
		buf_add(&cli->out, report);
		cli_print(cli,
			  differences ? cli_text(cli, "%zu differences\n", "다른 점 %zu개\n")
				      : cli_text(cli, "the index is right\n", "색인이 맞습니다\n"),
			  differences);
		return;
	}
	json_write_init(&w, &cli->out);
	json_write_object_begin(&w);
	json_write_member_int(&w, "differences", (int64_t)differences);
	json_write_name(&w, STR("report"));
	json_write_array_begin(&w);
	while (report.p) {
		struct str line = str_cut(&report, '\n');
		if (line.n)
			json_write_str(&w, line);
	}
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(&cli->out, '\n');
}

int cmd_mailbox_check(struct cli *cli);
int cmd_mailbox_check(struct cli *cli)
{
	BUF_SCOPED report = {0};
	struct mail m;
	struct err err = {0};
	size_t differences;

	int rc = mail_open(&m, cli);
	if (rc != CLI_OK)
		return rc;
	if (!account_check(m.account, &report, &differences, &err)) {
		rc = cli_fail_err(cli, &err);
	} else {
		print_check(cli, buf_str(&report), differences);
		rc = differences ? CLI_DATA : CLI_OK;
	}
	mail_close(&m);
	return rc;
}

int cmd_mailbox_reindex(struct cli *cli);
int cmd_mailbox_reindex(struct cli *cli)
{
	struct mail m;
	struct quota_use q;
	struct err err = {0};

	int rc = mail_open(&m, cli);
	if (rc != CLI_OK)
		return rc;
	if (!account_reindex(m.account, NULL, NULL, &err) || !account_quota(m.account, &q, &err)) {
		rc = cli_fail_err(cli, &err);
	} else if (cli->json) {
		struct json_writer w;
		json_write_init(&w, &cli->out);
		json_write_object_begin(&w);
		json_write_member_int(&w, "messages", (int64_t)q.messages);
		json_write_object_end(&w);
		buf_byte(&cli->out, '\n');
	} else {
		cli_print(cli, cli_text(cli, "%llu messages indexed\n", "메시지 %llu통을 색인했습니다\n"),
			  (unsigned long long)q.messages);
	}
	mail_close(&m);
	return rc;
}

/* Before Dovecot serves the same Maildir again; the server should be stopped, as the lists tell of now. */
int cmd_mailbox_handback(struct cli *cli);
int cmd_mailbox_handback(struct cli *cli)
{
	struct mail m;
	struct err err = {0};
	size_t n;

	int rc = mail_open(&m, cli);
	if (rc != CLI_OK)
		return rc;
	if (!account_hand_back(m.account, &n, &err)) {
		rc = cli_fail_err(cli, &err);
	} else if (cli->json) {
		struct json_writer w;
		json_write_init(&w, &cli->out);
		json_write_object_begin(&w);
		json_write_member_int(&w, "mailboxes", (int64_t)n);
		json_write_object_end(&w);
		buf_byte(&cli->out, '\n');
	} else {
		cli_print(cli, cli_text(cli, "lists of %zu mailboxes written\n", "메일함 %zu개의 목록을 썼습니다\n"),
			  n);
	}
	mail_close(&m);
	return rc;
}
