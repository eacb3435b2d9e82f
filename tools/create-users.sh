#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# Usage: tools/create-users.sh (as root)
# Makes the users that the roles run as, and the directories that they own. What exists stays as
# it is. The master itself cannot: it has no right to change owners.
set -eu

data=${PABAL_DATA_DIR:-/var/lib/pabal}
config=${PABAL_CONFIG_DIR:-/etc/pabal}
logs=${PABAL_LOG_DIR:-/var/log/pabal}

group() { # name, gid
	kind=--system
	[ -z "${2-}" ] || kind="--gid $2"
	# shellcheck disable=SC2086 # two words
	getent group "$1" >/dev/null || groupadd $kind "$1"
}
user() { # name, group, home, uid
	kind=--system
	[ -z "${4-}" ] || kind="--uid $4"
	# shellcheck disable=SC2086 # two words
	getent passwd "$1" >/dev/null || useradd $kind --gid "$2" --home-dir "$3" --no-create-home \
		--shell /usr/sbin/nologin --comment "pabal mail server" "$1"
}
directory() { # path, owner, group, mode
	[ -d "$1" ] || install -d -o "$2" -g "$3" -m "$4" "$1"
}

# 6000 is what mail systems with virtual users here have always used; another number is fine where
# it is taken.
vmail=6000
if getent group $vmail >/dev/null || getent passwd $vmail >/dev/null; then vmail=; fi
group vmail $vmail
user vmail vmail "$data" $vmail
for role in smtp login auth keys log dns relay; do
	group pabal-$role
	user pabal-$role pabal-$role "$data"
done

directory "$config" root root 0755
directory "$data" root root 0755
directory "$data/mail" vmail vmail 0750
directory "$data/spool" vmail vmail 0750
directory "$data/directory" pabal-auth pabal-auth 0750
directory "$data/journal" root root 0755
directory "$data/keys" pabal-keys pabal-keys 0700
directory "$logs" pabal-log pabal-log 0750
directory "$data/audit" pabal-log pabal-log 0750
