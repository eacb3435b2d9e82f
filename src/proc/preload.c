/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/preload.c: things that read files late, read early (PROCESSES C4): single-threaded, before
 * the sandbox. */
#include "crypto/tls.h"
#include "mime/charset.h"
#include "proc/role_int.h"
#include "sql/sql.h"
#include <stdlib.h>
#include <time.h>

bool preload(unsigned what, struct err *err)
{
	(void)err;
	setenv("TZ", ":/etc/localtime", 1);
	tzset();
	if (what & PRELOAD_TLS)
		tls_init();
	if (what & PRELOAD_SQLITE)
		sql_process_init();
	if (what & PRELOAD_CHARSETS)
		charset_preload();
	return true;
}
