/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mime/envelope.h"
#include "base/arena.h"
#include "base/scan.h"
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

/* Reads one value of IMAP wire text into the form that expected.json has: octets as Latin-1, atoms
 * and numbers as strings, NIL as null. NULL: not well-formed. */
static json_t *wire_value(struct scan *s);

static json_t *latin1(struct str s)
{
	BUF_SCOPED b = {0};
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x80) {
			buf_byte(&b, (char)c);
		} else {
			buf_byte(&b, (char)(0xc0 | c >> 6));
			buf_byte(&b, (char)(0x80 | (c & 63)));
		}
	}
	return json_stringn(b.p ? b.p : "", b.n);
}

static json_t *wire_list(struct scan *s)
{
	json_t *list = json_array();
	while (!scan_byte(s, ')')) {
		scan_byte(s, ' ');
		json_t *v = wire_value(s);
		if (!v) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, v);
	}
	return list;
}

static json_t *wire_value(struct scan *s)
{
	uint32_t n;
	struct str v;
	BUF_SCOPED b = {0};
	if (scan_byte(s, '(')) return wire_list(s);
	if (scan_lit(s, STR("NIL"))) return json_null();
	if (scan_byte(s, '{')) {
		if (!scan_u32(s, 1u << 30, &n) || !scan_lit(s, STR("}\r\n")) || !scan_take(s, n, &v))
			return NULL;
		return str_has_byte(v, 0) ? NULL : latin1(v);
	}
	if (scan_byte(s, '"')) {
		while (!scan_byte(s, '"')) {
			if (scan_end(s)) return NULL;
			scan_byte(s, '\\');
			unsigned char c = (unsigned char)*s->p++;
			if (c < 32 && c != '\t' && c != 27 && c != 7) return NULL;
			buf_byte(&b, (char)c);
		}
		return latin1(buf_str(&b));
	}
	v = scan_while_class(s, ASCII_DIGIT);
	return v.n > 0 ? latin1(v) : NULL;
}

static json_t *wire_json(struct str wire)
{
	struct scan s = scan_of(wire);
	json_t *v = wire_value(&s);
	if (v && scan_end(&s)) return v;
	json_decref(v);
	return NULL;
}

static const char *data_dir(void)
{
	const char *dir = getenv("PABAL_TESTDATA");
	return dir ? dir : "../shared/testdata";
}

static void read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) fail_msg("%s", path);
	for (;;) {
		char *p = buf_room(out, 1 << 16);
		ssize_t n = read(fd, p, 1 << 16);
		if (n <= 0) break;
		out->n += (size_t)n;
	}
	close(fd);
}

static bool compare(const char *file, const char *what, struct str wire, json_t *wanted)
{
	json_t *got = wire_json(wire);
	if (!got) fail_msg("%s: %s is not well-formed: %.*s", file, what, STR_ARG(wire));
	bool same = json_equal(got, wanted);
	if (!same && getenv("PABAL_SHOW_DIFFERENCES")) {
		char *g = json_dumps(got, JSON_ENSURE_ASCII), *w = json_dumps(wanted, JSON_ENSURE_ASCII);
		printf("--- %s %s\n got    %s\n wanted %s\n", file, what, g, w);
		free(g);
		free(w);
	}
	json_decref(got);
	return same;
}

/* Dovecot's reading of 313 messages. What differs is listed in docs/deviations.md with its reason. */
static void dovecot_test(void **state)
{
	char path[4096];
	json_error_t error;
	snprintf(path, sizeof path, "%s/mime/expected.json", data_dir());
	json_t *all = json_load_file(path, 0, &error);
	if (!all) {
		printf("SKIPPED: 313 messages of %s are not here\n", path);
		skip();
	}
	const char *file;
	json_t *wanted;
	int n = 0, envelopes = 0, structures = 0, messages = 0;
	json_object_foreach(all, file, wanted) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED in = {0}, env = {0}, body = {0};
		snprintf(path, sizeof path, "%s/mime/eml/%s", data_dir(), file);
		read_file(path, &in);
		struct mime_message *m = mime_parse(a, buf_str(&in));
		mime_render_envelope(&env, mime_part_header(m, m->root));
		mime_render_bodystructure(&body, m);
		bool same_env = compare(file, "ENVELOPE", buf_str(&env), json_object_get(wanted, "envelope"));
		bool same_body = compare(file, "BODYSTRUCTURE", buf_str(&body),
					 json_object_get(wanted, "bodystructure"));
		envelopes += same_env;
		structures += same_body;
		messages += same_env && same_body;
		n++;
	}
	printf("as Dovecot: %d of %d messages (%d ENVELOPEs, %d BODYSTRUCTUREs)\n", messages, n, envelopes,
	       structures);
	/* Nineteen of twenty, so that a slip is noticed; which ones differ is for people to judge. */
	assert_true(envelopes * 20 >= n * 19 && structures * 20 >= n * 19);
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(dovecot_test)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
