/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/mem.h: the heap, for what is no arena's and no buf's. Exhaustion ends the process (STYLE 5),
 * so none of these returns NULL. Free with free().
 */
#pragma once
#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t size) __attribute__((returns_nonnull));
/* n * size bytes; overflow ends the process. */
void *mem_resize_array(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))
char *mem_cstr(const char *s) __attribute__((malloc, returns_nonnull)); /* a copy */
void mem_exhausted(void) __attribute__((noreturn, cold));
