/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The program: one binary for the server's roles and the administrator's commands. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
