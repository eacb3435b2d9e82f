/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* A segment as an enemy wrote it: queue reads smtp's journals. The first bytes make a valid header,
 * so that the fuzzer gets past it; records have their CRCs put right where they look like records. */
#include "base/crc32c.h"
#include "base/file.h"
#include "journal/journal_int.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FD_SCOPED fd = memfd_create("segment", MFD_CLOEXEC);
	char block[SEGMENT_BLOCK];
	segment_header_encode(&(struct segment_header){7, 1, 1}, block);
	if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block)
		return 0;
	for (size_t at = 0; size - at >= 4;) { /* each piece: type, flags, length of content, seq */
		uint32_t length = data[at + 2];
		if (length > size - at - 4)
			length = (uint32_t)(size - at - 4);
		char head[RECORD_HEAD];
		record_head_encode(head, 7, data[at + 3], (enum journal_type)(data[at] & 0x7f),
				   data[at + 1], data[at] & 0x80 ? 0 : crc32c(0, data + at + 4, length),
				   length);
		if (write(fd, head, sizeof head) < 0 || write(fd, data + at + 4, length) < 0)
			return 0;
		at += 4 + length;
	}
	struct err err = {0};
	struct segment_walk w;
	struct stat st;
	if (fstat(fd, &st) == 0 && segment_walk_begin(&w, fd, (uint64_t)st.st_size, &err)) {
		struct journal_record r;
		struct void_ranges voids = {0};
		while (segment_walk_next(&w, false, &r, &err)) {
			uint64_t p;
			struct str extra;
			void_ranges_add(&voids, r.content);
			checkpoint_decode(r.content, &p, &extra);
		}
		void_ranges_free(&voids);
		segment_walk_end(&w);
	}
	return 0;
}
