/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/quickstart.c: pabal.conf is written last, so a directory that has one is complete. */
#include "proc/quickstart.h"
#include "auth/password.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/secret.h"
#include "config/config.h"
#include "crypto/selfsigned.h"
#include "crypto/tls.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/domain.h"
#include "json/json.h"
#include "mail/address.h"
#include "proc/proc.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PASSWORD_LENGTH = 14, PORT_BASE = 10000, ACCOUNTS_FILE_MAX = 1 << 20 };

struct making {
	const struct quickstart *q;
	struct arena *a;
	const char *dir; /* absolute */
	int dir_fd;
	struct str host;
	unsigned port_base;
};

/* ---- the directory ------------------------------------------------------------------------------- */

static bool ours(const char *name)
{
	static const char *const names[] = {".",
					    "..",
					    "data",
					    "tls",
					    "log",
					    "run",
					    "accounts.json",
					    "pabal.conf",
					    "pabal.conf.tmp",
					    "ready.json"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool check_empty(const char *dir, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool good = d || err_sys(err, "open %s", dir);

	while (good && (e = readdir(d)))
		if (!ours(e->d_name))
			good = err_set(
				err, ERR_CONFLICT,
				"%s is not empty (%s): name a new directory, or one that quickstart made",
				dir, e->d_name);
	if (d)
		closedir(d);
	return good;
}

static bool make_path(char *path, struct err *err)
{
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_sys(err, "mkdir %s", path);
		*p = c;
		if (!c)
			return true;
	}
}

static bool open_dir(struct making *m, struct err *err)
{
	char *path = strdup(arena_cstr(m->a, m->q->dir) ? arena_cstr(m->a, m->q->dir) : "");
	bool good = path && path[0] ? make_path(path, err) : err_set(err, ERR_SYNTAX, "--dir is needed");
	char *real = good ? realpath(path, NULL) : NULL;

	free(path);
	if (!good)
		return false;
	if (!real)
		return err_sys(err, "realpath");
	m->dir = arena_cstr(m->a, str_of(real));
	free(real);
	m->dir_fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return m->dir_fd >= 0 || err_sys(err, "open %s", m->dir);
}

/* ---- certificate ----------------------------------------------------------------------------------- */

static bool make_certificate(struct making *m, struct str hostname, struct err *err)
{
	BUF_SCOPED key = {0};
	BUF_SCOPED cert = {0};
	struct str names[] = {hostname, m->q->domain,     STR("localhost"),
			      m->host,  STR("127.0.0.1"), STR("::1")};

	tls_init();
	if (mkdirat(m->dir_fd, "tls", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "mkdir tls");
	FD_SCOPED tls = openat(m->dir_fd, "tls", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tls < 0)
		return err_sys(err, "open tls");
	bool good = selfsigned_make(names, sizeof(names) / sizeof(names[0]), &key, &cert, err) &&
		    file_replace_whole(tls, "cert.pem", buf_str(&cert), 0644, err) &&
		    file_replace_whole(tls, "key.pem", buf_str(&key), 0600, err);
	secret_wipe(key.p, key.n);
	return good;
}

/* ---- configuration ---------------------------------------------------------------------------------- */

static bool reachable(const char *dir)
{
	char path[4096];
	struct stat st;

	if (strlen(dir) >= sizeof(path))
		return false;
	strcpy(path, dir);
	for (char *end = path + strlen(path); end > path; end = strrchr(path, '/')) {
		*end = 0;
		if (stat(path[0] ? path : "/", &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
		if (!path[0])
			break;
	}
	return true;
}

/* Separate users need root, that they exist, and that they can come here. */
static bool can_separate(const char *dir)
{
	static const char *const users[] = {"vmail",      "pabal-smtp", "pabal-login",
					    "pabal-auth", "pabal-keys", "pabal-log"};

	if (geteuid() != 0 || !reachable(dir))
		return false;
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		if (!getpwnam(users[i]))
			return false;
	return true;
}

/* Unix sockets have short names: a deep directory gets its run_dir elsewhere. */
static struct str run_dir(struct making *m)
{
	enum { LONGEST = sizeof("/run/control/master.sock") };
	unsigned char r[6];

	if (strlen(m->dir) + LONGEST < sizeof(((struct sockaddr_un *)0)->sun_path))
		return STR("run");
	random_bytes(r, sizeof(r));
	return arena_fmt(m->a, "/tmp/pabal-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3], r[4], r[5]);
}

static void add_users(struct making *m, struct buf *b)
{
	static const char *const roles[] = {"vmail", "smtp", "login", "auth", "keys", "log", "dns", "relay"};

	if (can_separate(m->dir))
		return;
	buf_add(b, STR("\n# Every process runs as the user who starts the server. With the users that "
		       "`make install`\n"
		       "# creates, and started as root, leave these lines out: each then has its own.\n"
		       "process {\n"));
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		buf_fmt(b, "\tuser_%s = \"\"\n", roles[i]);
	buf_add(b, STR("}\n"));
}

static void write_config(struct making *m, struct str hostname, struct buf *b)
{
	buf_fmt(b, "# pabal's configuration, made by `pabal quickstart`. Relative paths begin here.\n"
		   "# Each setting is explained by: pabal config explain NAME\n"
		   "# After a change: pabal reload --config %s/pabal.conf\n\n", m->dir);
	buf_fmt(b, "# Name of this host, as in greetings and Received fields, and its domain.\n"
		   "hostname = \"%.*s\"\nmydomain = \"%.*s\"\n\n", STR_ARG(hostname), STR_ARG(m->q->domain));
	buf_fmt(b,
		"# Where to listen. Ports are the standard ones plus port_base: SMTP on %u, IMAP on %u "
		"...\n"
		"inet_interfaces = \"%.*s\"\nport_base = %u\n\n",
		m->port_base + 25, m->port_base + 143, STR_ARG(m->host), m->port_base);
	buf_add(b, STR("# Language of accounts that have none: ko or en.\nlanguage = ko\n\n"));
	buf_fmt(b,
		"# Mail, journals, the directory database; sockets.\ndata_dir = data\nrun_dir = "
		"\"%.*s\"\n\n",
		STR_ARG(run_dir(m)));
	buf_add(b,
		STR("# A certificate signed by itself: replace the files by real ones, then reload.\n"
		    "tls {\n\tcertificate_files = \"tls/cert.pem\"\n\tkey_files = \"tls/key.pem\"\n}\n\n"
		    "log {\n\tpath = \"log/pabal.log\"\n\tlevel = info\n}\n\n"
		    "# Small journals: this is a place to try things.\n"
		    "journal {\n\tsegment_size = 16M\n}\n\n"
		    "# Only programs of this host can connect, so there are no strangers whose mail SPF, "
		    "DKIM\n"
		    "# and DMARC would have to be asked about. Where inet_interfaces lets others in, "
		    "leave this\n"
		    "# out, then restart.\n"
		    "sender_auth {\n\tcheck = no\n}\n"));
	add_users(m, b);
}

static bool check_config(struct making *m, struct str text, struct config **out, struct err *err)
{
	BUF_SCOPED problems = {0};
	struct str name = arena_fmt(m->a, "%s/pabal.conf", m->dir);

	if (config_parse(arena_cstr(m->a, name), text, &problems, out, err))
		return true;
	return err_cause(err, "%.*s", STR_ARG(buf_str(&problems)));
}

/* ---- domain, accounts, aliases ------------------------------------------------------------------------ */

static struct str full(struct making *m, struct str name)
{
	if (str_has_byte(name, '@'))
		return name;
	return arena_fmt(m->a, "%.*s@%.*s", STR_ARG(name), STR_ARG(m->q->domain));
}

/* The same twice is what a making that was interrupted leaves. */
static bool unless_exists(bool done, struct err *err)
{
	if (done)
		return true;
	if (err->kind != ERR_EXISTS)
		return false;
	err_clear(err);
	return true;
}

static bool hashes(struct str password, struct buf out[3], struct err *err)
{
	return password_hash(STR_NONE, password, &out[0], err) &&
	       password_hash(STR("SCRAM-SHA-256"), password, &out[1], err) &&
	       password_hash(STR("SCRAM-SHA-1"), password, &out[2], err);
}

static bool make_account(struct making *m, struct directory *d, struct str address, struct str password,
			 bool admin, struct err *err)
{
	struct buf h[3] = {{0}};
	struct account v;

	account_init(&v);
	if (!hashes(password, h, err))
		return false;
	v.address = address;
	v.password = buf_str(&h[0]);
	v.scram_sha256 = buf_str(&h[1]);
	v.scram_sha1 = buf_str(&h[2]);
	v.role = admin ? ACCOUNT_ROLE_ADMIN : ACCOUNT_ROLE_USER;
	bool good = account_add(d, &v, err);
	if (!good && err->kind == ERR_EXISTS)
		good = account_set(d, address, ACCOUNT_SET_PASSWORD, &v, err);
	for (int i = 0; i < 3; i++)
		buf_free(&h[i]);
	(void)m;
	return good;
}

static bool make_alias(struct making *m, struct directory *d, struct str text, struct err *err)
{
	struct str to[64], rest = text, source = str_cut(&rest, '=');
	size_t n = 0;

	while (rest.n && n < sizeof(to) / sizeof(to[0]))
		to[n++] = full(m, str_trim(str_cut(&rest, ',')));
	if (n == 0 || source.n == 0)
		return err_set(err, ERR_SYNTAX, "--alias %.*s: write SOURCE=DESTINATION", STR_ARG(text));
	return unless_exists(alias_add(d, full(m, source), to, n, err), err);
}

static void choose_accounts(struct making *m, struct quickstart_made *out)
{
	static const struct str usual[] = {{"test1", 5}, {"test2", 5}};
	const struct str *names = m->q->accounts_n ? m->q->accounts : usual;
	size_t n = m->q->accounts_n ? m->q->accounts_n : 2;
	struct quickstart_account *v = arena_array(m->a, n, sizeof(*v));

	for (size_t i = 0; i < n; i++) {
		char *password = arena_alloc(m->a, PASSWORD_LENGTH);
		random_password(password, PASSWORD_LENGTH);
		v[i] = (struct quickstart_account){full(m, names[i]), {password, PASSWORD_LENGTH}};
	}
	out->accounts = v;
	out->accounts_n = n;
}

static bool fill_directory(struct making *m, const struct config *c, const struct quickstart_made *made,
			   struct err *err)
{
	const char *path = config_path(c, SETTING_DIRECTORY_DIR);
	DIRECTORY_SCOPED d = NULL;

	if ((mkdirat(m->dir_fd, "data", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(path, 0700) < 0 && errno != EEXIST))
		return err_sys(err, "mkdir %s", path);
	if (!directory_open(c, &d, err) || !unless_exists(domain_add(d, m->q->domain, STR_NONE, err), err))
		return false;
	for (size_t i = 0; i < made->accounts_n; i++)
		if (!make_account(m, d, made->accounts[i].address, made->accounts[i].password, i == 0, err))
			return err_while(err, "making account %.*s", STR_ARG(made->accounts[i].address));
	for (size_t i = 0; i < m->q->aliases_n; i++)
		if (!make_alias(m, d, m->q->aliases[i], err))
			return false;
	return true;
}

/* SQLite's files were made by root: they belong to auth, where users are separate. */
static bool give_directory(struct making *m, const struct config *c, struct err *err)
{
	struct passwd *auth = can_separate(m->dir) ? getpwnam("pabal-auth") : NULL;
	const char *path = config_path(c, SETTING_DIRECTORY_DIR);
	DIR *d = auth ? opendir(path) : NULL;
	struct dirent *e;
	bool good = true;

	while (good && d && (e = readdir(d)))
		if (strcmp(e->d_name, "..") != 0 &&
		    fchownat(dirfd(d), e->d_name, auth->pw_uid, auth->pw_gid, 0) < 0)
			good = err_sys(err, "chown %s/%s", path, e->d_name);
	if (d)
		closedir(d);
	return good;
}

/* ---- accounts.json ------------------------------------------------------------------------------------ */

static void write_accounts(const struct quickstart_made *made, struct json_writer *w)
{
	json_write_name(w, STR("accounts"));
	json_write_array_begin(w);
	for (size_t i = 0; i < made->accounts_n; i++) {
		json_write_object_begin(w);
		json_write_member_str(w, "address", made->accounts[i].address);
		json_write_member_str(w, "password", made->accounts[i].password);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static bool save_accounts(struct making *m, const struct quickstart_made *made, struct err *err)
{
	BUF_SCOPED text = {0};
	struct json_writer w;

	json_write_init(&w, &text);
	json_write_object_begin(&w);
	write_accounts(made, &w);
	json_write_object_end(&w);
	buf_byte(&text, '\n');
	bool good = file_replace_whole(m->dir_fd, "accounts.json", buf_str(&text), 0600, err);
	secret_wipe(text.p, text.n);
	return good;
}

static bool load_accounts(struct making *m, struct quickstart_made *made, struct err *err)
{
	BUF_SCOPED text = {0};
	JSON_DOC_SCOPED doc = NULL;

	if (!file_read_whole(m->dir_fd, "accounts.json", ACCOUNTS_FILE_MAX, &text, err)) {
		bool absent = err->kind == ERR_NOT_FOUND; /* deleted by a careful owner */
		if (absent)
			err_clear(err);
		return absent;
	}
	if (!json_doc_parse(str_trim(buf_str(&text)), ACCOUNTS_FILE_MAX, &doc, err))
		return err_while(err, "reading %s/accounts.json", m->dir);
	const struct json_value *list = json_value_member(json_doc_root(doc), "accounts");
	size_t n = json_value_count(list);
	struct quickstart_account *v = arena_array(m->a, n + 1, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		const struct json_value *one = json_value_item(list, i);
		v[i].address =
			arena_str(m->a, json_value_str_or(json_value_member(one, "address"), STR_NONE));
		v[i].password =
			arena_str(m->a, json_value_str_or(json_value_member(one, "password"), STR_NONE));
	}
	made->accounts = v;
	made->accounts_n = n;
	return true;
}

bool quickstart_write_ready(const struct quickstart_made *m, const struct config *c, struct err *err)
{
	BUF_SCOPED text = {0};
	struct json_writer w;
	FD_SCOPED dir = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(err, "open %s", m->dir);
	json_write_init(&w, &text);
	json_write_object_begin(&w);
	proc_write_ready(c, &w);
	write_accounts(m, &w);
	json_write_object_end(&w);
	buf_byte(&text, '\n');
	return file_replace_whole(dir, "ready.json", buf_str(&text), 0600, err);
}

/* ---- all of it ---------------------------------------------------------------------------------------- */

/* Before anything is made. */
static bool check_names(struct making *m, struct err *err)
{
	struct address address;

	if (m->q->domain.n == 0)
		return err_set(err, ERR_SYNTAX, "--domain is needed for a new directory");
	if (!domain_valid(m->q->domain, true))
		return err_set(err, ERR_SYNTAX, "--domain %.*s: not a domain name; example.com is one",
			       STR_ARG(m->q->domain));
	for (size_t i = 0; i < m->q->accounts_n; i++)
		if (!address_parse(m->a, full(m, m->q->accounts[i]), ADDRESS_UTF8, &address, err))
			return err_set(err, ERR_SYNTAX,
				       "--account %.*s: not an address; hong or hong@%.*s is one",
				       STR_ARG(m->q->accounts[i]), STR_ARG(m->q->domain));
	return true;
}

static bool make_fresh(struct making *m, struct quickstart_made *out, struct err *err)
{
	CONFIG_SCOPED c = NULL;
	BUF_SCOPED text = {0};

	if (!check_names(m, err) || !check_empty(m->dir, err))
		return false;
	struct str hostname = arena_fmt(m->a, "mail.%.*s", STR_ARG(m->q->domain));
	write_config(m, hostname, &text);
	choose_accounts(m, out);
	out->fresh = true;
	return make_certificate(m, hostname, err) && check_config(m, buf_str(&text), &c, err) &&
	       fill_directory(m, c, out, err) && give_directory(m, c, err) && save_accounts(m, out, err) &&
	       file_replace_whole(m->dir_fd, "pabal.conf", buf_str(&text), 0644, err);
}

bool quickstart_make(const struct quickstart *q, struct arena *a, struct quickstart_made *out,
		     struct err *err)
{
	struct making m = {.q = q, .a = a, .dir_fd = -1};
	struct stat st;

	m.host = q->host.n ? q->host : STR("127.0.0.1");
	m.port_base = q->port_base ? q->port_base : PORT_BASE;
	*out = (struct quickstart_made){0};
	if (!open_dir(&m, err))
		return false;
	FD_SCOPED dir = m.dir_fd;
	out->dir = m.dir;
	out->config_path = arena_cstr(a, arena_fmt(a, "%s/pabal.conf", m.dir));
	if (fstatat(dir, "pabal.conf", &st, 0) == 0)
		return load_accounts(&m, out, err);
	return make_fresh(&m, out, err);
}
