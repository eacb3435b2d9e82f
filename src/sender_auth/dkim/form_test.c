/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* What the signer makes is a form; whatever else a key could be misused for is none. */
#include "sender_auth/suite_testing.h"
#include "base/mem.h"
#include "sender_auth/dkim/form.h"
#include "sender_auth/dkim/sign.h"

enum { NOW = 1790000000 };

#define TAGS "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=p1; t=1790000000; "
#define BH "bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b="
#define FROM "from:A <a@example.com>\r\n"

static bool is_form(const char *text, struct dkim_form *form)
{
	ARENA_SCOPED a = arena_new();
	struct err err = {0};
	bool good = dkim_form_check(a, str_of(text), NOW, form, &err);
	assert_int_equal(err.kind, good ? ERR_NONE : ERR_DENIED);
	return good;
}

static void form_test(void **state)
{
	static const struct {
		const char *name, *text;
		bool good;
	} cases[] = {
		{"least", FROM "dkim-signature:" TAGS "h=From; " BH, true},
		{"all tags",
		 FROM "dkim-signature:v=1; a=ed25519-sha256; c=relaxed/simple; d=example.com; s=p1; "
		      "i=a@sub.example.com; t=1790000100; x=1790000200; h=From:From:To; " BH,
		 true},
		{"absent names",
		 "subject:\r\n" FROM "dkim-signature:" TAGS "h=To:Subject:Subject:From:Cc; " BH, true},
		{"folded h=", FROM "to:b\r\ndkim-signature:" TAGS "h=From: To; " BH, true},
		{"nothing", "", false},
		{"a word", "hello", false},
		{"TLS 1.3",
		 "                                                                "
		 "TLS 1.3, server CertificateVerify",
		 false},
		{"no signature field", FROM, false},
		{"another last field", FROM "subject:x; b=", false},
		{"CRLF at the end", FROM "dkim-signature:" TAGS "h=From; " BH "\r\n", false},
		{"a signature is there", FROM "dkim-signature:" TAGS "h=From; " BH "YQ==", false},
		{"behind b=", FROM "dkim-signature:" TAGS "h=From; " BH "; d=example.net", false},
		{"simple header",
		 FROM "dkim-signature:v=1; a=rsa-sha256; c=simple/relaxed; d=example.com; s=p1; "
		      "t=1790000000; h=From; " BH,
		 false},
		{"no c=",
		 FROM "dkim-signature:v=1; a=rsa-sha256; d=example.com; s=p1; t=1790000000; h=From; " BH,
		 false},
		{"rsa-sha1",
		 FROM "dkim-signature:v=1; a=rsa-sha1; c=relaxed/relaxed; d=example.com; s=p1; "
		      "t=1790000000; h=From; " BH,
		 false},
		{"d= twice", FROM "dkim-signature:" TAGS "d=example.net; h=From; " BH, false},
		{"l=", FROM "dkim-signature:" TAGS "l=0; h=From; " BH, false},
		{"z=", FROM "dkim-signature:" TAGS "z=x; h=From; " BH, false},
		{"i= elsewhere", FROM "dkim-signature:" TAGS "i=@example.net; h=From; " BH, false},
		{"i= that only ends alike", FROM "dkim-signature:" TAGS "i=@badexample.com; h=From; " BH,
		 false},
		{"upper case d=",
		 FROM "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=Example.com; s=p1; "
		      "t=1790000000; h=From; " BH,
		 false},
		{"no t=",
		 FROM
		 "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=p1; h=From; " BH,
		 false},
		{"for later",
		 FROM "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=p1; "
		      "t=1790000601; h=From; " BH,
		 false},
		{"of long ago",
		 FROM "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=p1; "
		      "t=1789999399; h=From; " BH,
		 false},
		{"x= before t=", FROM "dkim-signature:" TAGS "x=1790000000; h=From; " BH, false},
		{"short bh=", FROM "dkim-signature:" TAGS "h=From; bh=YQ==; b=", false},
		{"no h=", FROM "dkim-signature:" TAGS BH, false},
		{"From not there", "to:b\r\ndkim-signature:" TAGS "h=From:To; " BH, false},
		{"a field too many", FROM "to:b\r\ndkim-signature:" TAGS "h=From; " BH, false},
		{"another order", "to:b\r\n" FROM "dkim-signature:" TAGS "h=From:To; " BH, false},
		{"not canonical: blank", "from: a@example.com\r\ndkim-signature:" TAGS "h=From; " BH,
		 false},
		{"not canonical: blanks", "from:A  <a@b>\r\ndkim-signature:" TAGS "h=From; " BH, false},
		{"not canonical: case", "From:a@b\r\ndkim-signature:" TAGS "h=From; " BH, false},
		{"not canonical: fold", "from:a\r\n\tb\r\ndkim-signature:" TAGS "h=From; " BH, false},
		{"not canonical: LF", "from:a\nto:b\r\ndkim-signature:" TAGS "h=From:To; " BH, false},
		{"an empty line", FROM "\r\ndkim-signature:" TAGS "h=From; " BH, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dkim_form form;
		assert_case(cases[i].name, is_form(cases[i].text, &form) == cases[i].good);
		if (cases[i].good)
			assert_case(cases[i].name, str_eq(form.domain, STR("example.com")) &&
						   str_eq(form.selector, STR("p1")) && form.from_n == 1);
	}
}

static void limits_test(void **state)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED text = {0};
	struct dkim_form form;
	struct err err = {0};
	(void)state;
	buf_add(&text, STR(FROM "subject:"));
	while (text.n < DKIM_FORM_MAX - 300)
		buf_byte(&text, 'x');
	buf_add(&text, STR("\r\ndkim-signature:" TAGS "h=From:Subject; " BH));
	assert_true(dkim_form_check(a, buf_str(&text), NOW, &form, &err));
	buf_clear(&text);
	buf_add(&text, STR(FROM "subject:"));
	while (text.n < DKIM_FORM_MAX)
		buf_byte(&text, 'x');
	buf_add(&text, STR("\r\ndkim-signature:" TAGS "h=From:Subject; " BH));
	assert_false(dkim_form_check(a, buf_str(&text), NOW, &form, &err));
	buf_clear(&text);
	buf_add(&text, STR(FROM "dkim-signature:" TAGS "h=From"));
	for (int i = 0; i < DKIM_HEADER_NAMES_MAX; i++)
		buf_add(&text, STR(":x"));
	buf_add(&text, STR("; " BH));
	assert_false(dkim_form_check(a, buf_str(&text), NOW, &form, &err));
}

static bool check_and_fake(void *context, enum dkim_algorithm algorithm, struct str text, struct buf *sig,
			   struct err *err)
{
	ARENA_SCOPED a = arena_new();
	struct dkim_form form;
	size_t *calls = context;
	++*calls;
	buf_add(sig, STR("signature"));
	return dkim_form_check(a, text, NOW, &form, err) && form.algorithm == algorithm;
}

/* Whatever the signer makes of a message is a form. */
static void signer_test(void **state)
{
	static const char *const headers[] = {
		"From: a@example.com\r\n\r\n",
		"FROM : A <a@example.com>,\r\n\t B <b@example.com>\r\nTo: x\r\nTo: y\r\nSubject:\r\n "
		"\r\n\tz\r\n\r\n",
		"Received: x\r\nfrom:\ta@example.com\t \r\nSubject: =?utf-8?B?7ZWc?=  x\r\nMIME-Version: "
		"1.0\r\n"
		"List-Unsubscribe: <mailto:x@y>,\r\n <https://z>\r\nDKIM-Signature: v=1; "
		"d=other.example; b=x\r\n\r\n",
		"From: \xea\xb0\x80@example.com\r\nSubject: \xed\x95\x9c\r\n\r\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED out = {0};
		struct err err = {0};
		size_t calls = 0;
		struct dkim_signer signers[] = {
			{.domain = STR("example.com"),
			 .selector = STR("p1"),
			 .identity = STR("a;b=c@example.com"),
			 .algorithm = DKIM_RSA_SHA256,
			 .header_canon = DKIM_RELAXED,
			 .body_canon = DKIM_RELAXED,
			 .time = NOW,
			 .lifetime_s = 60,
			 .sign = check_and_fake,
			 .context = &calls},
			{.domain = STR("example.com"),
			 .selector = STR("p1.x_y"),
			 .oversign = STR("-"),
			 .algorithm = DKIM_ED25519_SHA256,
			 .header_canon = DKIM_RELAXED,
			 .body_canon = DKIM_SIMPLE,
			 .time = NOW,
			 .sign = check_and_fake,
			 .context = &calls},
		};
		struct dkim_sign *s = dkim_sign_new(a, signers, 2);
		bool good = dkim_sign_end(s, str_of(headers[i]), &out, &err);
		assert_case(headers[i], good && calls == 2);
		dkim_sign_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(form_test), cmocka_unit_test(limits_test), cmocka_unit_test(signer_test),
	};
	return cmocka_run_group_tests_name("sender_auth/dkim/form", tests, NULL, NULL);
}
