/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The program: one binary for the server's roles and the administrator's commands. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 2 && (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)) {
		puts("pabal " PABAL_VERSION);
		return 0;
	}
	fputs("usage: pabal COMMAND [ARGUMENTS]\n", stderr);
	return 64;
}
