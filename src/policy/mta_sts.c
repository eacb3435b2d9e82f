/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "policy/mta_sts.h"
#include "base/arena.h"
#include "base/scan.h"
#include "mail/address.h"

#define FAIL(...) return err_set(err, ERR_SYNTAX, __VA_ARGS__)

enum { MAX_AGE_DIGITS = 10, EXTENSION_NAME_MAX = 32 };

static bool is_alnum(unsigned char c)
{
	return ascii_is(c, ASCII_UPPER | ASCII_LOWER | ASCII_DIGIT);
}

static bool is_name(unsigned char c)
{
	return is_alnum(c) || c == '_' || c == '-' || c == '.';
}

/* sts-ext-value of the record: %x21-3A / %x3C / %x3E-7E */
static bool is_record_value(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != ';' && c != '=';
}

static bool name_valid(struct str s)
{
	return s.n > 0 && s.n <= EXTENSION_NAME_MAX && is_alnum((unsigned char)s.p[0]);
}

/* sts-field-delim = *WSP ";" *WSP */
static bool scan_delimiter(struct scan *s)
{
	struct scan before = *s;
	scan_blanks(s);
	if (!scan_byte(s, ';')) {
		*s = before;
		return false;
	}
	scan_blanks(s);
	return true;
}

bool mta_sts_is_record(struct str text)
{
	struct scan s = scan_of(text);
	return scan_lit(&s, STR("v=STSv1")) && scan_delimiter(&s);
}

/* sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim] */
bool mta_sts_record_parse(struct str text, struct str *out_id, struct err *err)
{
	struct scan s = scan_of(text);
	struct str id = STR_NONE;
	if (text.n > MTA_STS_RECORD_MAX || !scan_lit(&s, STR("v=STSv1")))
		FAIL("not an MTA-STS record");
	while (scan_delimiter(&s) && !scan_end(&s)) {
		struct str name = scan_while(&s, is_name);
		if (!name_valid(name) || !scan_byte(&s, '='))
			FAIL("a malformed field in the MTA-STS record");
		bool is_id = str_eq(name, STR("id"));
		struct str value = scan_while(&s, is_id ? is_alnum : is_record_value);
		if (value.n == 0 || (is_id && value.n > MTA_STS_ID_MAX))
			FAIL("a malformed value in the MTA-STS record");
		if (is_id && !id.p)
			id = value;
	}
	if (!scan_end(&s) || !id.p)
		FAIL(id.p ? "text behind the MTA-STS record" : "the MTA-STS record has no id");
	*out_id = id;
	return true;
}

const char *mta_sts_mode_name(enum mta_sts_mode mode)
{
	static const char *const names[] = {"none", "testing", "enforce"};
	return names[mode];
}

struct reading {
	struct arena *a;
	struct mta_sts_policy *policy;
	struct str *mx;
	size_t cap;
	bool version, mode, max_age;
};

static bool read_mode(struct str value, enum mta_sts_mode *out)
{
	for (enum mta_sts_mode m = MTA_STS_NONE; m <= MTA_STS_ENFORCE; m++) {
		if (str_eq(value, str_of(mta_sts_mode_name(m))))
			return *out = m, true;
	}
	return false;
}

static bool read_max_age(struct str value, uint32_t *out)
{
	uint64_t n;
	if (value.n > MAX_AGE_DIGITS || !str_u64(value, UINT64_MAX, &n))
		return false;
	*out = n < MTA_STS_MAX_AGE ? (uint32_t)n : MTA_STS_MAX_AGE;
	return true;
}

/* sts-policy-mx-value = ["*."] Domain */
static bool read_mx(struct reading *in, struct str value)
{
	struct mta_sts_policy *p = in->policy;
	struct str domain = str_starts(value, STR("*.")) ? str_from(value, 2) : value;
	if (!domain_valid(domain, false) || p->mx_n == MTA_STS_MX_MAX)
		return false;
	in->mx = arena_grow(in->a, in->mx, p->mx_n, &in->cap, sizeof *in->mx);
	in->mx[p->mx_n++] = arena_lower(in->a, value);
	p->mx = in->mx;
	return true;
}

/* Of fields that may stand once, the first counts (3.2). */
static bool read_field(struct reading *in, struct str name, struct str value)
{
	if (str_eq(name, STR("mx")))
		return read_mx(in, value);
	if (str_eq(name, STR("version"))) {
		if (in->version)
			return true;
		return in->version = str_eq(value, STR("STSv1"));
	}
	if (str_eq(name, STR("mode"))) {
		if (in->mode)
			return true;
		return in->mode = read_mode(value, &in->policy->mode);
	}
	if (str_eq(name, STR("max_age"))) {
		if (in->max_age)
			return true;
		return in->max_age = read_max_age(value, &in->policy->max_age_s);
	}
	return value.n > 0 && !str_has_ctl(value);
}

static bool read_line(struct reading *in, struct str line)
{
	size_t colon = str_find_byte(line, ':');
	if (colon == STR_NPOS)
		return false;
	struct str name = str_trim(str_sub(line, 0, colon));
	for (size_t i = 0; i < name.n; i++) {
		if (!is_name((unsigned char)name.p[i]))
			return false;
	}
	return name_valid(name) && read_field(in, name, str_trim(str_from(line, colon + 1)));
}

bool mta_sts_policy_parse(struct arena *a, struct str text, struct mta_sts_policy *out, struct err *err)
{
	struct reading in = {.a = a, .policy = out};
	*out = (struct mta_sts_policy){0};
	if (text.n > MTA_STS_POLICY_MAX)
		return err_set(err, ERR_LIMIT, "the MTA-STS policy is longer than %d octets",
			       MTA_STS_POLICY_MAX);
	for (struct str rest = text; rest.p && rest.n > 0;) {
		struct str line = str_cut(&rest, '\n');
		if (str_ends(line, STR("\r")))
			line.n--;
		if (!read_line(&in, line))
			FAIL("a malformed line in the MTA-STS policy: \"%.*s\"",
			     (int)(line.n < 60 ? line.n : 60), line.p);
	}
	if (!in.version || !in.mode || !in.max_age)
		FAIL("the MTA-STS policy lacks its %s", !in.version ? "version"
							: !in.mode  ? "mode"
								    : "max_age");
	if (out->mode != MTA_STS_NONE && out->mx_n == 0)
		FAIL("the MTA-STS policy names no MX host");
	return true;
}

bool mta_sts_policy_has(const struct mta_sts_policy *p, struct str host)
{
	if (str_ends(host, STR(".")))
		host.n--;
	size_t dot = str_find_byte(host, '.');
	struct str parent = dot == STR_NPOS || dot == 0 ? STR("") : str_from(host, dot);
	for (size_t i = 0; i < p->mx_n; i++) {
		bool wild = p->mx[i].p[0] == '*';
		if (wild ? parent.n > 0 && str_eq_nocase(str_from(p->mx[i], 1), parent)
			 : str_eq_nocase(p->mx[i], host))
			return true;
	}
	return false;
}
