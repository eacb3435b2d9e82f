/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The run_dir of a server whose configuration file is wrong by now: the administrator has to be able to
 * look and to stop it. Tried: what the file says about run_dir, if a line of it can be read; the usual
 * place beside the file; the default. A server is the right one when it says that it has read this very file.
 */
#include "base/arena.h"
#include "base/file.h"
#include "cli/control.h"
#include "config/config.h"
#include "proc/proc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 4 << 20, REPLY_MAX = 4 << 20 };

/* run_dir = "value" */
static struct str value_of(struct str line)
{
	struct str name = str_trim(str_cut(&line, '='));

	if (!str_eq(name, STR("run_dir")) || !line.p)
		return STR_NONE;
	line = str_trim(str_cut(&line, '#'));
	if (line.n >= 2 && (line.p[0] == '"' || line.p[0] == '\'') && line.p[line.n - 1] == line.p[0])
		line = str_sub(line, 1, line.n - 2);
	return line;
}

static struct str directory_of(struct str path)
{
	size_t slash = str_find_last_byte(path, '/');

	return slash == STR_NPOS ? STR(".") : str_sub(path, 0, slash ? slash : 1);
}

static struct str said_in(struct arena *a, const char *config_path)
{
	BUF_SCOPED text = {0};
	struct str found = STR_NONE;
	struct err err;

	if (!file_read_whole(AT_FDCWD, config_path, FILE_MAX, &text, &err))
		return STR_NONE;
	for (struct str rest = buf_str(&text), line; rest.n;) {
		line = str_cut(&rest, '\n');
		struct str value = value_of(line);
		if (value.n)
			found = value;
	}
	if (found.n == 0 || found.p[0] == '/')
		return arena_str(a, found);
	return arena_fmt(a, "%.*s/%.*s", STR_ARG(directory_of(str_of(config_path))), STR_ARG(found));
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool serves(struct arena *a, const char *run_dir, const char *config_path)
{
	BUF_SCOPED reply = {0};
	JSON_DOC_SCOPED doc = NULL;
	struct err err;

	if (!proc_ask_master(run_dir, 's', &reply, &err) ||
	    !json_doc_parse(str_trim(buf_str(&reply)), REPLY_MAX, &doc, &err))
		return false;
	struct str its = json_value_str_or(json_value_member(json_doc_root(doc), "config"), STR(""));
	return same_file(arena_cstr(a, its), config_path);
}

const char *find_server(struct arena *a, const char *config_path)
{
	struct str beside = arena_fmt(a, "%.*s/run", STR_ARG(directory_of(str_of(config_path))));
	struct str try[] = {said_in(a, config_path), beside,
			    str_of(setting_info(SETTING_RUN_DIR)->default_text)};

	for (size_t i = 0; i < sizeof(try) / sizeof(try[0]); i++) {
		const char *run_dir = try[i].n ? arena_cstr(a, try[i]) : NULL;
		if (run_dir && serves(a, run_dir, config_path))
			return run_dir;
	}
	return NULL;
}
