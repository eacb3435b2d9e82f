/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/crc32c.c: eight bytes a step, by the processor's instruction (SSE 4.2, ARMv8 CRC) or by
 * eight tables ("slicing by 8").
 *
 * The CRC is linear: an entry is the xor of the entries of its bits. So the tables are written
 * down by their eight powers of two and spread out by the preprocessor.
 */
#include "base/crc32c.h"
#include <endian.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#define BIT(i, b, v) (((i) >> (b) & 1) ? UINT32_C(v) : 0)
#define T1(row, i) row(i),
#define T4(row, i) T1(row, i) T1(row, (i) + 1) T1(row, (i) + 2) T1(row, (i) + 3)
#define T16(row, i) T4(row, i) T4(row, (i) + 4) T4(row, (i) + 8) T4(row, (i) + 12)
#define T64(row, i) T16(row, i) T16(row, (i) + 16) T16(row, (i) + 32) T16(row, (i) + 48)
#define T256(row) T64(row, 0) T64(row, 64) T64(row, 128) T64(row, 192)

#define ROW0(i) (uint32_t)(BIT(i, 0, 0xf26b8303) ^ BIT(i, 1, 0xe13b70f7) ^ BIT(i, 2, 0xc79a971f) ^ \
			    BIT(i, 3, 0x8ad958cf) ^ BIT(i, 4, 0x105ec76f) ^ BIT(i, 5, 0x20bd8ede) ^ \
			    BIT(i, 6, 0x417b1dbc) ^ BIT(i, 7, 0x82f63b78))
#define ROW1(i) (uint32_t)(BIT(i, 0, 0x13a29877) ^ BIT(i, 1, 0x274530ee) ^ BIT(i, 2, 0x4e8a61dc) ^ \
			    BIT(i, 3, 0x9d14c3b8) ^ BIT(i, 4, 0x3fc5f181) ^ BIT(i, 5, 0x7f8be302) ^ \
			    BIT(i, 6, 0xff17c604) ^ BIT(i, 7, 0xfbc3faf9))
#define ROW2(i) (uint32_t)(BIT(i, 0, 0xa541927e) ^ BIT(i, 1, 0x4f6f520d) ^ BIT(i, 2, 0x9edea41a) ^ \
			    BIT(i, 3, 0x38513ec5) ^ BIT(i, 4, 0x70a27d8a) ^ BIT(i, 5, 0xe144fb14) ^ \
			    BIT(i, 6, 0xc76580d9) ^ BIT(i, 7, 0x8b277743))
#define ROW3(i) (uint32_t)(BIT(i, 0, 0xdd45aab8) ^ BIT(i, 1, 0xbf672381) ^ BIT(i, 2, 0x7b2231f3) ^ \
			    BIT(i, 3, 0xf64463e6) ^ BIT(i, 4, 0xe964b13d) ^ BIT(i, 5, 0xd725148b) ^ \
			    BIT(i, 6, 0xaba65fe7) ^ BIT(i, 7, 0x52a0c93f))
#define ROW4(i) (uint32_t)(BIT(i, 0, 0x38116fac) ^ BIT(i, 1, 0x7022df58) ^ BIT(i, 2, 0xe045beb0) ^ \
			    BIT(i, 3, 0xc5670b91) ^ BIT(i, 4, 0x8f2261d3) ^ BIT(i, 5, 0x1ba8b557) ^ \
			    BIT(i, 6, 0x37516aae) ^ BIT(i, 7, 0x6ea2d55c))
#define ROW5(i) (uint32_t)(BIT(i, 0, 0xef306b19) ^ BIT(i, 1, 0xdb8ca0c3) ^ BIT(i, 2, 0xb2f53777) ^ \
			    BIT(i, 3, 0x6006181f) ^ BIT(i, 4, 0xc00c303e) ^ BIT(i, 5, 0x85f4168d) ^ \
			    BIT(i, 6, 0x0e045beb) ^ BIT(i, 7, 0x1c08b7d6))
#define ROW6(i) (uint32_t)(BIT(i, 0, 0x68032cc8) ^ BIT(i, 1, 0xd0065990) ^ BIT(i, 2, 0xa5e0c5d1) ^ \
			    BIT(i, 3, 0x4e2dfd53) ^ BIT(i, 4, 0x9c5bfaa6) ^ BIT(i, 5, 0x3d5b83bd) ^ \
			    BIT(i, 6, 0x7ab7077a) ^ BIT(i, 7, 0xf56e0ef4))
#define ROW7(i) (uint32_t)(BIT(i, 0, 0x493c7d27) ^ BIT(i, 1, 0x9278fa4e) ^ BIT(i, 2, 0x211d826d) ^ \
			    BIT(i, 3, 0x423b04da) ^ BIT(i, 4, 0x847609b4) ^ BIT(i, 5, 0x0d006599) ^ \
			    BIT(i, 6, 0x1a00cb32) ^ BIT(i, 7, 0x34019664))

static const uint32_t tables[8][256] = {
	{T256(ROW0)}, {T256(ROW1)}, {T256(ROW2)}, {T256(ROW3)},
	{T256(ROW4)}, {T256(ROW5)}, {T256(ROW6)}, {T256(ROW7)},
};

static inline uint64_t load8(const unsigned char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

uint32_t crc32c_tables(uint32_t crc, const void *data, size_t n)
{
	const unsigned char *p = data;

	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w = le64toh(load8(p)) ^ crc;
		crc = tables[7][w & 255] ^ tables[6][w >> 8 & 255] ^
		      tables[5][w >> 16 & 255] ^ tables[4][w >> 24 & 255] ^
		      tables[3][w >> 32 & 255] ^ tables[2][w >> 40 & 255] ^
		      tables[1][w >> 48 & 255] ^ tables[0][w >> 56];
	}
	for (; n; n--)
		crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 255];
	return ~crc;
}

#if defined(__x86_64__)

static bool have_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2")))
static uint32_t by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t wide = ~crc;

	for (; n >= 8; n -= 8, p += 8)
		wide = _mm_crc32_u64(wide, load8(p));
	crc = (uint32_t)wide;
	for (; n; n--)
		crc = _mm_crc32_u8(crc, *p++);
	return ~crc;
}

#elif defined(__aarch64__)

static bool have_instruction(void)
{
	return getauxval(AT_HWCAP) & 1 << 7; /* HWCAP_CRC32 */
}

__attribute__((target("+crc")))
static uint32_t by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8)
		crc = __crc32cd(crc, load8(p));
	for (; n; n--)
		crc = __crc32cb(crc, *p++);
	return ~crc;
}

#else

static bool have_instruction(void)
{
	return false;
}

static uint32_t by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	return crc32c_tables(crc, p, n);
}

#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	return have_instruction() ? by_instruction(crc, p, n) : crc32c_tables(crc, p, n);
}
