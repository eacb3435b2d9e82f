/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal recover --cold: the next start takes the mail directory for one that has lost power (DURABILITY). */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "config/config.h"
#include "proc/proc.h"
#include "store/mailbox.h"

#include <fcntl.h>

int cmd_recover(struct cli *cli)
{
	BUF_SCOPED reply = {0};
	struct err err = {0};
	int code;

	if (!cli_has(cli, "--cold"))
		return cli_usage(cli, "%s", cli_text(cli, "--cold is needed", "--cold가 필요합니다"));
	code = cli_config(cli);
	if (code)
		return code;
	/* Its roles would take the mark for one of their own. */
	if (proc_ask_master(config_path(cli->config, SETTING_RUN_DIR), 's', &reply, &err))
		return cli_fail(cli, CLI_TEMP, "%s",
				cli_text(cli, "the server runs: stop it first",
					 "서버가 실행 중입니다. 먼저 정지하십시오"));
	err_clear(&err);
	FD_SCOPED mail = file_openat(AT_FDCWD, config_path(cli->config, SETTING_MAIL_DIR),
				     O_RDONLY | O_DIRECTORY, 0);
	if (mail < 0)
		err_sys(&err, "open %s", config_path(cli->config, SETTING_MAIL_DIR));
	if (mail < 0 || !cli_become_owner(mail, &err) || !store_force_cold(mail, &err))
		return cli_fail_err(cli, &err);
	cli_print(cli, "%s\n",
		  cli_text(cli, "The next start compares what the journals hold with the files.",
			   "다음 시작 때 저널의 내용과 파일을 비교합니다."));
	return CLI_OK;
}
