/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/listing.h: the names in a directory, and whether they can be trusted (DURABILITY
 * trap 12): while another program renames, readdir() may show a file under both names or none.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct listing {
	struct str *name; /* NUL-terminated; without those that begin with '.' unless asked for */
	size_t n, cap;
	int64_t mtime_ns; /* before the reading */
	bool same;        /* mtime was the same after it */
	bool still;       /* and stood still, long enough for its clock: what is absent is missing */
};

/* A missing directory is empty and still. Names come from the arena. */
bool listing_read(int dirfd, const char *sub, bool dots, struct arena *a, struct listing *out,
		  struct err *err) MUST_CHECK;
/* mtime alone; 0: no such directory. */
int64_t dir_mtime_ns(int dirfd, const char *sub);
