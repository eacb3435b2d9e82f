/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/scan.h"
#include "proc/role_int.h"
#include <unistd.h>

/* "Pss:        1234 kB" */
static bool number(struct str line, struct str name, uint64_t *out)
{
	struct scan s = scan_of(line);

	if (!scan_lit(&s, name))
		return false;
	scan_blanks(&s);
	return scan_u64(&s, UINT64_MAX, out);
}

bool memory_use(int smaps_fd, struct memory_use *out)
{
	char text[4096];
	ssize_t n = smaps_fd < 0 ? -1 : pread(smaps_fd, text, sizeof(text), 0);
	struct memory_use use = {0};
	uint64_t clean = 0, dirty = 0;

	if (n <= 0)
		return false;
	for (struct str rest = {text, (size_t)n}; rest.p;) {
		struct str line = str_cut(&rest, '\n');
		(void)(number(line, STR("Pss:"), &use.pss_kib) ||
		       number(line, STR("Rss:"), &use.rss_kib) ||
		       number(line, STR("Private_Clean:"), &clean) ||
		       number(line, STR("Private_Dirty:"), &dirty));
	}
	use.private_kib = clean + dirty;
	*out = use;
	return true;
}
