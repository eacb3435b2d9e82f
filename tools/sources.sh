#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# Prints what the build globs. "check LIST STAMP": fails when LIST no longer says the same, after
# making sure that the next ninja configures again.
set -eu
LC_ALL=C
export LC_ALL
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
list() { (cd "$root" && find src -name '*.c' -o -name '*.sql' | sort); }
if [ "${1-}" != check ]; then
	list
	exit 0
fi
if list | cmp -s - "$2"; then
	[ -e "$3" ] || : >"$3"
	exit 0
fi
touch "$root/meson.build"
echo "source files were added or removed: run ninja (or make) again" >&2
exit 1
