/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/master_audit.c: what is asked of the master itself, and what a new configuration changes, for the
 * audit log. */
#include "base/log.h"
#include "config/config.h"
#include "proc/master_int.h"

void audit_asked(const char *command, uint32_t uid, int32_t pid)
{
	log_audit("admin.act", K_INT(user_id, uid), K_INT(pid, pid), K_CSTR(command, command));
}

/* What stands in the log is read by more people than the configuration. */
static struct str shown(enum setting id, const struct buf *value)
{
	bool secret =
		id == SETTING_DKIM_PASSPHRASE || str_find(buf_str(value), STR("passphrase=")) != STR_NPOS;
	return secret && value->n ? STR("(set)") : buf_str(value);
}

/* Settings that only other roles get are not known here. */
static void audit_setting(const struct config *before, const struct config *after, enum setting id)
{
	BUF_SCOPED was = {0};
	BUF_SCOPED is = {0};

	if (!(setting_info(id)->roles & CONFIG_ROLE_MASTER))
		return;
	config_format(before, id, &was);
	config_format(after, id, &is);
	if (!str_eq(buf_str(&was), buf_str(&is)))
		log_audit("config.changed", K_CSTR(setting, setting_info(id)->name),
			  K_STR(value, shown(id, &is)), K_STR(before, shown(id, &was)));
}

void audit_config(const struct config *before, const struct config *after)
{
	for (int id = 0; id < SETTING_COUNT; id++)
		audit_setting(before, after, (enum setting)id);
}
