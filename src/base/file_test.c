/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/file.h"
#include "base/buf.h"
#include "base/testing.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	char path[64];
	int dir;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/pabal-file-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return f->dir < 0 ? -1 : 0;
}

static void remove_all(int dir)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dir, e->d_name, 0) < 0 && errno == EISDIR) {
			int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			remove_all(sub);
			close(sub);
			unlinkat(dir, e->d_name, AT_REMOVEDIR);
		}
	}
	closedir(d);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unsetenv("PABAL_FAULT");
	file_faults_init("test");
	remove_all(f->dir);
	close(f->dir);
	rmdir(f->path);
	free(f);
	return 0;
}

static int count_files(int dir)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

static void test_replace_and_read(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct stat st;
	BUF_SCOPED b = {0};

	umask(077);
	assert_true(file_replace_whole(f->dir, "x", STR("one"), 0640, &err));
	assert_true(file_replace_whole(f->dir, "x", STR("second"), 0640, &err));
	assert_true(file_read_whole(f->dir, "x", 6, &b, &err));
	assert_str("content", buf_str(&b), STR("second"));
	assert_int_equal(fstatat(f->dir, "x", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(count_files(f->dir), 1);

	assert_int_equal(file_mkdirat(f->dir, "sub", 0700), 0);
	assert_true(file_replace_whole(f->dir, "sub/y", STR(""), 0600, &err));
	assert_true(file_read_whole(f->dir, "sub/y", 0, &b, &err));
	assert_int_equal(b.n, 0);

	assert_false(file_read_whole(f->dir, "x", 5, &b, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_false(file_read_whole(f->dir, "none", 5, &b, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_false(file_read_whole(f->dir, "sub", 5000, &b, &err));
	assert_int_equal(err.kind, ERR_IO);
	assert_false(file_replace_whole(f->dir, "none/x", STR("a"), 0600, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	/* no size is known of it beforehand */
	assert_true(file_read_whole(AT_FDCWD, "/proc/self/status", 100000, &b, &err));
	assert_true(b.n > 100);
}

static void test_pread_short(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	char got[8];
	FD_SCOPED fd = file_openat(f->dir, "x", O_RDWR | O_CREAT, 0600);

	assert_true(file_write_all(fd, "12345", 5, &err));
	assert_true(file_pread_all(fd, got, 3, 2, &err));
	assert_memory_equal(got, "345", 3);
	assert_false(file_pread_all(fd, got, 4, 2, &err));
	assert_int_equal(err.kind, ERR_CORRUPT);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	assert_true(file_replace_whole(f->dir, "a", STR("a"), 0600, &err));
	assert_true(file_replace_whole(f->dir, "b", STR("b"), 0600, &err));
	assert_int_equal(file_renameat_noreplace(f->dir, "a", f->dir, "b"), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(file_renameat_noreplace(f->dir, "a", f->dir, "c"), 0);
	assert_int_equal(file_linkat(f->dir, "c", f->dir, "d"), 0);
	assert_int_equal(file_renameat(f->dir, "b", f->dir, "d"), 0);
	assert_int_equal(file_unlinkat(f->dir, "d", 0), 0);
	assert_int_equal(count_files(f->dir), 1);
	assert_int_equal(file_syncfs(f->dir), 0);

	int fd = 5000;
	errno = ENOSPC;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, ENOSPC);
	fd_close(&fd);
}

#ifdef PABAL_FAULTS

static void faults(const char *rules)
{
	setenv("PABAL_FAULT", rules, 1);
	file_faults_init("test");
}

static bool replaces(struct fixture *f, int *out_errno)
{
	struct err err = {0};
	bool ok = file_replace_whole(f->dir, "x", STR("new"), 0600, &err);

	*out_errno = err.sys;
	return ok;
}

static void test_faults(void **state)
{
	static const struct {
		const char *rules;
		int sys; /* 0: not hit */
	} cases[] = {
		{"enospc:1", ENOSPC}, {"eio:3", EIO}, {"emfile:1", EMFILE}, {"enospc:1@write", ENOSPC},
		{"enospc:2@write", 0}, {"eio:1@rename@test", EIO}, {"eio:1@rename@queue", 0},
		{"eio:1-@@queue", 0}, {"enospc:1-@@test", ENOSPC}, {"eio:9,enospc:2@fsync", ENOSPC},
		{"eio:1@open", EIO}, {"eio:1@mkdir", 0}, {"", 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int sys;
		faults(cases[i].rules);
		assert_case(cases[i].rules, replaces(f, &sys) == (cases[i].sys == 0));
		assert_case(cases[i].rules, sys == cases[i].sys);
	}
	faults("");
	int sys;
	assert_true(replaces(f, &sys));
	assert_int_equal(file_faults_counted(), 5); /* create, write, fsync, rename, fsync */
}

/* At every step of replacing: afterwards the file is the old or the new one, never a third. */
static void test_kill_each_step(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	BUF_SCOPED b = {0};
	int killed = 0;

	for (int step = 1; step <= 6; step++) {
		faults("");
		assert_true(file_replace_whole(f->dir, "x", STR("old"), 0600, &err));
		pid_t pid = fork();
		if (pid == 0) {
			char rule[32];
			int sys;
			snprintf(rule, sizeof(rule), "kill:%d", step);
			faults(rule);
			_exit(replaces(f, &sys) ? 0 : 1);
		}
		int status = 0;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(file_read_whole(f->dir, "x", 100, &b, &err));
		if (WIFSIGNALED(status)) {
			assert_int_equal(WTERMSIG(status), SIGKILL);
			killed++;
			assert_str("content", buf_str(&b), step <= 4 ? STR("old") : STR("new"));
		} else {
			assert_int_equal(WEXITSTATUS(status), 0);
			assert_str("content", buf_str(&b), STR("new"));
		}
	}
	assert_int_equal(killed, 5);
}

static void test_trace(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	char rule[128];
	BUF_SCOPED b = {0};
	int sys;

	snprintf(rule, sizeof(rule), "trace:%s/trace", f->path);
	faults(rule);
	assert_true(replaces(f, &sys));
	faults("");
	assert_true(file_read_whole(f->dir, "trace", 1000, &b, &err));
	assert_str("trace", buf_str(&b),
		   STR("test 1 create\ntest 2 write\ntest 3 fsync\ntest 4 rename\ntest 5 fsync\n"));
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
		WITH_DIR(test_replace_and_read), WITH_DIR(test_pread_short), WITH_DIR(test_names),
#ifdef PABAL_FAULTS
		WITH_DIR(test_faults), WITH_DIR(test_kill_each_step), WITH_DIR(test_trace),
#endif
	};
	return RUN_TESTS(tests);
}
