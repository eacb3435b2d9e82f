/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "crypto/hash.h"
#include "base/buf.h"
#include "base/codec.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void check_hex(const unsigned char *got, size_t n, const char *want)
{
	BUF_SCOPED hex = {0};
	hex_encode(&hex, (struct str){(const char *)got, n});
	assert_int_equal(hex.n, strlen(want));
	assert_memory_equal(hex.p, want, hex.n);
}

/* RFC 1321 A.5, RFC 6234 8.5 / FIPS 180 examples */
static const struct {
	enum hash_kind kind;
	const char *in, *want;
} digests[] = {
	{HASH_MD5, "", "d41d8cd98f00b204e9800998ecf8427e"},
	{HASH_MD5, "abc", "900150983cd24fb0d6963f7d28e17f72"},
	{HASH_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
	{HASH_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{HASH_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{HASH_SHA384, "abc",
	 "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
	 "8086072ba1e7cc2358baeca134c825a7"},
	{HASH_SHA512, "abc",
	 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
};

static void test_digests(void **state)
{
	for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
		unsigned char out[HASH_SIZE_MAX];
		size_t size = hash_size(digests[i].kind);
		hash_once(digests[i].kind, str_of(digests[i].in), out);
		check_hex(out, size, digests[i].want);

		struct hash *h = hash_new(digests[i].kind), *d;
		hash_add(h, STR("thrown away"));
		hash_reset(h);
		hash_add(h, str_sub(str_of(digests[i].in), 0, 1));
		d = hash_dup(h);
		hash_add(h, str_from(str_of(digests[i].in), 1));
		hash_end(h, out);
		check_hex(out, size, digests[i].want);
		hash_add(d, str_from(str_of(digests[i].in), 1));
		hash_end(d, out);
		check_hex(out, size, digests[i].want);
		hash_free(h);
		hash_free(d);
	}
	hash_free(NULL);
	hmac_free(NULL);
}

/* RFC 2202 2 and 3 (case 2), RFC 4231 4.3 */
static const struct {
	enum hash_kind kind;
	const char *want;
} macs[] = {
	{HASH_MD5, "750c783e6ab0b503eaa86e310a5db738"},
	{HASH_SHA1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
	{HASH_SHA256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{HASH_SHA512, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
		      "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
};

static void test_hmac(void **state)
{
	struct str key = STR("Jefe"), text = STR("what do ya want for nothing?");
	for (size_t i = 0; i < sizeof macs / sizeof *macs; i++) {
		unsigned char out[HASH_SIZE_MAX];
		hmac(macs[i].kind, key, text, out);
		check_hex(out, hash_size(macs[i].kind), macs[i].want);
		struct hmac *h = hmac_new(macs[i].kind, key);
		hmac_add(h, str_sub(text, 0, 5));
		hmac_add(h, str_from(text, 5));
		hmac_end(h, out);
		hmac_free(h);
		check_hex(out, hash_size(macs[i].kind), macs[i].want);
	}
	/* an empty key is one of zeros */
	unsigned char a[32], b[32];
	hmac(HASH_SHA256, STR_NONE, text, a);
	hmac(HASH_SHA256, (struct str){"\0\0", 2}, text, b);
	assert_memory_equal(a, b, 32);
}

/* RFC 6070 2; RFC 7914 11 */
static void test_pbkdf2(void **state)
{
	unsigned char out[64];
	pbkdf2(HASH_SHA1, STR("password"), STR("salt"), 4096, out, 20);
	check_hex(out, 20, "4b007901b765489abead49d926f721d065a429c1");
	pbkdf2(HASH_SHA1, STR("passwordPASSWORDpassword"), STR("saltSALTsaltSALTsaltSALTsaltSALTsalt"),
	       4096, out, 25);
	check_hex(out, 25, "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038");
	pbkdf2(HASH_SHA256, STR("passwd"), STR("salt"), 1, out, 64);
	check_hex(out, 64,
		  "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
		  "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_pbkdf2),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
