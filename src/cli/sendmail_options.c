/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Letters in clusters as getopt(3) reads them; options and addresses in any order. */
#include "cli/sendmail.h"
#include "mail/envelope.h"

#include <string.h>

struct reading {
	struct arena *a;
	struct sendmail_options *o;
	struct err *err;
	struct str *recipients;
	size_t n;
};

static bool read_mode(struct reading *r, struct str value)
{
	static const struct {
		char letter;
		enum sendmail_mode mode;
	} modes[] = {
		{'m', SENDMAIL_SEND}, {'s', SENDMAIL_SMTP}, {'v', SENDMAIL_VERIFY},
		{'p', SENDMAIL_LIST}, {'i', SENDMAIL_ALIASES},
	};
	for (size_t i = 0; value.n == 1 && i < sizeof modes / sizeof *modes; i++)
		if (modes[i].letter == value.p[0]) {
			r->o->mode = modes[i].mode;
			return true;
		}
	return err_set(r->err, ERR_SYNTAX, "-b%.*s is not supported; the server is started by pabal serve",
		       STR_ARG(value));
}

/* -o i, -o em, -o 8bitmime ...: those of use. */
static void read_old_option(struct reading *r, struct str value)
{
	if (str_eq(value, STR("i")))
		r->o->dots = true;
	else if (str_eq(value, STR("t")))
		r->o->from_header = true;
	else if (str_eq(value, STR("v")))
		r->o->verbose = true;
}

static bool read_notify(struct reading *r, struct str value)
{
	const char *upper = arena_cstr(r->a, value);
	char text[64];
	size_t n = upper ? strlen(upper) : sizeof text;
	if (n >= sizeof text)
		return err_set(r->err, ERR_SYNTAX, "-N wants never, or success, failure, delay");
	for (size_t i = 0; i < n; i++)
		text[i] = ascii_upper(upper[i]);
	if (!notify_parse((struct str){text, n}, &r->o->notify))
		return err_set(r->err, ERR_SYNTAX, "-N wants never, or success, failure, delay");
	return true;
}

static bool read_value(struct reading *r, char letter, struct str value)
{
	struct sendmail_options *o = r->o;
	switch (letter) {
	case 'b': return read_mode(r, value);
	case 'f':
	case 'r':
		o->has_sender = true;
		o->sender = value;
		break;
	case 'F': o->full_name = value; break;
	case 'B': o->eight_bit = str_eq_nocase(value, STR("8BITMIME")); break;
	case 'N': return read_notify(r, value);
	case 'R':
		o->ret = str_eq_nocase(value, STR("full"))   ? STR("FULL")
			 : str_eq_nocase(value, STR("hdrs")) ? STR("HDRS")
							     : STR_NONE;
		if (!o->ret.n)
			return err_set(r->err, ERR_SYNTAX, "-R wants full or hdrs");
		break;
	case 'V': o->envid = value; break;
	case 'o': read_old_option(r, value); break;
	default: break; /* A C L O X e h p: of no meaning here */
	}
	return true;
}

static bool read_flag(struct reading *r, char letter)
{
	struct sendmail_options *o = r->o;
	switch (letter) {
	case 'i': o->dots = true; break;
	case 't': o->from_header = true; break;
	case 'v': o->verbose = true; break;
	case 'I': o->mode = SENDMAIL_ALIASES; break;
	case 'G':
	case 'U':
	case 'c':
	case 'm':
	case 'n':
	case 's':
	case 'x': break;
	default: return err_set(r->err, ERR_SYNTAX, "unknown option -%c", letter);
	}
	return true;
}

/* One argument that begins with "-"; *i stands at it, and behind a value that it took. */
static bool read_cluster(struct reading *r, int argc, char *const *argv, int *i)
{
	static const char with_value[] = "ABCFLNORVXbefhopr";
	for (const char *p = argv[*i] + 1; *p; p++) {
		if (*p == 'q') { /* -q, -q30m, -qIfoo: the rest is its own */
			r->o->mode = SENDMAIL_FLUSH;
			return true;
		}
		if (!strchr(with_value, *p)) {
			if (!read_flag(r, *p))
				return false;
			continue;
		}
		if (p[1])
			return read_value(r, *p, str_of(p + 1));
		if (*i + 1 >= argc)
			return err_set(r->err, ERR_SYNTAX, "-%c needs a value", *p);
		return read_value(r, *p, str_of(argv[++*i]));
	}
	return true;
}

bool sendmail_options_read(struct arena *a, int argc, char *const *argv, struct sendmail_options *out,
			   struct err *err)
{
	struct reading r = {.a = a, .o = out, .err = err};
	bool options = true;
	*out = (struct sendmail_options){0};
	r.recipients = arena_array(a, (size_t)argc + 1, sizeof *r.recipients);
	for (int i = 0; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			out->config = argv[++i];
		else if (options && argv[i][0] == '-' && argv[i][1]) {
			if (!read_cluster(&r, argc, argv, &i))
				return false;
		} else {
			r.recipients[r.n++] = str_of(argv[i]);
		}
	}
	out->recipients = r.recipients;
	out->recipients_n = r.n;
	return true;
}
