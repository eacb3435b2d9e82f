/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal version and pabal licenses: from libraries.def. */
#include "cli/cli_int.h"
#include "cli/table.h"
#include "json/json.h"
#include "sql/sql.h"

#include <confuse.h>
#include <crypt.h>
#include <elf.h>
#include <gnu/libc-version.h>
#include <idn2.h>
#include <jansson.h>
#include <libpsl.h>
#include <unbound.h>
#include <link.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utf8proc.h>
#include <zlib.h>
#include <zstd.h>

#ifndef PABAL_VERSION
#define PABAL_VERSION "unknown"
#endif

struct library {
	const char *name, *version, *license, *purpose;
};
enum { LIBRARIES_MAX = 32 };

static const char *crypt_version(void)
{
#ifdef XCRYPT_VERSION_STR
	return XCRYPT_VERSION_STR;
#else
	return "-";
#endif
}

/* It cannot be asked at run time; 1.3 is the version of the algorithm (RFC 9106). */
static const char *argon2_version(void)
{
	return "1.3 (algorithm)";
}

static const char *confuse_version_text(void)
{
	const char *space = strrchr(confuse_version, ' ');
	return space ? space + 1 : confuse_version;
}

static const char *seccomp_text(struct arena *a)
{
	const struct scmp_version *v = seccomp_version();
	return v ? arena_cstr(a, arena_fmt(a, "%u.%u.%u", v->major, v->minor, v->micro)) : "-";
}

static size_t libraries(struct arena *a, struct library *out)
{
	size_t n = 0;
#define LIBRARY(name, version, license, purpose) out[n++] = (struct library){name, version, license, purpose};
#include "cli/libraries.def"
#undef LIBRARY
	return n;
}

/* The note that the linker put into this program; hexadecimal. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	struct buf *out = context;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type != PT_NOTE)
			continue;
		const char *p = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
		const char *end = p + info->dlpi_phdr[i].p_memsz;
		while (p + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)(const void *)p;
			const char *name = p + sizeof *note, *bytes = name + ((note->n_namesz + 3) & ~3u);
			if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
			    memcmp(name, "GNU", 4) == 0) {
				for (unsigned k = 0; k < note->n_descsz; k++)
					buf_fmt(out, "%02x", (unsigned char)bytes[k]);
				return 1;
			}
			p = bytes + ((note->n_descsz + 3) & ~3u);
		}
	}
	return 1; /* the first object is the program itself */
}

/* landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION: the kernel's ABI, 0 for none. */
static int landlock_abi(void)
{
	long abi = syscall(444, NULL, 0, 1u);
	return abi > 0 ? (int)abi : 0;
}

static struct str features(struct arena *a)
{
	int abi = landlock_abi();
	struct str s = abi ? arena_fmt(a, "landlock (ABI %d)", abi) : STR("no landlock in this kernel");
	s = arena_cat(a, s, STR(", seccomp, directory in SQLite or MariaDB, SCRAM, SMTPUTF8, REQUIRETLS"));
#ifdef PABAL_FAULTS
	s = arena_cat(a, s, STR(", fault injection"));
#endif
#ifdef PABAL_DEBUG
	s = arena_cat(a, s, STR(", debug checks"));
#endif
#ifdef PABAL_SANITIZED
	s = arena_cat(a, s, STR(", sanitizers"));
#endif
	return s;
}

static void version_json(struct cli *cli, struct str build_id, const struct library *v, size_t n)
{
	struct json_writer w;
	json_write_init(&w, &cli->out);
	json_write_object_begin(&w);
	json_write_member_cstr(&w, "version", PABAL_VERSION);
	json_write_member_str(&w, "build_id", build_id);
	json_write_member_str(&w, "features", features(cli->arena));
	json_write_name(&w, STR("libraries"));
	json_write_object_begin(&w);
	for (size_t i = 0; i < n; i++)
		json_write_member_cstr(&w, v[i].name, v[i].version);
	json_write_object_end(&w);
	json_write_object_end(&w);
	buf_byte(&cli->out, '\n');
}

int cmd_version(struct cli *cli)
{
	struct library v[LIBRARIES_MAX];
	BUF_SCOPED id = {0};
	size_t n = libraries(cli->arena, v);
	dl_iterate_phdr(find_build_id, &id);
	if (id.n == 0)
		buf_byte(&id, '-');
	if (cli->json) {
		version_json(cli, buf_str(&id), v, n);
		return CLI_OK;
	}
	struct table *t = table_new(cli->arena, "|");
	cli_print(cli, "pabal %s\n%s: %.*s\n%s: %.*s\n", PABAL_VERSION, cli_text(cli, "Build id", "빌드 ID"),
		  STR_ARG(buf_str(&id)), cli_text(cli, "Features", "기능"), STR_ARG(features(cli->arena)));
	for (size_t i = 0; i < n; i++) {
		table_cell(t, str_of(v[i].name));
		table_cell(t, str_of(v[i].version ? v[i].version : "-"));
	}
	table_print(t, &cli->out);
	return CLI_OK;
}

int cmd_licenses(struct cli *cli)
{
	struct library v[LIBRARIES_MAX];
	size_t n = libraries(cli->arena, v);
	struct table *t = table_new(cli->arena, cli_text(cli, "PART|LICENCE|USED FOR", "구성 요소|라이선스|용도"));
	struct json_writer w;
	json_write_init(&w, &cli->out);
	if (cli->json)
		json_write_object_begin(&w);
	for (size_t i = 0; i <= n; i++) {
		struct library l =
			i ? v[i - 1]
			  : (struct library){"pabal", PABAL_VERSION, "Apache-2.0", "everything else"};
		if (cli->json) {
			json_write_member_cstr(&w, l.name, l.license);
			continue;
		}
		table_cell(t, str_of(l.name));
		table_cell(t, str_of(l.license));
		table_cell(t, str_of(l.purpose));
	}
	if (cli->json) {
		json_write_object_end(&w);
		buf_byte(&cli->out, '\n');
	}
	table_print(t, &cli->out);
	return CLI_OK;
}
