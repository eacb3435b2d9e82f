/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/load.c: a child parses the configuration and reads certificates and keys; the master gets
 * snapshots it can decode and problems it can show. A parser that crashes costs a message.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"
#include "proc/keys_int.h"
#include "proc/master_int.h"
#include "sender_auth/dkim/keyring.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20, OUTPUT_MAX = 4 << 20, DKIM_TABLE_MAX = 64 << 20, OUTPUTS = ROLE_COUNT + 6 };
enum { OUT_MASTER = ROLE_COUNT, OUT_CERTIFICATES, OUT_KEYS, OUT_DKIM_KEYS, OUT_DKIM, OUT_PROBLEMS };

static bool read_pem(struct str path, struct buf *problems, const char *file, struct buf *out)
{
	ARENA_SCOPED a = arena_new();
	const char *name = arena_cstr(a, path);
	struct err err;

	if (name && file_read_whole(AT_FDCWD, name, PEM_MAX, out, &err))
		return true;
	buf_fmt(problems, "%s: error: %.*s: %s\n", file, STR_ARG(path), name ? err.cause : "bad name");
	return false;
}

/* The key must be readable and belong to the certificate: found here, not at the first client. */
static bool check_pair(const struct config *c, struct str cert_path, struct str cert, struct str key_pem,
		       struct buf *problems)
{
	ARENA_SCOPED a = arena_new();
	struct cert_facts facts;
	struct key *key;
	struct err err;

	if (!cert_facts(a, cert, &facts, &err) || !key_load(key_pem, STR_NONE, &key, &err)) {
		buf_fmt(problems, "%s: error: %.*s: %s\n", config_file(c), STR_ARG(cert_path), err.text);
		return false;
	}
	bool same = memcmp(facts.key_id, key_id(key), KEY_ID_SIZE) == 0;
	key_free(key);
	if (!same)
		buf_fmt(problems, "%s: error: %.*s: its key file does not belong to it\n", config_file(c),
			STR_ARG(cert_path));
	return same;
}

static bool add_certificate(const struct config *c, struct str cert_path, struct str key_path,
			    struct buf *certs, struct buf *keys, struct buf *problems)
{
	BUF_SCOPED cert = {0};
	BUF_SCOPED key = {0};
	bool good = read_pem(cert_path, problems, config_file(c), &cert) &&
		    read_pem(key_path, problems, config_file(c), &key) &&
		    check_pair(c, cert_path, buf_str(&cert), buf_str(&key), problems);

	if (good) {
		pem_chain_add(certs, buf_str(&cert));
		pem_chain_add(keys, buf_str(&key));
	}
	secret_wipe(key.p, key.n);
	return good;
}

static bool add_certificates(const struct config *c, struct buf *certs, struct buf *keys,
			     struct buf *problems)
{
	struct config_list cert = config_list(c, SETTING_TLS_CERTIFICATE_FILES);
	struct config_list key = config_list(c, SETTING_TLS_KEY_FILES);

	if (cert.n != key.n) {
		buf_fmt(problems, "%s: error: tls.certificate_files names %zu files, tls.key_files %zu\n",
			config_file(c), cert.n, key.n);
		return false;
	}
	for (size_t i = 0; i < cert.n; i++)
		if (!add_certificate(c, cert.v[i], key.v[i], certs, keys, problems))
			return false;
	return true;
}

/* R128: a key that cannot be used is a mistake found here, and not mail that goes out unsigned. */
static bool add_dkim_key(const struct config *c, struct arena *a, const struct dkim_key_file *f,
			 struct buf *keys, struct buf *table, struct buf *problems)
{
	struct dkim_row row;
	struct err err = {0};

	if (f->use == DKIM_USE_NEVER)
		return true;
	if (!f->key || !dkim_row_make(a, f, &row, &err)) {
		struct str why = f->key ? str_of(err.text) : f->problem;
		buf_fmt(problems, "%s: error: DKIM key %.*s of %.*s (%.*s): %.*s\n", config_file(c),
			STR_ARG(f->selector), STR_ARG(f->domain), STR_ARG(f->path), STR_ARG(why));
		return false;
	}
	dkim_row_encode(keys, &row);
	row.pem = STR_NONE;
	dkim_row_encode(table, &row);
	return true;
}

static bool add_dkim(const struct config *c, struct buf *keys, struct buf *table, struct buf *problems)
{
	ARENA_SCOPED a = arena_new();
	struct dkim_keyring ring;
	struct err err = {0};
	bool good = true;

	if (!dkim_keyring_read(c, a, &ring, &err)) {
		buf_fmt(problems, "%s: error: %s\n", config_file(c), err.sys ? err.cause : err.text);
		return false;
	}
	for (size_t i = 0; i < ring.n; i++)
		good = add_dkim_key(c, a, &ring.at[i], keys, table, problems) && good;
	dkim_keyring_free(&ring);
	return good;
}

static bool put(int fd, struct str s)
{
	struct err err;
	return file_write_all(fd, s.p, s.n, &err);
}

static bool write_all(const struct config *c, const int out[OUTPUTS], struct buf *problems)
{
	BUF_SCOPED certs = {0};
	BUF_SCOPED keys = {0};
	BUF_SCOPED dkim_keys = {.max = DKIM_TABLE_MAX};
	BUF_SCOPED dkim = {.max = DKIM_TABLE_MAX};
	bool good = add_certificates(c, &certs, &keys, problems);

	good = good && add_dkim(c, &dkim_keys, &dkim, problems) && !dkim_keys.failed &&
	       put(out[OUT_DKIM_KEYS], buf_str(&dkim_keys)) && put(out[OUT_DKIM], buf_str(&dkim));
	good = good && put(out[OUT_CERTIFICATES], buf_str(&certs)) && put(out[OUT_KEYS], buf_str(&keys));
	for (int i = 0; good && i <= OUT_MASTER; i++) {
		BUF_SCOPED bytes = {0};
		config_encode(c, i == OUT_MASTER ? CONFIG_ROLE_MASTER : role_config_bit((enum role_id)i),
			      &bytes);
		good = put(out[i], buf_str(&bytes));
	}
	return good;
}

static int in_child(const char *path, const int out[OUTPUTS])
{
	BUF_SCOPED problems = {0};
	struct config *c = NULL;
	struct err err = {0};
	bool good = config_load(path, &problems, &c, &err);

	if (!good && problems.n == 0)
		buf_fmt(&problems, "%s: error: %s\n", path, err.cause[0] ? err.cause : err.text);
	good = good && write_all(c, out, &problems);
	return put(out[OUT_PROBLEMS], buf_str(&problems)) && good ? 0 : 1;
}

static bool run_child(const char *path, const int out[OUTPUTS], int *out_status, struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0)
		_exit(in_child(path, out));
	while (waitpid(pid, out_status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "waitpid");
	return true;
}

static bool seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
}

static bool take_results(int out[OUTPUTS], struct loaded *l, struct err *err)
{
	BUF_SCOPED bytes = {0};

	for (int i = 0; i < OUT_PROBLEMS; i++)
		if (!seal(out[i]))
			return err_sys(err, "seal");
	if (!sealed_read(fd_take(&out[OUT_MASTER]), OUTPUT_MAX, &bytes, err) ||
	    !config_decode(buf_str(&bytes), &l->config, err))
		return false;
	for (int i = 0; i < ROLE_COUNT; i++)
		l->snapshot[i] = fd_take(&out[i]);
	if (lseek(out[OUT_CERTIFICATES], 0, SEEK_END) > 0) {
		l->certificates = fd_take(&out[OUT_CERTIFICATES]);
		l->keys = fd_take(&out[OUT_KEYS]);
	}
	if (lseek(out[OUT_DKIM], 0, SEEK_END) > 0) {
		l->dkim = fd_take(&out[OUT_DKIM]);
		l->dkim_keys = fd_take(&out[OUT_DKIM_KEYS]);
	}
	return true;
}

bool load_config(const char *path, struct loaded *l, struct buf *problems, struct err *err)
{
	int out[OUTPUTS], status = -1;
	bool good = true;

	memset(l, 0xff, sizeof(*l)); /* descriptors: -1 */
	l->config = NULL;
	for (int i = 0; i < OUTPUTS; i++) {
		out[i] = memfd_create("config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		good = good && out[i] >= 0;
	}
	if (!good)
		err_sys(err, "memfd_create");
	good = good && run_child(path, out, &status, err);
	if (good && (!seal(out[OUT_PROBLEMS]) ||
		     !sealed_read(fd_take(&out[OUT_PROBLEMS]), OUTPUT_MAX, problems, err)))
		good = false;
	if (good && status != 0)
		good = err_set(err, ERR_SYNTAX, "the configuration has errors");
	good = good && take_results(out, l, err);
	for (int i = 0; i < OUTPUTS; i++)
		fd_close(&out[i]);
	return good;
}

void loaded_fini(struct loaded *l)
{
	config_unref(l->config);
	l->config = NULL;
	for (int i = 0; i < ROLE_COUNT; i++)
		fd_close(&l->snapshot[i]);
	fd_close(&l->certificates);
	fd_close(&l->keys);
	fd_close(&l->dkim);
	fd_close(&l->dkim_keys);
}
