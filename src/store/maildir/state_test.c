/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/state.h"
#include "base/file.h"
#include "base/testing.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make_dir(char *path)
{
	strcpy(path, "/tmp/pabal-state-XXXXXX");
	assert_non_null(mkdtemp(path));
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void test_slots(void **state)
{
	char path[64];
	FD_SCOPED dir = make_dir(path);
	struct state s = {.mailbox_id = "0123456789abcdef",
			  .uidvalidity = 5,
			  .uidnext = 9,
			  .ceiling = 4096,
			  .promise = 4097,
			  .modseq = UINT64_MAX,
			  .epoch = 3,
			  .index = 7,
			  .cur_ns = -1,
			  .new_ns = 4,
			  .marked = true,
			  .use = 3,
			  .keywords_n = 26,
			  .last_uidvalidity = 77},
		     r;
	struct err err;

	assert_false(state_read(dir, &r, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_true(state_create(dir, &s, &err));
	assert_true(state_read(dir, &r, &err));
	assert_memory_equal(&r.mailbox_id, &s.mailbox_id, MAILBOX_ID_LEN);
	assert_int_equal(r.uidnext, 9);
	assert_true(r.modseq == UINT64_MAX && r.cur_ns == -1 && r.marked && r.use == 3 &&
		    r.keywords_n == 26);
	assert_int_equal(r.last_uidvalidity, 77);

	/* Every torn write of the newer slot leaves the older one. */
	FD_SCOPED fd = openat(dir, STATE_FILE, O_RDWR);
	for (int i = 10; i < 20; i++) {
		s.uidnext = (uint32_t)i;
		assert_true(state_write(fd, &s, &err));
		assert_true(state_read_fd(fd, &r, &err));
		assert_int_equal(r.uidnext, i);

		unsigned char byte, torn;
		off_t at = (s.slot % 2 ? STATE_SLOT : 0) + i * 3;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		torn = byte ^ 1;
		assert_int_equal(pwrite(fd, &torn, 1, at), 1);
		assert_true(state_read_fd(fd, &r, &err));
		assert_int_equal(r.uidnext, i - 1);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(state_read_fd(fd, &r, &err));
	assert_int_equal(err.kind, ERR_CORRUPT);
	assert_int_equal(unlinkat(dir, STATE_FILE, 0), 0);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_slots)};
	return RUN_TESTS(tests);
}
