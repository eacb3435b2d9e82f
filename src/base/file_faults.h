/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/file_faults.h: inside base/: what test builds ask before each file operation.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* The names by which PABAL_FAULT restricts a rule: FILE_OP(enumerator, name, changes the disk) */
#define FILE_OPS                                                                              \
	FILE_OP(OPEN, "open", false)                                                          \
	FILE_OP(CREATE, "create", true)                                                       \
	FILE_OP(WRITE, "write", true)                                                         \
	FILE_OP(FSYNC, "fsync", true)                                                         \
	FILE_OP(SYNCFS, "syncfs", true)                                                       \
	FILE_OP(RENAME, "rename", true)                                                       \
	FILE_OP(LINK, "link", true)                                                           \
	FILE_OP(UNLINK, "unlink", true)                                                       \
	FILE_OP(MKDIR, "mkdir", true)                                                         \
	FILE_OP(TRUNCATE, "truncate", true)                                                   \
	FILE_OP(FALLOCATE, "fallocate", true)

enum file_op {
#define FILE_OP(enumerator, name, changes) FILE_OP_##enumerator,
	FILE_OPS
#undef FILE_OP
	FILE_OP_COUNT
};

#ifdef PABAL_FAULTS
bool file_fault(enum file_op op); /* true: errno is set, the operation fails */
#define FILE_FAULT(op) file_fault(op)
#else
#define FILE_FAULT(op) ((void)(op), false)
#endif
