/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Passwords and confirmations from people. Never from an argument: those show in ps. */
#include "base/file.h"
#include "base/secret.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_LINE_MAX = 4096 };

/* One line without its end; -1: nothing, or longer than the limit. */
static ssize_t read_line(int fd, char *line)
{
	size_t n = 0;
	while (n < PASSWORD_LINE_MAX) {
		ssize_t got = read(fd, line + n, 1);
		if (got <= 0 || line[n] == '\n')
			return got <= 0 && n == 0 ? -1 : (ssize_t)(n > 0 && line[n - 1] == '\r' ? n - 1 : n);
		n++;
	}
	return -1;
}

static int take_line(struct cli *cli, int fd, struct secret *out)
{
	char line[PASSWORD_LINE_MAX];
	ssize_t n = read_line(fd, line);
	if (n > 0)
		*out = secret_of((struct str){line, (size_t)n});
	secret_wipe(line, sizeof line);
	return n > 0 ? 0 : cli_fail(cli, CLI_DATA, cli_text(cli, "no password was given", "암호가 주어지지 않았습니다"));
}

static int from_file(struct cli *cli, struct str name, struct secret *out)
{
	FD_SCOPED fd = open(arena_cstr(cli->arena, name), O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return cli_fail(cli, CLI_IO, "%.*s: %m", STR_ARG(name));
	if (st.st_mode & 07)
		fprintf(stderr, cli_text(cli, "pabal: warning: others can read %.*s\n",
					 "pabal: 경고: 다른 사용자가 %.*s 파일을 읽을 수 있습니다\n"), STR_ARG(name));
	return take_line(cli, fd, out);
}

static ssize_t ask(int tty, const char *prompt, char *line)
{
	struct termios before, silent;
	bool is_tty = tcgetattr(tty, &before) == 0;
	if (write(tty, prompt, strlen(prompt)) < 0)
		return -1;
	if (is_tty) {
		silent = before;
		silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
		tcsetattr(tty, TCSAFLUSH, &silent);
	}
	ssize_t n = read_line(tty, line);
	if (is_tty)
		tcsetattr(tty, TCSAFLUSH, &before);
	if (write(tty, "\n", 1) < 0)
		return -1;
	return n;
}

static int from_terminal(struct cli *cli, int tty, bool twice, struct secret *out)
{
	char first[PASSWORD_LINE_MAX], second[PASSWORD_LINE_MAX];
	ssize_t n = ask(tty, cli_text(cli, "Password: ", "암호: "), first), m = n;
	int rc = 0;
	if (n > 0 && twice)
		m = ask(tty, cli_text(cli, "Again: ", "다시 한 번: "), second);
	if (n <= 0)
		rc = cli_fail(cli, CLI_DATA, cli_text(cli, "no password was given", "암호가 주어지지 않았습니다"));
	else if (twice && (m != n || memcmp(first, second, (size_t)n) != 0))
		rc = cli_fail(cli, CLI_DATA, cli_text(cli, "the passwords differ", "두 암호가 다릅니다"));
	else
		*out = secret_of((struct str){first, (size_t)n});
	secret_wipe(first, sizeof first);
	secret_wipe(second, sizeof second);
	return rc;
}

struct asked_by {
	const char *file, *stdin;
};

static int get_secret(struct cli *cli, const struct asked_by *options, bool twice, struct secret *out)
{
	struct str file = cli_option(cli, options->file);
	if (file.p)
		return from_file(cli, file, out);
	if (cli_has(cli, options->stdin))
		return take_line(cli, STDIN_FILENO, out);
	cli_flush(cli);
	FD_SCOPED tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (tty < 0)
		return cli_fail(cli, CLI_USAGE,
				cli_text(cli, "no terminal to ask for a password: use %s or %s",
					 "암호를 물어볼 터미널이 없습니다. %s이나 %s을 쓰십시오"),
				options->stdin, options->file);
	return from_terminal(cli, tty, twice, out);
}

int cli_password(struct cli *cli, bool twice, struct secret *out)
{
	static const struct asked_by options = {"--password-file", "--password-stdin"};
	return get_secret(cli, &options, twice, out);
}

int cli_passphrase(struct cli *cli, bool twice, struct secret *out)
{
	static const struct asked_by options = {"--passphrase-file", "--passphrase-stdin"};
	return get_secret(cli, &options, twice, out);
}

bool cli_confirm(struct cli *cli, const char *question)
{
	char line[PASSWORD_LINE_MAX];
	if (cli_has(cli, "--yes"))
		return true;
	if (!isatty(STDIN_FILENO)) {
		cli_fail(cli, CLI_USAGE, cli_text(cli, "%s: use --yes", "%s: --yes를 쓰십시오"), question);
		return false;
	}
	cli_flush(cli);
	fprintf(stderr, "%s [y/N] ", question);
	ssize_t n = read_line(STDIN_FILENO, line);
	return n >= 1 && (line[0] == 'y' || line[0] == 'Y');
}
