/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/testing.h"
#include "policy/https.h"

static const struct {
	const char *name, *bytes;
	bool good, more, whole;
	unsigned status;
	const char *type, *body;
} cases[] = {
	{"whole",
	 "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nabcd",
	 true, false, true, 200, "text/plain", "abc"},
	{"until the end", "HTTP/1.0 200\r\nX: y\r\n\r\nab", true, false, false, 200, "", "ab"},
	{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", true, true, false, 0, "", ""},
	{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true, false, false, 200, "",
	 "ab"},
	{"moved", "HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", true, false, false, 301, "", ""},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false,
	 false, false, 0, "", ""},
	{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false,
	 false, false, 0, "", ""},
	{"not HTTP", "220 mx.example ESMTP\r\n\r\n", false, false, false, 0, "", ""},
	{"no colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", false, false, false, 0, "", ""},
	{"no such status", "HTTP/1.1 2000 OK\r\n\r\n", false, false, false, 0, "", ""},
};

static void replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_reply r = {0};
		bool more = false, good = http_reply_parse(str_of(cases[i].bytes), &r, &more);
		if (good != cases[i].good || (good && more != cases[i].more))
			fail_msg("%s", cases[i].name);
		if (!good || more)
			continue;
		assert_int_equal(r.status, cases[i].status);
		assert_int_equal(r.whole, cases[i].whole);
		assert_str(cases[i].name, r.type, str_of(cases[i].type));
		assert_str(cases[i].name, r.body, str_of(cases[i].body));
	}
}

static void urls(void **state)
{
	static const struct {
		const char *url, *host, *path;
		uint16_t port; /* 0: refused */
	} each[] = {
		{"https://hooks.example/a?b=c", "hooks.example", "/a?b=c", 443},
		{"HTTPS://hooks.example:8443", "hooks.example", "/", 8443},
		{"http://hooks.example/", "", "", 0}, {"https:///x", "", "", 0}, {"https://a:0/", "", "", 0},
		{"https://u@a/", "", "", 0}, {"https://[::1]/", "", "", 0}, {"https://a/b c", "", "", 0},
		{"https://a:x/", "", "", 0}, {"", "", "", 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
		struct https_url u = {.port = 0};
		bool good = https_url_parse(str_of(each[i].url), &u);
		if (good != (each[i].port != 0))
			fail_msg("%s", each[i].url);
		if (!good)
			continue;
		assert_str(each[i].url, u.host, str_of(each[i].host));
		assert_str(each[i].url, u.path, str_of(each[i].path));
		assert_int_equal(each[i].port, u.port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(replies), cmocka_unit_test(urls)};
	return RUN_TESTS(tests);
}
