/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * sql/mariadb_testing.h: for tests: a MariaDB of Debian's, a process of the test's own with a new data
 * directory below /tmp and a Unix socket, without grants. It dies with the test.
 */
#pragma once
#include "base/testing.h"
#include "sql/mariadb.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct mariadb {
	char dir[40], data[56], socket[56];
	pid_t pid;
};

static inline void mariadb_run(struct mariadb *m)
{
	char data[72], socket[72], pid_file[72];
	int log = open("/dev/null", O_RDWR);
	snprintf(data, sizeof data, "--datadir=%s", m->data);
	snprintf(socket, sizeof socket, "--socket=%s", m->socket);
	snprintf(pid_file, sizeof pid_file, "--pid-file=%s/pid", m->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, 0);
	dup2(log, 1);
	dup2(log, 2);
	execlp("/usr/sbin/mariadbd", "mariadbd", "--no-defaults", data, socket, pid_file, "--skip-networking",
	       "--skip-grant-tables", "--skip-log-bin", "--performance-schema=OFF",
	       "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M",
	       "--innodb-data-file-path=ibdata1:8M:autoextend", "--innodb-flush-method=nosync",
	       "--innodb-flush-log-at-trx-commit=2", geteuid() == 0 ? "--user=root" : NULL, NULL);
	_exit(127);
}

static inline struct sql_mariadb_options mariadb_options(const struct mariadb *m, const char *database)
{
	return (struct sql_mariadb_options){
		.socket = m->socket, .user = "root", .database = database, .timeout_ms = 30000};
}

static inline struct sql_db *mariadb_connect(const struct mariadb *m, const char *database)
{
	struct sql_mariadb_options o = mariadb_options(m, database);
	struct sql_db *db = NULL;
	struct err err = {0};
	if (!sql_mariadb_open(&o, &db, &err))
		fail_msg("%s", err.cause);
	return db;
}

/* Waits until it answers; the data directory stays over a stop. */
static inline void mariadb_start(struct mariadb *m)
{
	struct sql_mariadb_options o = mariadb_options(m, NULL);
	struct err err = {0};
	struct sql_db *db = NULL;
	m->pid = fork();
	if (m->pid == 0)
		mariadb_run(m);
	for (int tries = 0; tries < 3000 && !db; tries++) {
		if (sql_mariadb_open(&o, &db, &err))
			break;
		if (waitpid(m->pid, NULL, WNOHANG) == m->pid)
			fail_msg("mariadbd ended at once: is mariadb-server-core installed?");
		usleep(10000);
	}
	if (!db)
		fail_msg("mariadbd does not answer: %s", err.cause);
	sql_close(db);
}

static inline void mariadb_stop(struct mariadb *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	m->pid = 0;
}

static inline void mariadb_new(struct mariadb *m)
{
	*m = (struct mariadb){.dir = "/tmp/pabal-mariadb-XXXXXX"};
	assert_non_null(mkdtemp(m->dir));
	snprintf(m->data, sizeof m->data, "%s/data", m->dir);
	snprintf(m->socket, sizeof m->socket, "%s/s", m->dir);
	assert_int_equal(0, mkdir(m->data, 0700));
	mariadb_start(m);
}

static inline void mariadb_free(struct mariadb *m)
{
	char command[80];
	mariadb_stop(m);
	snprintf(command, sizeof command, "rm -rf %s", m->dir);
	if (m->dir[0])
		assert_int_equal(0, system(command));
}
