/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "sender_auth/dkim/keyring.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/secret.h"
#include "config/config.h"
#include "crypto/key.h"
#include "dns/resolver.h"
#include "mail/address.h"
#include "sender_auth/dkim/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PASSPHRASE_MAX = 4096 };

static const char *const use_names[] = {"auto", "always", "never"};

const char *dkim_use_name(enum dkim_use u)
{
	return use_names[u];
}

bool dkim_use_parse(struct str s, enum dkim_use *out)
{
	for (size_t i = 0; i < sizeof use_names / sizeof use_names[0]; i++) {
		if (str_eq(s, str_of(use_names[i]))) {
			*out = (enum dkim_use)i;
			return true;
		}
	}
	return false;
}

static bool name_fits(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!ascii_is((unsigned char)s.p[i], ASCII_LOWER | ASCII_DIGIT) && s.p[i] != '-' &&
		    s.p[i] != '_' && s.p[i] != '.')
			return false;
	}
	return dns_name_valid(s) && !str_ends(s, STR("."));
}

bool dkim_keyring_names(struct str domain, struct str selector)
{
	return name_fits(domain) && name_fits(selector);
}

/* ---- a file ---- */

/* "# sign: auto" and so on, up to the first line that is none of ours; returns where the key begins. */
static struct str read_lines(struct str text, struct arena *a, struct dkim_key_file *f)
{
	struct str rest = text;
	while (str_starts(rest, STR("# "))) {
		struct str line = str_from(str_cut(&rest, '\n'), 2);
		struct str name = str_cut(&line, ':');
		uint64_t n;
		line = line.p ? str_trim(line) : STR_NONE;
		if (str_eq(name, STR("sign")))
			(void)dkim_use_parse(line, &f->use);
		else if (str_eq(name, STR("identity")))
			f->identity = arena_str(a, line);
		else if (str_eq(name, STR("created")) && str_u64(line, INT64_MAX, &n))
			f->created_unix = (int64_t)n;
		else if (str_eq(name, STR("passphrase_file")))
			f->passphrase_file = arena_str(a, line);
	}
	return rest.p ? rest : STR_NONE;
}

static void write_lines(struct buf *out, const struct dkim_key_file *f)
{
	buf_fmt(out, "# sign: %s\n# created: %lld\n", dkim_use_name(f->use), (long long)f->created_unix);
	if (f->identity.n)
		buf_fmt(out, "# identity: %.*s\n", STR_ARG(f->identity));
	if (f->passphrase_file.n)
		buf_fmt(out, "# passphrase_file: %.*s\n", STR_ARG(f->passphrase_file));
}

/* The first line of a file; a passphrase may have any other character. */
static bool read_passphrase(struct arena *a, struct str path, struct secret *out, struct err *err)
{
	BUF_SCOPED text = {0};
	const char *name = arena_cstr(a, path);
	if (!name || !file_read_whole(AT_FDCWD, name, PASSPHRASE_MAX, &text, err))
		return err_while(err, "reading a passphrase from %.*s", STR_ARG(path));
	struct str rest = buf_str(&text), line = str_cut(&rest, '\n');
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	*out = secret_of(line);
	secret_wipe(text.p, text.n);
	return true;
}

static bool find_passphrase(const struct config *c, struct arena *a, const struct dkim_key_file *f,
			    struct str given, struct secret *out, struct err *err)
{
	struct str common = str_of(config_path(c, SETTING_DKIM_PASSPHRASE_FILE));
	if (given.n) {
		*out = secret_of(given);
		return true;
	}
	if (f->passphrase_file.n || common.n)
		return read_passphrase(a, f->passphrase_file.n ? f->passphrase_file : common, out, err);
	*out = secret_of(config_str(c, SETTING_DKIM_PASSPHRASE));
	return true;
}

static bool open_key(const struct config *c, struct arena *a, struct dkim_key_file *f, struct str pem,
		     struct str given, struct err *err)
{
	SECRET_SCOPED passphrase = {0};
	f->encrypted = dkim_key_is_encrypted(pem);
	if (f->encrypted && !find_passphrase(c, a, f, given, &passphrase, err))
		return false;
	return dkim_key_load(pem, (struct str){passphrase.p, passphrase.n}, &f->key, err);
}

/* Reads f->path; what is wrong becomes its problem. */
static void read_file(const struct config *c, struct arena *a, struct dkim_key_file *f, struct str given)
{
	BUF_SCOPED text = {0};
	struct err err = {0};
	struct stat st;
	const char *path = arena_cstr(a, f->path);
	if (path && stat(path, &st) == 0)
		f->created_unix = st.st_mtime;
	bool good = path && file_read_whole(AT_FDCWD, path, DKIM_KEY_FILE_MAX, &text, &err);
	if (good)
		good = open_key(c, a, f, read_lines(buf_str(&text), a, f), given, &err);
	if (!good)
		f->problem = arena_str(a, str_of(!path ? "not a file name" : err.sys ? err.cause : err.text));
	secret_wipe(text.p, text.n);
}

/* ---- all of them ---- */

struct reading {
	const struct config *c;
	struct arena *a;
	struct dkim_keyring *out;
	size_t cap;
};

static struct dkim_key_file *add(struct reading *r, struct str domain, struct str selector, struct str path)
{
	struct dkim_keyring *k = r->out;
	k->at = arena_grow(r->a, k->at, k->n, &r->cap, sizeof *k->at);
	struct dkim_key_file *f = &k->at[k->n++];
	*f = (struct dkim_key_file){.domain = arena_lower(r->a, domain),
				    .selector = arena_lower(r->a, selector),
				    .path = path};
	return f;
}

static bool read_domain_dir(struct reading *r, const char *root, struct str domain, struct err *err)
{
	const char *path = arena_cstr(r->a, arena_fmt(r->a, "%s/%.*s", root, STR_ARG(domain)));
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;
	bool good = true;
	if (!d) /* a file beside the directories is nobody's */
		return errno == ENOTDIR || err_sys(err, "%s", path ? path : "dkim.dir");
	while (good && (e = readdir(d))) {
		struct str name = str_of(e->d_name);
		if (!str_ends(name, STR(".pem")) || name.p[0] == '.')
			continue;
		name.n -= 4;
		if (!dkim_keyring_names(domain, name))
			continue;
		if (r->out->n == DKIM_KEYS_MAX) {
			good = err_set(err, ERR_LIMIT, "more than %d DKIM keys", DKIM_KEYS_MAX);
			break;
		}
		struct dkim_key_file *f = add(r, domain, name, arena_fmt(r->a, "%s/%.*s.pem", path,
									 STR_ARG(name)));
		f->own = true;
		read_file(r->c, r->a, f, STR_NONE);
	}
	closedir(d);
	return good;
}

static bool read_dir(struct reading *r, struct err *err)
{
	const char *root = config_path(r->c, SETTING_DKIM_DIR);
	DIR *d = opendir(root);
	struct dirent *e;
	bool good = true;
	if (!d) /* the first key makes it */
		return errno == ENOENT || err_sys(err, "%s", root);
	while (good && (e = readdir(d))) {
		if (name_fits(str_of(e->d_name)))
			good = read_domain_dir(r, root, str_of(e->d_name), err);
	}
	closedir(d);
	return good;
}

/* "DOMAIN SELECTOR FILE [passphrase_file=FILE] [passphrase=TEXT] [identity=ADDRESS] [sign=auto]" */
static bool read_row(struct reading *r, struct str row, struct err *err)
{
	struct str rest = row, words[3] = {STR_NONE, STR_NONE, STR_NONE}, passphrase = STR_NONE;
	struct dkim_key_file options = {0};
	size_t n = 0;
	bool use = false;
	while (rest.p) {
		struct str w = str_cut(&rest, ' ');
		bool good = true;
		if (!w.n)
			continue;
		if (n < 3)
			words[n++] = w;
		else if (str_starts(w, STR("passphrase_file=")))
			options.passphrase_file = str_from(w, 16);
		else if (str_starts(w, STR("passphrase=")))
			passphrase = str_from(w, 11);
		else if (str_starts(w, STR("identity=")))
			options.identity = str_from(w, 9);
		else if (str_starts(w, STR("sign=")))
			good = use = dkim_use_parse(str_from(w, 5), &options.use);
		else
			good = false;
		if (!good) /* a passphrase may be in it: not repeated */
			return err_set(err, ERR_SYNTAX, "dkim.keys: the row of %.*s has a word that is not "
				       "understood", STR_ARG(words[0]));
	}
	struct str domain;
	if (n < 3 || !domain_canonical(r->a, words[0], &domain, err) ||
	    !dkim_keyring_names(domain, arena_lower(r->a, words[1])))
		return err_set(err, ERR_SYNTAX, "dkim.keys: a row is \"DOMAIN SELECTOR FILE\" and options");
	struct dkim_key_file *f = add(r, domain, words[1], words[2]);
	f->passphrase_file = options.passphrase_file;
	read_file(r->c, r->a, f, passphrase);
	if (use)
		f->use = options.use;
	if (options.identity.n)
		f->identity = options.identity;
	return true;
}

static int by_domain(const void *x, const void *y)
{
	const struct dkim_key_file *a = x, *b = y;
	int c = str_cmp(a->domain, b->domain);
	if (c)
		return c;
	if (a->created_unix != b->created_unix)
		return a->created_unix > b->created_unix ? -1 : 1;
	return str_cmp(a->selector, b->selector);
}

bool dkim_keyring_read(const struct config *c, struct arena *a, struct dkim_keyring *out, struct err *err)
{
	struct reading r = {.c = c, .a = a, .out = out};
	struct config_list rows = config_list(c, SETTING_DKIM_KEYS);
	*out = (struct dkim_keyring){0};
	bool good = read_dir(&r, err);
	for (size_t i = 0; good && i < rows.n; i++)
		good = read_row(&r, rows.v[i], err);
	if (!good) {
		dkim_keyring_free(out);
		return false;
	}
	if (out->n)
		qsort(out->at, out->n, sizeof *out->at, by_domain);
	return true;
}

void dkim_keyring_free(struct dkim_keyring *k)
{
	for (size_t i = 0; i < k->n; i++)
		key_free(k->at[i].key);
	*k = (struct dkim_keyring){0};
}

/* ---- changes ---- */

/* Root may write for a server that runs as another user. */
static bool owner_of(int like, int dir, const char *name)
{
	struct stat st;
	return geteuid() != 0 || (fstat(like, &st) == 0 && fchownat(dir, name, st.st_uid, st.st_gid, 0) == 0);
}

/* The directory of the domain's keys; made, with dkim.dir, when make is true. -1 and err. */
static int open_domain_dir(const struct config *c, struct arena *a, struct str domain, bool make,
			   struct err *err)
{
	const char *root = config_path(c, SETTING_DKIM_DIR), *name = arena_cstr(a, domain);
	if (!name || !name_fits(domain)) {
		err_set(err, ERR_SYNTAX, "not a domain name");
		return -1;
	}
	if (make && file_mkdirat(AT_FDCWD, root, 0700) < 0 && errno != EEXIST) {
		err_sys(err, "%s", root);
		return -1;
	}
	FD_SCOPED dir = file_openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0 || (make && file_mkdirat(dir, name, 0700) < 0 && errno != EEXIST)) {
		err_sys(err, "%s", root);
		return -1;
	}
	if (make && !owner_of(dir, dir, name)) {
		err_sys(err, "%s/%s", root, name);
		return -1;
	}
	if (make && file_fsync(dir) < 0) {
		err_sys(err, "%s", root);
		return -1;
	}
	int fd = file_openat(dir, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		err_sys(err, "%s/%s", root, name);
	return fd;
}

bool dkim_keyring_put(const struct config *c, struct arena *a, struct dkim_key_file *f, struct str pem,
		      struct err *err)
{
	BUF_SCOPED text = {0};
	const char *name = arena_cstr(a, arena_cat(a, f->selector, STR(".pem")));
	if (!name || !name_fits(f->selector))
		return err_set(err, ERR_SYNTAX, "not a selector");
	FD_SCOPED dir = open_domain_dir(c, a, f->domain, true, err);
	if (dir < 0)
		return false;
	write_lines(&text, f);
	buf_add(&text, pem);
	bool good = file_replace_whole(dir, name, buf_str(&text), 0600, err) &&
		    (owner_of(dir, dir, name) || err_sys(err, "chown %s", name));
	secret_wipe(text.p, text.n);
	f->path = arena_fmt(a, "%s/%.*s/%s", config_path(c, SETTING_DKIM_DIR), STR_ARG(f->domain), name);
	f->own = true;
	return good;
}

bool dkim_keyring_pem(const struct dkim_key_file *f, struct buf *out, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED text = {0};
	struct dkim_key_file ignored = {0};
	const char *path = arena_cstr(a, f->path);
	if (!path)
		return err_set(err, ERR_SYNTAX, "not a file name");
	if (!file_read_whole(AT_FDCWD, path, DKIM_KEY_FILE_MAX, &text, err))
		return false;
	buf_add(out, read_lines(buf_str(&text), a, &ignored));
	secret_wipe(text.p, text.n);
	return true;
}

bool dkim_keyring_remove(const struct config *c, const struct dkim_key_file *f, struct err *err)
{
	ARENA_SCOPED a = arena_new();
	const char *name = arena_cstr(a, arena_cat(a, f->selector, STR(".pem")));
	FD_SCOPED dir = open_domain_dir(c, a, f->domain, false, err);
	if (dir < 0 || !name)
		return false;
	if (file_unlinkat(dir, name, 0) < 0 || file_fsync(dir) < 0)
		return err_sys(err, "%.*s", STR_ARG(f->path));
	return true;
}

/* ---- rows ---- */

bool dkim_row_make(struct arena *a, const struct dkim_key_file *f, struct dkim_row *out, struct err *err)
{
	BUF_SCOPED der = {0}, pem = {0};
	*out = (struct dkim_row){.domain = f->domain, .selector = f->selector, .identity = f->identity,
				 .use = f->use, .created_unix = f->created_unix};
	out->id = (struct str){(const char *)key_id(f->key), KEY_ID_SIZE};
	bool good = dkim_key_algorithm(f->key, &out->algorithm) && key_public_der(f->key, &der, err) &&
		    key_write_pem(f->key, STR_NONE, &pem, err);
	out->der = arena_str(a, buf_str(&der));
	out->pem = arena_str(a, buf_str(&pem));
	secret_wipe(pem.p, pem.n);
	return good;
}

void dkim_row_encode(struct buf *out, const struct dkim_row *r)
{
	buf_le_str(out, r->domain);
	buf_le_str(out, r->selector);
	buf_le_str(out, r->identity);
	buf_le16(out, (uint16_t)r->use);
	buf_le16(out, (uint16_t)r->algorithm);
	buf_le64(out, (uint64_t)r->created_unix);
	buf_le_str(out, r->id);
	buf_le_str(out, r->der);
	buf_le_str(out, r->pem);
}

bool dkim_row_decode(struct scan *s, struct dkim_row *out)
{
	uint16_t use, algorithm;
	uint64_t created;
	if (!scan_le_str(s, 255, &out->domain) || !scan_le_str(s, 255, &out->selector) ||
	    !scan_le_str(s, 1024, &out->identity) || !scan_le16(s, &use) || use > DKIM_USE_NEVER ||
	    !scan_le16(s, &algorithm) || algorithm > DKIM_ED25519_SHA256 || !scan_le64(s, &created) ||
	    created > INT64_MAX || !scan_le_str(s, KEY_ID_SIZE, &out->id) || out->id.n != KEY_ID_SIZE ||
	    !scan_le_str(s, DKIM_KEY_FILE_MAX, &out->der) || !scan_le_str(s, DKIM_KEY_FILE_MAX, &out->pem))
		return false;
	out->use = (enum dkim_use)use;
	out->algorithm = (enum dkim_algorithm)algorithm;
	out->created_unix = (int64_t)created;
	return true;
}
