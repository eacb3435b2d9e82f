/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* directory/domain.h: hosted domains. Names are folded on the way in. */
#pragma once
#include "directory/directory.h"

struct domain {
	int64_t id;
	struct str name;        /* A-label form */
	struct str description;
	bool enabled;
	int64_t accounts, aliases; /* counts; domain_list and domain_find fill them */
	int64_t created_unix;
	int64_t removed_unix;   /* domain_list_removed only */
};
struct domain_list {
	struct domain *v;
	size_t n;
};
enum domain_field { DOMAIN_DESCRIPTION = 1, DOMAIN_ENABLED = 2 };

bool domain_add(struct directory *d, struct str name, struct str description, struct err *err) MUST_CHECK;
/* out->id is 0 when there is none. */
bool domain_find(struct directory *d, struct str name, struct arena *a, struct domain *out,
		 struct err *err) MUST_CHECK;
bool domain_list(struct directory *d, struct arena *a, struct domain_list *out, struct err *err) MUST_CHECK;
bool domain_list_removed(struct directory *d, struct arena *a, struct domain_list *out,
			 struct err *err) MUST_CHECK;
/* fields: which members of value are to be set. ERR_NOT_FOUND. */
bool domain_set(struct directory *d, struct str name, unsigned fields, const struct domain *value,
		struct err *err) MUST_CHECK;
/* Takes its accounts and aliases along, in one transaction. All come back by domain_restore for
 * directory.restore_time; mail stays on disk. */
bool domain_remove(struct directory *d, struct str name, struct err *err) MUST_CHECK;
bool domain_restore(struct directory *d, struct str name, struct err *err) MUST_CHECK;
