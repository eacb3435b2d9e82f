/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Arguments, tables, the control socket, and whole commands on a directory of their own. */
#include "cli/cli_int.h"
#include "cli/control.h"
#include "cli/table.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static void test_spec(void **state)
{
	struct cli_spec s;
	cli_spec_parse("ADDRESS [--quota SIZE|none] [--all] [--to ADDRESS]... [NAME...] [-f SENDER]", &s);
	assert_int_equal(6, s.n);
	assert_true(!s.v[0].is_option && !s.v[0].optional && str_eq(s.v[0].name, STR("ADDRESS")));
	assert_true(s.v[1].is_option && str_eq(s.v[1].value, STR("SIZE|none")));
	assert_true(s.v[2].is_option && !s.v[2].value.p && str_eq(s.v[2].name, STR("--all")));
	assert_true(s.v[3].repeated && str_eq(s.v[3].value, STR("ADDRESS")));
	assert_true(!s.v[4].is_option && s.v[4].optional && s.v[4].repeated &&
		    str_eq(s.v[4].name, STR("NAME")));
	assert_true(str_eq(s.v[5].name, STR("-f")) && str_eq(s.v[5].value, STR("SENDER")));
	cli_spec_parse("", &s);
	assert_int_equal(0, s.n);
}

static void test_table(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {0};
	struct table *t = table_new(a, "NAME|>SIZE|NOTE");
	table_cell(t, STR("홍길동"));
	table_cell(t, STR("5"));
	table_cell(t, STR("a\x1b[31m\n"));
	table_cell(t, STR("kim"));
	table_cell_fmt(t, "%d", 12345);
	table_cell(t, STR(""));
	table_print(t, &out);
	const char *want = "NAME     SIZE  NOTE\n"
			   "홍길동      5  a?[31m?\n"
			   "kim     12345\n";
	if (!str_eq(buf_str(&out), str_of(want)))
		fail_msg("%.*s", (int)out.n, out.p);
	assert_int_equal(5, text_width(STR("e\xcc\x81"
					   "ab한")));
}

struct server {
	int fd;
	const char *answer;
};

static void *serve(void *context)
{
	struct server *s = context;
	char line[64];
	int c = accept(s->fd, NULL, NULL);
	if (read(c, line, sizeof line) > 0 && s->answer)
		(void)!write(c, s->answer, strlen(s->answer));
	close(c);
	return NULL;
}

static void test_control(void **state)
{
	static const struct { const char *answer, *want; enum err_kind kind;
	} cases[] = {
		{"{\"ok\":true}\n", "{\"ok\":true}", ERR_NONE},
		{"half", NULL, ERR_GONE},
		{NULL, NULL, ERR_GONE},
	};
	char dir[] = "/tmp/pabal-control-XXXXXX", command[64];
	struct err err = {0};
	int none;
	assert_non_null(mkdtemp(dir));
	assert_true(control_connect(dir, "auth", &none, &err));
	assert_int_equal(-1, none);
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/control", dir);
	mkdir(sa.sun_path, 0700);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/control/auth.sock", dir);
	struct server s = {.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
	assert_int_equal(0, bind(s.fd, (struct sockaddr *)&sa, sizeof sa));
	assert_int_equal(0, listen(s.fd, 5));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED reply = {0};
		pthread_t thread;
		int fd;
		s.answer = cases[i].answer;
		err_clear(&err);
		assert_int_equal(0, pthread_create(&thread, NULL, serve, &s));
		assert_true(control_connect(dir, "auth", &fd, &err));
		assert_true(fd >= 0);
		bool ok = control_call(fd, STR("{}"), &reply, &err);
		assert_int_equal(cases[i].kind, err.kind);
		assert_true(ok == (cases[i].want != NULL));
		if (ok)
			assert_true(str_eq(buf_str(&reply), str_of(cases[i].want)));
		close(fd);
		pthread_join(thread, NULL);
	}
	close(s.fd);
	/* A socket whose server is gone means: no server. */
	assert_true(control_connect(dir, "auth", &none, &err));
	assert_int_equal(-1, none);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(0, system(command));
}

struct home {
	char dir[40], config[64], out[64], in[64];
};

static int setup(void **state)
{
	struct home *h = calloc(1, sizeof *h);
	strcpy(h->dir, "/tmp/pabal-cli-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(h->config, sizeof h->config, "%s/pabal.conf", h->dir);
	snprintf(h->out, sizeof h->out, "%s/out", h->dir);
	snprintf(h->in, sizeof h->in, "%s/in", h->dir);
	FILE *f = fopen(h->config, "w");
	fputs("hostname = mail.example.com data_dir = . run_dir = run", f);
	fclose(f);
	setenv("PABAL_CONFIG", h->config, 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct home *h = *state;
	char command[64];
	snprintf(command, sizeof command, "rm -rf %s", h->dir);
	int rc = system(command);
	free(h);
	return rc;
}

/* Runs "domain add x" with input; what it prints comes back with its exit code. */
static int run(struct home *h, const char *line, const char *input, struct buf *out)
{
	char name[] = "pabal", copy[256], *argv[32] = {name}, *save = NULL;
	int argc = 1;
	snprintf(copy, sizeof copy, "%s", line);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	FILE *f = fopen(h->in, "w");
	fputs(input ? input : "", f);
	fclose(f);
	fflush(stdout);
	int keep_out = dup(1), keep_in = dup(0), keep_err = dup(2);
	int o = open(h->out, O_RDWR | O_CREAT | O_TRUNC, 0600), in = open(h->in, O_RDONLY);
	dup2(o, 1);
	dup2(o, 2);
	dup2(in, 0);
	int rc = cli_main(argc, argv);
	fflush(stdout);
	dup2(keep_out, 1);
	dup2(keep_in, 0);
	dup2(keep_err, 2);
	buf_clear(out);
	char *room = buf_room(out, 65536);
	ssize_t n = pread(o, room, 65536, 0);
	out->n = n > 0 ? (size_t)n : 0;
	close(o);
	close(in);
	close(keep_out);
	close(keep_in);
	close(keep_err);
	return rc;
}

static void test_commands(void **state)
{
	/* Each on what the ones before have left; want: a part of the output. */
	static const struct { const char *line, *input; int rc; const char *want;
	} steps[] = {
		{"", NULL, CLI_USAGE, "usage: pabal COMMAND"},
		{"--help", NULL, CLI_OK, "account add"},
		{"domain add Example.COM --description=ours", NULL, CLI_OK, "Domain added."},
		{"domain add example.com", NULL, CLI_DATA, "exists already"},
		{"domain ad example.com", NULL, CLI_USAGE, "did you mean \"domain add\""},
		{"domian list", NULL, CLI_USAGE, "did you mean \"domain list\""},
		{"domain", NULL, CLI_USAGE, "pabal domain restore NAME"},
		{"domain add", NULL, CLI_USAGE, "NAME is missing"},
		{"domain add a b", NULL, CLI_USAGE, "too many arguments"},
		{"domain add a --descripton x", NULL, CLI_USAGE, "did you mean --description"},
		{"domain list", NULL, CLI_OK, "example.com"},
		{"account add test1@example.com --password-stdin", "secret one\n", CLI_OK,
		 "Account added."},
		{"account add test2@example.com --password-stdin", "", CLI_DATA, "no password"},
		{"account add test2@example.com --hash-stdin", "no hash", CLI_DATA, "no password hash"},
		{"account add test2@example.com --no-password --quota 2G --role admin", NULL, CLI_OK,
		 "added"},
		{"account add x@example.com --no-password --quota lots", NULL, CLI_USAGE, "not a size"},
		{"account add x@none.example --no-password", NULL, CLI_NOT_FOUND,
		 "there is no domain none.example"},
		{"account passwd test2@example.com --password-stdin", "new\n", CLI_OK,
		 "Password changed."},
		{"account passwd none@example.com --password-stdin", "new\n", CLI_NOT_FOUND,
		 "there is no account"},
		{"account list", NULL, CLI_OK, "2G"},
		{"account set test1@example.com --enabled no --protocols imap,pop3", NULL, CLI_OK,
		 "changed"},
		{"account set test1@example.com --enabled perhaps", NULL, CLI_USAGE, "must be yes or no"},
		{"account show test1@example.com", NULL, CLI_OK, "imap,pop3"},
		{"account show test1@example.com --json", NULL, CLI_OK, "\"enabled\": false"},
		{"account remove test1@example.com", NULL, CLI_USAGE, "use --yes"},
		{"account remove test1@example.com --yes", NULL, CLI_OK, "removed"},
		{"account restore test1@example.com", NULL, CLI_OK, "restored"},
		{"account set test1@example.com --enabled yes", NULL, CLI_OK, "changed"},
		{"alias add testfc@example.com test1@example.com nobody@example.com", NULL, CLI_OK,
		 "Alias added."},
		{"alias list", NULL, CLI_OK, "no such recipient"},
		{"alias set testfc@example.com test1@example.com", NULL, CLI_OK, "changed"},
		{"alias show testfc@example.com", NULL, CLI_OK, "local"},
		{"lookup alias testfc@example.com", NULL, CLI_OK, "test1@example.com\n"},
		{"lookup alias none@example.com", NULL, CLI_NOT_FOUND, NULL},
		{"lookup domain EXAMPLE.com", NULL, CLI_OK, "1\n"},
		{"lookup domain x.example", NULL, CLI_NOT_FOUND, NULL},
		{"lookup account Test1@example.com", NULL, CLI_OK, "1\n"},
		{"lookup account what-is-this", NULL, CLI_NOT_FOUND, NULL},
		{"lookup recipient postmaster", NULL, CLI_OK, "test2@example.com"},
		{"domain remove example.com --yes", NULL, CLI_OK, "removed"},
		{"lookup account test1@example.com", NULL, CLI_NOT_FOUND, NULL},
		{"domain restore example.com", NULL, CLI_OK, "restored"},
		{"lookup account test1@example.com", NULL, CLI_OK, "1\n"},
		{"alias remove testfc@example.com", NULL, CLI_OK, "removed"},
		{"config check", NULL, CLI_OK, "is correct"},
		{"config show smtp.max_recipients", NULL, CLI_OK, "smtp.max_recipients = 1000\n"},
		{"config show smtp.max_recipient", NULL, CLI_NOT_FOUND,
		 "did you mean smtp.max_recipients"},
		{"config explain smtp.max_message_size", NULL, CLI_OK, "Largest message"},
		{"config explain listener", NULL, CLI_OK, "plaintext_auth_from"},
		{"--config /nonexistent/x domain list", NULL, CLI_CONFIG, "/nonexistent/x: error"},
		{"config check --config", NULL, CLI_USAGE, "needs a file"},
		{"version", NULL, CLI_OK, "OpenSSL"},
		{"--version", NULL, CLI_OK, "pabal "},
		{"licenses --json", NULL, CLI_OK, "\"pabal\":\"Apache-2.0\""},
		{"help account add", NULL, CLI_OK, "--quota SIZE"},
		{"completion bash", NULL, CLI_OK, "complete -F _pabal pabal"},
		{"man pabal.1", NULL, CLI_OK, ".TH PABAL 1"},
		{"man pabal.conf.5", NULL, CLI_OK, "max_message_size"},
	};
	struct home *h = *state;
	BUF_SCOPED out = {0};
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		int rc = run(h, steps[i].line, steps[i].input, &out);
		bool as_wanted = steps[i].want
					 ? str_find(buf_str(&out), str_of(steps[i].want)) != STR_NPOS
					 : out.n == 0;
		if (rc != steps[i].rc || !as_wanted)
			fail_msg("pabal %s: %d\n%.*s", steps[i].line, rc, (int)out.n, out.p);
	}
}

static void test_korean(void **state)
{
	struct home *h = *state;
	BUF_SCOPED out = {0};
	setenv("LC_ALL", "ko_KR.UTF-8", 1);
	assert_int_equal(CLI_OK, run(h, "help domain add", NULL, &out));
	assert_true(str_find(buf_str(&out), STR("도메인을 추가합니다")) != STR_NPOS);
	setenv("LC_ALL", "C.UTF-8", 1);
}

/* A damaged directory is trouble, not "unknown" (R42). */
static void test_lookup_trouble(void **state)
{
	struct home *h = *state;
	BUF_SCOPED out = {0};
	char path[96];
	snprintf(path, sizeof path, "%s/directory", h->dir);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/directory/directory.db", h->dir);
	FILE *f = fopen(path, "w");
	fputs("garbage", f);
	fclose(f);
	assert_int_equal(CLI_TEMP, run(h, "lookup domain example.com", NULL, &out));
}

/* The words of an example up to what is the shell's: < > |. */
static int words_of(char *text, char **out, int max)
{
	int n = 0;
	for (char *p = text; *p && !strchr("<>|", *p) && n < max;) {
		bool quoted = *p == '"';
		out[n++] = p += quoted;
		p += strcspn(p, quoted ? "\"" : " ");
		if (*p)
			*p++ = 0;
		p += strspn(p, " ");
	}
	return n;
}

/* sendmail reads options of its own. */
static void check_example(const struct cli_command *c)
{
	char text[256], *words[30];
	if (strcmp(c->words, "sendmail") == 0)
		return;
	assert_true(snprintf(text, sizeof text, "%s", c->example) < (int)sizeof text);
	if (!cli_could_run(words_of(text, words, 30), words))
		fail_msg("%s: its example cannot be run: %s", c->words, c->example);
}

/* Every row has texts in both languages and an example that is its own, and one that it takes. */
static void test_rows(void **state)
{
	size_t n;
	const struct cli_command *c = cli_commands(&n);
	for (size_t i = 0; i < n; i++) {
		if (c[i].where == CLI_HIDDEN)
			continue;
		assert_true(strlen(c[i].help_en) > 0 && strlen(c[i].help_ko) > 0);
		if (str_find(str_of(c[i].example), str_of(c[i].words)) == STR_NPOS)
			fail_msg("%s: its example is another's", c[i].words);
		check_example(&c[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_control),
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_korean, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lookup_trouble, setup, teardown),
		cmocka_unit_test(test_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
