/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* base/clock.c: the wall clock plus a shift that only tests set. */
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t test_shift_us;

static int64_t now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME) + atomic_load_explicit(&test_shift_us, memory_order_relaxed);
}

int64_t clock_wall_s(void)
{
	return clock_wall_us() / 1000000;
}

int64_t clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

void clock_test_shift(int64_t us)
{
	atomic_fetch_add_explicit(&test_shift_us, us, memory_order_relaxed);
}
