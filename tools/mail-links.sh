#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# Usage: tools/mail-links.sh make|remove PROGRAM [DESTDIR]
# The names by which programs hand in mail and administrators look at the queue, as links to PROGRAM.
# What belongs to another mail server stays as it is; only links to PROGRAM are removed.
set -eu

what=$1 program=$2 root=${3-}
bin=${program%/*}

for name in /usr/sbin/sendmail /usr/lib/sendmail "$bin/mailq" "$bin/newaliases" "$bin/postqueue" \
	"$bin/postsuper"; do
	path=$root$name
	ours=no
	if [ -L "$path" ] && [ "$(readlink "$path")" = "$program" ]; then ours=yes; fi
	case $what in
	make)
		if [ $ours = no ] && { [ -e "$path" ] || [ -L "$path" ]; }; then
			echo "$name belongs to another program and stays as it is" >&2
			continue
		fi
		mkdir -p "${path%/*}"
		ln -sf "$program" "$path"
		;;
	remove) [ $ours = no ] || rm -f "$path" ;;
	esac
done
