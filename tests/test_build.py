# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The tools around the code: installing, embedding, the checks."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tools'))

import check_includes  # noqa: E402


def installed(top):
    return sorted(str(p.relative_to(top)) for p in top.rglob('*') if not p.is_dir())


def test_install_and_uninstall(tmp_path):
    def make(target):
        subprocess.run(['make', '-s', target, f'DESTDIR={tmp_path}', 'PREFIX=/usr'], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL, timeout=300)
    make('install')
    files = installed(tmp_path)
    assert 'usr/bin/pabal' in files
    assert os.access(tmp_path / 'usr/bin/pabal', os.X_OK)
    unit = (tmp_path / 'usr/lib/systemd/system/pabal.service').read_text()
    assert 'ExecStart=/usr/bin/pabal serve\n' in unit
    assert '@' not in unit.replace('@system-service', '')
    for page in ('man1/pabal.1', 'man5/pabal.conf.5', 'ko/man1/pabal.1', 'ko/man5/pabal.conf.5'):
        assert (tmp_path / 'usr/share/man' / page).read_text().startswith('.TH PABAL')
    assert 'usr/share/bash-completion/completions/pabal' in files
    for link in ('usr/sbin/sendmail', 'usr/lib/sendmail', 'usr/bin/mailq', 'usr/bin/newaliases'):
        assert os.readlink(tmp_path / link) == '/usr/bin/pabal'
    make('uninstall')
    assert installed(tmp_path) == []


def test_another_sendmail_stays(tmp_path):
    """R86: links are made where no other mail server has its own, and only ours are removed."""
    def links(what):
        return subprocess.run(['sh', 'tools/mail-links.sh', what, '/usr/bin/pabal', str(tmp_path)], cwd=ROOT, check=True,
                              capture_output=True, text=True).stderr
    (tmp_path / 'usr/sbin').mkdir(parents=True)
    (tmp_path / 'usr/sbin/sendmail').write_text('of another')
    assert '/usr/sbin/sendmail belongs to another program' in links('make')
    assert links('make').count('\n') == 1
    links('remove')
    assert installed(tmp_path) == ['usr/sbin/sendmail']


def test_unit_is_understood(tmp_path):
    if not shutil.which('systemd-analyze'):
        return
    unit = tmp_path / 'pabal.service'
    unit.write_text((ROOT / 'dist/pabal.service').read_text().replace('@BINDIR@/pabal', '/bin/true')
                    .replace('Documentation=', '#'))
    done = subprocess.run(['systemd-analyze', 'verify', str(unit)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    complaints = [line for line in done.stdout.split('\n') if 'pabal.service:' in line]
    assert complaints == []


def test_embed(tmp_path):
    (tmp_path / '002_b.sql').write_bytes(b'second "quoted" \\ \xed\x95\x9c\0\n')
    (tmp_path / '001_a.sql').write_bytes(b'')
    source = tmp_path / 'out.c'
    subprocess.run([ROOT / 'tools/embed.py', source, 'things', tmp_path / '002_b.sql', tmp_path / '001_a.sql'],
                   check=True)
    (tmp_path / 'main.c').write_text('''
#include "base/embed.h"
#include <stdio.h>
extern const struct embedded_file things[];
int main(void)
{
	for (const struct embedded_file *f = things; f->name; f++) {
		printf("%s %zu %d:", f->name, f->size, f->bytes[f->size]);
		fwrite(f->bytes, 1, f->size, stdout);
		printf(";");
	}
	return 0;
}
''')
    subprocess.run(['gcc', '-Wall', '-Wextra', '-Werror', f'-I{ROOT}/src', '-o', tmp_path / 'main',
                    tmp_path / 'main.c', source], check=True)
    out = subprocess.run([tmp_path / 'main'], stdout=subprocess.PIPE, check=True).stdout
    assert out == b'001_a.sql 0 0:;002_b.sql 23 0:second "quoted" \\ \xed\x95\x9c\0\n;'


@pytest.mark.parametrize('module, folder, included, allowed', [
    ('smtp', 'smtp/server', 'base/str.h', True),
    ('smtp', 'smtp/server', 'smtp/smtp_int.h', True),
    ('base', 'base', 'net/conn.h', False),
    ('store', 'store', 'journal/journal.h', True),
    ('journal', 'journal', 'store/mailbox.h', False),
    ('imap', 'imap', 'store/store_int.h', False),
    ('imap', 'imap', 'str.h', False),
    ('imap', 'imap', 'nothere/str.h', False),
    (None, '', 'cli/cli.h', True),
])
def test_include_directions(module, folder, included, allowed):
    assert (check_includes.breach(module, folder, included) is None) == allowed


def test_deps_says_what_is_missing(tmp_path):
    """Neither root nor sudo: the names and the command; with all there: nothing."""
    for name, text in {
            'dpkg-query': '#!/bin/sh\necho "gcc installed"; echo "meson installed"; exit 1\n',
            'id': '#!/bin/sh\necho 1000\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for tool in ('sh', 'sed', 'tr', 'env'):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(['sh', ROOT / 'tools/deps.sh', 'build'], env={'PATH': str(tmp_path)}, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert 'apt-get install --no-install-recommends ' in done.stderr
    assert ' libssl-dev' in done.stderr
    assert ' meson' not in done.stderr
