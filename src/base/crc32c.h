/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/crc32c.h: CRC-32C (Castagnoli), hardware where the processor has it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* crc is 0 at first, or the result for the bytes before. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the instruction; for its test. */
uint32_t crc32c_tables(uint32_t crc, const void *p, size_t n);
