/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * postqueue and postsuper, for hands and scripts that know Postfix: the options in daily use, and output in
 * the forms that they read. No questions are asked, as there.
 *
 *   postqueue -p | -j | -f | -i ID | -s DOMAIN
 *   postsuper [-h ID] [-H ID] [-d ID] [-r ID] ...   ID: ALL, or - for a list on standard input
 */
#include "cli/cli_int.h"
#include "cli/control.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One member may be given; NULL: all of the queue. */
static int act(struct cli *cli, const char *verb, const char *member, struct str value, long long *out_n)
{
	BUF_SCOPED request = {0};
	JSON_DOC_SCOPED doc = NULL;
	struct json_writer w;
	json_write_init(&w, &request);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "verb", verb);
	if (member)
		json_write_member_str(&w, member, value);
	else
		json_write_member_bool(&w, "all", true);
	json_write_object_end(&w);
	int code = cli_role(cli, "queue", buf_str(&request), &doc);
	if (!code)
		*out_n += (long long)json_value_int_or(json_value_member(json_doc_root(doc), "changed"), 0);
	return code;
}

static struct str text(const struct json_value *m, const char *name)
{
	return json_value_str_or(json_value_member(m, name), STR_NONE);
}

static long long number_of(const struct json_value *m, const char *name)
{
	return (long long)json_value_int_or(json_value_member(m, name), 0);
}

/* ---- postqueue ----------------------------------------------------------------------------- */

static void print_entry(struct cli *cli, const struct json_value *m)
{
	char when[40], mark = ' ';
	time_t at = (time_t)number_of(m, "received");
	struct tm tm;
	struct str id = text(m, "id"), state = text(m, "state"), reason = text(m, "reason"),
		   sender = text(m, "sender");
	if (str_eq(state, STR("held")))
		mark = '!';
	else if (!str_eq(state, STR("deferred")))
		mark = '*';
	localtime_r(&at, &tm);
	strftime(when, sizeof when, "%a %b %e %H:%M:%S", &tm);
	cli_print(cli, "%.*s%c %8lld %-19s  %.*s\n", STR_ARG(id), mark, number_of(m, "size"), when,
		  STR_ARG(sender.n ? sender : STR("MAILER-DAEMON")));
	if (reason.n)
		cli_print(cli, "%*s\n", reason.n + 2 < 76 ? 76 : (int)reason.n + 2,
			  arena_fmt(cli->arena, "(%.*s)%c", STR_ARG(reason), 0).p);
	cli_print(cli, "%41s%.*s\n\n", "", STR_ARG(text(m, "recipient")));
}

static int print_queue(struct cli *cli, const struct json_value *list)
{
	size_t n = json_value_count(list);
	long long bytes = 0;
	if (!n) {
		cli_print(cli, "Mail queue is empty\n");
		return CLI_OK;
	}
	cli_print(cli, "-Queue ID-          --Size-- ---Arrival Time---- --Sender/Recipient------\n");
	for (size_t i = 0; i < n; i++) {
		print_entry(cli, json_value_item(list, i));
		bytes += number_of(json_value_item(list, i), "size");
	}
	cli_print(cli, "-- %lld Kbytes in %zu Request%s.\n", (bytes + 1023) / 1024, n, n == 1 ? "" : "s");
	return CLI_OK;
}

/* One object a line, as postqueue(1) says under JSON OBJECT FORMAT. */
static int print_json(struct cli *cli, const struct json_value *list)
{
	for (size_t i = 0; i < json_value_count(list); i++) {
		const struct json_value *m = json_value_item(list, i);
		struct str state = text(m, "state"), reason = text(m, "reason");
		struct json_writer w;
		json_write_init(&w, &cli->out);
		json_write_object_begin(&w);
		json_write_member_str(&w, "queue_name", str_eq(state, STR("held")) ? STR("hold") : state);
		json_write_member_str(&w, "queue_id", text(m, "id"));
		json_write_member_int(&w, "arrival_time", number_of(m, "received"));
		json_write_member_int(&w, "message_size", number_of(m, "size"));
		json_write_member_bool(&w, "forced_expire", false);
		json_write_member_str(&w, "sender", text(m, "sender"));
		json_write_name(&w, STR("recipients"));
		json_write_array_begin(&w);
		json_write_object_begin(&w);
		json_write_member_str(&w, "address", text(m, "recipient"));
		if (reason.n)
			json_write_member_str(&w, "delay_reason", reason);
		json_write_object_end(&w);
		json_write_array_end(&w);
		json_write_object_end(&w);
		cli_print(cli, "\n");
	}
	return CLI_OK;
}

static int show(struct cli *cli, bool json)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = cli_role(cli, "queue", STR("{\"verb\":\"queue.list\"}"), &doc);
	if (code)
		return code;
	const struct json_value *list = json_value_member(json_doc_root(doc), "messages");
	return json ? print_json(cli, list) : print_queue(cli, list);
}

static int usage(struct cli *cli, const char *text_of)
{
	return cli_fail(cli, CLI_USAGE, "%s", text_of);
}

static int postqueue(struct cli *cli, int i)
{
	long long n = 0;
	const char *option = i < cli->argc ? cli->argv[i] : "";
	struct str value = str_of(i + 1 < cli->argc ? cli->argv[i + 1] : NULL);
	if (!strcmp(option, "-p") || !strcmp(option, "-j"))
		return show(cli, option[1] == 'j');
	if (!strcmp(option, "-f"))
		return act(cli, "queue.retry", NULL, STR_NONE, &n);
	if (!strcmp(option, "-i") && value.n)
		return act(cli, "queue.retry", "id", value, &n);
	if (!strcmp(option, "-s") && value.n)
		return act(cli, "queue.retry", "domain", value, &n);
	return usage(cli, "usage: postqueue -p | -j | -f | -i ID | -s DOMAIN");
}

/* ---- postsuper ----------------------------------------------------------------------------- */

static const struct deed {
	const char *option, *verb, *done;
} deeds[] = {
	{"-h", "queue.hold", "Placed on hold"},
	{"-H", "queue.release", "Released from hold"},
	{"-d", "queue.remove", "Deleted"},
	{"-r", "queue.retry", "Requeued"},
};

static int from_input(struct cli *cli, const struct deed *d, long long *n)
{
	char line[256];
	int code = CLI_OK;
	while (!code && fgets(line, sizeof line, stdin)) {
		struct str id = str_trim(str_of(line));
		if (id.n)
			code = act(cli, d->verb, "id", id, n);
	}
	return code;
}

static int postsuper(struct cli *cli, int i)
{
	int code = i < cli->argc ? CLI_OK : CLI_USAGE;
	for (; !code && i + 1 < cli->argc; i += 2) {
		const struct deed *d = NULL;
		struct str value = str_of(cli->argv[i + 1]);
		long long n = 0;
		for (size_t k = 0; k < sizeof deeds / sizeof deeds[0]; k++)
			if (!strcmp(cli->argv[i], deeds[k].option))
				d = &deeds[k];
		if (!d) {
			code = CLI_USAGE;
			break;
		}
		if (str_eq(value, STR("-")))
			code = from_input(cli, d, &n);
		else
			code = act(cli, d->verb, str_eq(value, STR("ALL")) ? NULL : "id", value, &n);
		if (!code && n)
			fprintf(stderr, "postsuper: %s: %lld message%s\n", d->done, n, n == 1 ? "" : "s");
	}
	if (code == CLI_USAGE || i < cli->argc)
		return code && code != CLI_USAGE
			       ? code
			       : usage(cli, "usage: postsuper [-h ID] [-H ID] [-d ID] [-r ID]");
	return code;
}

/* ---- by name ------------------------------------------------------------------------------- */

bool cli_is_postfix(struct cli *cli, struct str name, int *out_code)
{
	int i = 1;
	if (!str_eq(name, STR("postqueue")) && !str_eq(name, STR("postsuper")))
		return false;
	/* Ours before theirs: which server. */
	if (cli->argc > i + 1 && !strcmp(cli->argv[i], "--config"))
		cli->config_path = cli->argv[i + 1], i += 2;
	*out_code = str_eq(name, STR("postqueue")) ? postqueue(cli, i) : postsuper(cli, i);
	return true;
}
