/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/clock.h: time. Tests replace the wall clock (clock_test_set) to reach time-outs and to
 * set the clock back; durations use the monotonic clock.
 */
#pragma once
#include <stdint.h>

int64_t clock_wall_us(void); /* microseconds since 1970, UTC */
int64_t clock_wall_s(void);
int64_t clock_mono_us(void);
int64_t clock_mono_ms(void);
/* Added to the wall clock from now on; for tests. */
void clock_test_shift(int64_t us);
