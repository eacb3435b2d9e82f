/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "config/template.h"

static bool variable(char name, struct str user, struct str home, struct str *out)
{
	size_t at = str_find_byte(user, '@');
	switch (name) {
	case 'u':
	case 's':
		*out = user;
		return true;
	case 'n':
		*out = str_sub(user, 0, at == STR_NPOS ? user.n : at);
		return true;
	case 'd':
		*out = at == STR_NPOS ? STR("") : str_from(user, at + 1);
		return true;
	case 'h':
		*out = home;
		return true;
	case '%':
		*out = STR("%");
		return true;
	default:
		return false;
	}
}

static bool expand(struct str template, struct str user, struct str home, bool path, struct buf *out,
		   struct err *err)
{
	for (size_t i = 0; i < template.n; i++) {
		struct str value;
		if (template.p[i] != '%') {
			buf_byte(out, template.p[i]);
			continue;
		}
		if (++i == template.n || !variable(template.p[i], user, home, &value))
			return err_set(err, ERR_SYNTAX, "variables are %%u %%n %%d %%h %%s %%%%");
		if (path && (str_has_byte(value, '/') || str_has_byte(value, '\0')))
			return err_set(err, ERR_SYNTAX, "the name cannot be a directory");
		buf_add(out, value);
	}
	return true;
}

bool template_expand(struct str template, struct str user, struct str home, struct buf *out, struct err *err)
{
	return expand(template, user, home, false, out, err);
}

bool template_expand_path(struct str template, struct str user, struct buf *out, struct err *err)
{
	size_t start = out->n;
	if (!expand(template, user, STR(""), true, out, err))
		return false;
	struct str rest = str_from(buf_str(out), start);
	if (rest.n == 0)
		return err_set(err, ERR_SYNTAX, "the path is empty");
	while (rest.p) {
		struct str part = str_cut(&rest, '/');
		if (part.n == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
			return err_set(err, ERR_SYNTAX, "the name cannot be a directory");
	}
	return true;
}
