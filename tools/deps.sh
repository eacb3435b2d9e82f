#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# Usage: tools/deps.sh GROUP...   with GROUP build, run, test, fuzz or bench
# Installs the Debian packages of the groups that are missing. Does nothing, quickly, when all are
# there. Works as root or through sudo; otherwise says what to install.
set -eu

build='build-essential pkg-config meson ninja-build python3 libssl-dev libsqlite3-dev libjansson-dev
	libcrypt-dev libargon2-dev libidn2-dev libpsl-dev libunbound-dev libutf8proc-dev libzstd-dev zlib1g-dev
	libseccomp-dev libconfuse-dev libmariadb-dev libcmocka-dev ca-certificates'
clang='clang llvm libclang-rt-14-dev'
mail="postfix postfix-mysql dovecot-core dovecot-lmtpd"
test="$clang $mail clang-format clang-tidy cppcheck shellcheck ccache python3-pytest openssl curl swaks libnet-ssleay-perl
	libauthen-sasl-perl isync fetchmail getmail6 mutt s-nail e2fsprogs python3-prometheus-client
	python3-dkim python3-nacl python3-cryptography opendkim opendkim-tools mariadb-server-core mariadb-client
	dovecot-imapd dovecot-pop3d"
fuzz="$clang ccache"
# What "make run" suggests to try
run='swaks curl'
bench='opendkim postfix dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd'

wanted=
for group; do
	case $group in
	build) wanted="$wanted $build" ;;
	run) wanted="$wanted $run" ;;
	test) wanted="$wanted $build $test" ;;
	fuzz) wanted="$wanted $build $fuzz" ;;
	bench) wanted="$wanted $build $bench" ;;
	*)
		echo "tools/deps.sh: no such group: $group (build, run, test, fuzz, bench)" >&2
		exit 64
		;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "This is no Debian system. Needed are what Debian calls:$wanted" | tr -s '\n\t ' '   ' >&2
	echo >&2
	exit 0
fi

# shellcheck disable=SC2086 # lists of words
have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
	sed -n 's/ installed$//p' || true)
missing=
for package in $wanted; do
	case "
$have
" in
	*"
$package
"*) continue ;;
	esac
	case " $missing " in
	*" $package "*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	echo "Missing packages:$missing" >&2
	echo "Install them as root:  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "installing:$missing"
apt() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# Mail servers for the benchmark and tests: they must not start, and must not push out one that is in use.
guard=/usr/sbin/policy-rc.d
guarded=
case $missing in
*postfix* | *dovecot*)
	# shellcheck disable=SC2086
	removed=$(apt -s install --no-install-recommends $missing 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p')
	if [ -n "$removed" ]; then
		echo "Installing$missing would remove $removed; pabal does not do that." >&2
		exit 1
	fi
	if [ ! -e $guard ]; then
		guarded=1
		trap '$as_root rm -f $guard' EXIT
		printf '#!/bin/sh\nexit 101\n' | $as_root tee $guard >/dev/null
		$as_root chmod 755 $guard
	fi
	;;
esac

# shellcheck disable=SC2086
if ! apt -qq -y install --no-install-recommends $missing >/dev/null 2>&1; then
	apt -qq update || true
	apt -qq -y install --no-install-recommends $missing >/dev/null
fi
if [ -n "$guarded" ]; then
	$as_root rm -f $guard
	trap - EXIT
fi
