# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# The door to the build; the work is done by meson and the scripts in tools/ and tests/.

DESTDIR =
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
COMPLETIONDIR = $(PREFIX)/share/bash-completion/completions
DATADIR = $(PREFIX)/share/pabal
UNITDIR = $(PREFIX)/lib/systemd/system
PYTHON = /usr/bin/python3
DEMO = var/demo
FUZZ_SECONDS = 600

# build/pabal, which runs from here
all:
	@ONLY=pabal tools/build.sh build

# A server to try, in $(DEMO); Ctrl-C ends it
run:
	@sh tools/deps.sh build run
	@ONLY=pabal QUIET=1 tools/build.sh build
	@exec build/pabal quickstart --dir $(DEMO) --domain demologthink.com \
		--account test1 --account test2 --alias testfc=test2

# Everything: builds, unit and whole-server tests, short fuzzing, checks
test:
	@sh tools/deps.sh build test fuzz
	@exec $(PYTHON) tests/run.py

# What needs no running: include directions, style, cppcheck, clang-tidy
check:
	@sh tools/deps.sh build test
	@CC=clang QUIET=1 tools/build.sh build-clang --buildtype=debug
	@exec $(PYTHON) tests/run.py check --no-deps

# Breaks the lines that are too wide
format:
	@exec tools/wrap.py

# FUZZ_SECONDS for each target; what is found is kept in build-fuzz/corpus
fuzz:
	@sh tools/deps.sh fuzz
	@CC=clang QUIET=1 tools/build.sh build-fuzz -Dfuzz=true -Doptimization=1
	@exec $(PYTHON) tests/run.py fuzz --no-deps --fuzz-seconds $(FUZZ_SECONDS)

# Beside Postfix and Dovecot, which are installed for it but never started as services
bench:
	@sh tools/deps.sh bench
	@ONLY="pabal bench-load" QUIET=1 tools/build.sh build
	@if [ -e bench/run.py ]; then exec $(PYTHON) bench/run.py $(BENCH); \
	else echo "there is no bench/run.py" >&2; exit 1; fi

# Kills the processes of a server under load and looks what was lost; CRASH="--minutes 10 --power"
crash:
	@ONLY=pabal QUIET=1 tools/build.sh build
	@exec $(PYTHON) tests/crash/harness.py $(CRASH)

deps:
	@sh tools/deps.sh build test fuzz

# Makes the users and directories too, when root installs into the running system
install: all
	install -D -m 755 build/pabal $(DESTDIR)$(BINDIR)/pabal
	@set -e; mkdir -p $(DESTDIR)$(COMPLETIONDIR); for part in man1 man5 ko/man1 ko/man5; do \
		mkdir -p $(DESTDIR)$(MANDIR)/$$part; done
	LC_ALL=C.UTF-8 build/pabal man pabal.1 >$(DESTDIR)$(MANDIR)/man1/pabal.1
	LC_ALL=C.UTF-8 build/pabal man pabal.conf.5 >$(DESTDIR)$(MANDIR)/man5/pabal.conf.5
	LC_ALL=ko_KR.UTF-8 build/pabal man pabal.1 >$(DESTDIR)$(MANDIR)/ko/man1/pabal.1
	LC_ALL=ko_KR.UTF-8 build/pabal man pabal.conf.5 >$(DESTDIR)$(MANDIR)/ko/man5/pabal.conf.5
	build/pabal completion bash >$(DESTDIR)$(COMPLETIONDIR)/pabal
	@chmod 644 $(DESTDIR)$(MANDIR)/man1/pabal.1 $(DESTDIR)$(MANDIR)/man5/pabal.conf.5 \
		$(DESTDIR)$(MANDIR)/ko/man1/pabal.1 $(DESTDIR)$(MANDIR)/ko/man5/pabal.conf.5 \
		$(DESTDIR)$(COMPLETIONDIR)/pabal
	install -D -m 644 share/explain.tsv $(DESTDIR)$(DATADIR)/explain.tsv
	install -D -m 644 dist/pabal.conf $(DESTDIR)$(DATADIR)/pabal.conf.sample
	@sh tools/mail-links.sh make $(BINDIR)/pabal $(DESTDIR)
	@mkdir -p $(DESTDIR)$(UNITDIR)
	sed 's|@BINDIR@|$(BINDIR)|g' dist/pabal.service >$(DESTDIR)$(UNITDIR)/pabal.service
	@chmod 644 $(DESTDIR)$(UNITDIR)/pabal.service
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then sh tools/create-users.sh; fi
	@[ -n "$(DESTDIR)" ] || [ -e /etc/pabal/pabal.conf ] || printf '%s\n' \
		'' 'Next:' \
		'  cp $(DATADIR)/pabal.conf.sample /etc/pabal/pabal.conf    and edit it' \
		'  pabal config check' \
		'  systemctl daemon-reload && systemctl enable --now pabal' \
		'  pabal domain add example.com && pabal account add hong@example.com'
	@[ -n "$(DESTDIR)" ] || ! [ -e /run/pabal/control/master.sock ] || \
		echo 'A server runs: pabal upgrade lets it run the new program.'

# Leaves mail, configuration and users alone
uninstall:
	@sh tools/mail-links.sh remove $(BINDIR)/pabal $(DESTDIR)
	rm -f $(DESTDIR)$(BINDIR)/pabal $(DESTDIR)$(UNITDIR)/pabal.service $(DESTDIR)$(COMPLETIONDIR)/pabal \
		$(DESTDIR)$(DATADIR)/explain.tsv $(DESTDIR)$(DATADIR)/pabal.conf.sample
	rm -f $(DESTDIR)$(MANDIR)/man1/pabal.1 $(DESTDIR)$(MANDIR)/man5/pabal.conf.5 \
		$(DESTDIR)$(MANDIR)/ko/man1/pabal.1 $(DESTDIR)$(MANDIR)/ko/man5/pabal.conf.5

clean:
	rm -rf build build-clang build-asan build-tsan build-fuzz

.PHONY: all run test check format fuzz bench crash deps install uninstall clean
