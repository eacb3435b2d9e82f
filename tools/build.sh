#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# Usage: tools/build.sh DIR [meson setup arguments]
# Configures DIR if it is new, again if the list of sources changed, and builds it. CC is obeyed
# the first time. JOBS limits the parallel jobs, ONLY names targets, QUIET leaves out the progress.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
dir=$1
shift
if [ ! -e "$dir/build.ninja" ]; then
	# meson finds ccache by itself only where CC is not set
	case ${CC-} in
	'' | *ccache*) ;;
	*) ! command -v ccache >/dev/null || export CC="ccache $CC" ;;
	esac
	meson setup "$dir" "$@" >"$dir.log" 2>&1 || {
		cat "$dir.log" >&2
		exit 1
	}
	rm -f "$dir.log"
elif ! tools/sources.sh | cmp -s - "$dir/sources.list"; then
	touch meson.build
fi
# shellcheck disable=SC2086 # a list of targets
exec ninja -C "$dir" ${JOBS:+-j"$JOBS"} ${QUIET:+--quiet} ${ONLY-}
