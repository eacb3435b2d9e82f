# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Keys and signatures against implementations that are not ours: openssl, python3-dkim, opendkim."""
import re
import shutil
import subprocess

import pytest
from dnsserver import DnsServer

PASSPHRASE = 'test.com_as#SDFGeDqqfdsa@234sadf@!safdSA#'  # the guide's (R127)
MESSAGES = {
    'plain': b'From: hong@example.com\r\nTo: kim@example.org\r\nSubject: hello\r\n\r\nHello\r\n',
    'korean': 'From: 홍길동 <hong@example.com>\r\nSubject: 시험\r\n\r\n안녕  하세요 \r\n\r\n\r\n'.encode(),
    'folded': b'Received: a\r\n\tb\r\nFrom: hong@example.com\r\nTo: a@b,\r\n c@d\r\nTo: twice@e\r\n'
              b'Subject:  a \t b\r\n  c\r\nDate: Tue, 24 Nov 2026 10:00:00 +0900\r\n\r\n  x\r\n.\r\nno end',
    'empty': b'From: hong@example.com\r\n\r\n',
    'no body': b'From: hong@example.com\r\nSubject: x\r\n',
    'long': b'From: hong@example.com\r\n\r\n' + b'0123456789abcde \r\n' * 20000,
}
# What opendkim takes at all: each field of RFC 5322 3.6 as often as that says.
STRICT = {
    'plain': b'From: hong@example.com\r\nDate: Tue, 24 Nov 2026 10:00:00 +0900\r\nTo: kim@example.org\r\n'
             b'Message-ID: <1@example.com>\r\nSubject:  a \t b\r\n  c\r\n\r\n x  y \r\n\r\n\r\n',
    'korean': 'Received: a\r\n\tb\r\nFrom: 홍길동 <hong@example.com>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0900\r\n'
              'Message-ID: <1@example.com>\r\nSubject: 시험\r\n\r\n안녕  하세요 \r\n'.encode(),
}


@pytest.fixture(scope='module')
def keys(pabal, tmp_path_factory):
    """type -> (file, record text)"""
    top = tmp_path_factory.mktemp('keys')
    made = {}
    for kind in ('rsa', 'ed25519'):
        out = pabal('dkim', 'generate', '--domain', 'example.com', '--selector', kind, '--type', kind, '--out',
                    top / kind, '--json')
        assert out.code == 0, out.err
        made[kind] = (top / kind, out.json['value'])
    return made


def sign(pabal, keys, kind, message, *more):
    out = pabal('dkim', 'sign', '--domain', 'example.com', '--selector', kind, '--key', keys[kind][0], *more,
                stdin=message)
    assert out.code == 0, out.err
    assert out.out.endswith(message)
    return out.out


@pytest.mark.parametrize('canon', ['relaxed/relaxed', 'simple/simple', 'relaxed/simple', 'simple/relaxed'])
@pytest.mark.parametrize('kind', ['rsa', 'ed25519'])
@pytest.mark.parametrize('name', MESSAGES)
def test_python_dkim_agrees(pabal, keys, name, kind, canon):
    dkim = pytest.importorskip('dkim')
    if kind == 'ed25519':
        pytest.importorskip('nacl')
    signed = sign(pabal, keys, kind, MESSAGES[name], '--canon', canon, '--expire', '86400')
    assert dkim.verify(signed, dnsfunc=lambda *_, **__: keys[kind][1].encode())


@pytest.mark.parametrize('name', MESSAGES)
def test_we_verify_python_dkim(pabal, keys, name):
    dkim = pytest.importorskip('dkim')
    key = subprocess.run(['openssl', 'rsa', '-traditional', '-in', keys['rsa'][0]], capture_output=True,
                         check=True).stdout
    message = MESSAGES[name]
    with DnsServer({'rsa._domainkey.example.com': [['TXT', keys['rsa'][1]]]}) as dns:
        for canon in ((b'relaxed', b'relaxed'), (b'simple', b'simple')):
            field = dkim.sign(message, b'rsa', b'example.com', key, canonicalize=canon)
            got = pabal('dkim', 'verify', '--dns', dns.address, '--json', stdin=field + message).json
            assert got['result'] == 'pass', got


@pytest.mark.skipif(not shutil.which('opendkim-testmsg'), reason='opendkim-tools is not there')
@pytest.mark.parametrize('name', STRICT)
def test_opendkim_agrees(pabal, keys, name, tmp_path):
    """opendkim-testmsg asks the name servers of resolv.conf: in a mount namespace that is ours. (What it
    signs is rsa-sha1, so there is no test the other way round.)"""
    signed = sign(pabal, keys, 'rsa', STRICT[name])
    try:
        with DnsServer({'rsa._domainkey.example.com': [['TXT', keys['rsa'][1]]]}, bind=('127.0.0.1', 53)):
            (tmp_path / 'resolv.conf').write_text('nameserver 127.0.0.1\n')
            out = subprocess.run(
                ['unshare', '-m', 'sh', '-c',
                 f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec opendkim-testmsg'],
                input=signed, capture_output=True, check=False)
    except OSError:
        pytest.skip('port 53 is not to be had')
    if b'unshare' in out.stderr or b'mount' in out.stderr:
        pytest.skip('no mount namespace here')
    assert out.returncode == 0, out.stderr


def openssl_key(path, bits, *options):
    subprocess.run(['openssl', 'genrsa', *options, '-out', path, str(bits)], check=True, capture_output=True)
    path.chmod(0o600)


@pytest.mark.parametrize('form', ['pkcs8', 'old'])
@pytest.mark.parametrize('bits', [1024, 2048])
def test_keys_of_the_guide(pabal, tmp_path, form, bits):
    """openssl genrsa -des3, as OpenSSL 3 and as OpenSSL 1 write it (R127 to R130)."""
    key, passphrase = tmp_path / 'key.pem', tmp_path / 'passphrase'
    passphrase.write_text(PASSPHRASE + '\n')
    passphrase.chmod(0o600)
    openssl_key(key, bits, '-des3', '-passout', f'file:{passphrase}', *(['-traditional'] if form == 'old' else []))
    text = key.read_text()
    assert ('Proc-Type: 4,ENCRYPTED' in text) == (form == 'old')
    out = pabal('dkim', 'txt', key, '--passphrase-file', passphrase)
    assert out.code == 0, out.err
    public = subprocess.run(['openssl', 'rsa', '-pubout', '-in', key, '-passin', f'file:{passphrase}'],
                            check=True, capture_output=True, text=True).stdout
    one_line = ''.join(line for line in public.splitlines() if '-----' not in line)
    assert out.text == f'v=DKIM1; k=rsa; p={one_line}\n'
    assert (b'weak' in out.err) == (bits == 1024)
    signed = pabal('dkim', 'sign', '--domain', 'example.com', '--selector', 'email', '--key', key,
                   '--passphrase-file', passphrase, stdin=MESSAGES['plain'])
    with DnsServer({'email._domainkey.example.com': [['TXT', out.text.strip()]]}) as dns:
        assert pabal('dkim', 'verify', '--dns', dns.address, '--json', stdin=signed.out).json['result'] == 'pass'
    # a wrong passphrase, or none and no terminal: an error that says so, and nothing signed
    passphrase.write_text('wrong\n')
    wrong = pabal('dkim', 'txt', key, '--passphrase-file', passphrase)
    assert wrong.code != 0 and b'passphrase' in wrong.err and not wrong.out
    none = pabal('dkim', 'sign', '--domain', 'example.com', '--selector', 'email', '--key', key,
                 stdin=MESSAGES['plain'], start_new_session=True)
    assert none.code != 0 and not none.out and b'passphrase' in none.err


def test_forms_of_the_record(pabal, keys):
    file, text = keys['rsa']
    zone = pabal('dkim', 'txt', file, '--domain', 'example.com', '--selector', 'rsa', '--form', 'zone').text
    assert zone.startswith('rsa._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=')
    strings = re.findall(r'"([^"]*)"', zone)
    assert ''.join(strings) == text and all(len(s) <= 255 for s in strings) and len(strings) == 2
    fields = pabal('dkim', 'txt', file, '--domain', 'example.com', '--selector', 'rsa', '--form', 'fields').text
    assert 'rsa._domainkey.example.com' in fields and text in fields


def test_list(pabal, keys, tmp_path):
    junk = tmp_path / 'junk'
    junk.write_text('no key')
    got = pabal('dkim', 'list', keys['rsa'][0], keys['ed25519'][0], junk, '--json').json
    assert [(k['key_type'], k['bits']) for k in got] == [('rsa', 2048), ('ed25519', 256), ('-', 0)]
    assert got[2]['state']


def test_generate(pabal, tmp_path):
    words = ['dkim', 'generate', '--domain', 'example.com', '--selector', 's', '--out', tmp_path / 'k']
    assert pabal(*words).code == 0
    assert (tmp_path / 'k').stat().st_mode & 0o777 == 0o600
    assert pabal(*words).code != 0  # never over a key that is there
    passphrase = tmp_path / 'p'
    passphrase.write_text(PASSPHRASE)
    assert pabal(*words, '--force', '--passphrase-file', passphrase).code == 0
    assert 'ENCRYPTED' in (tmp_path / 'k').read_text()
    assert pabal('dkim', 'txt', tmp_path / 'k', '--passphrase-file', passphrase).code == 0


@pytest.mark.parametrize('records, wanted', [
    ([['TXT', 'KEY']], 'match'), ([], 'missing'), ([['TXT', 'v=DKIM1; k=rsa; p=']], 'revoked'),
    ([['TXT', 'CUT']], 'truncated'), ([['TXT', 'v=spf1 -all']], 'malformed'), ([['SERVFAIL']], 'unknown'),
    ([['TXT', 'v=spf1 -all'], ['TXT', 'KEY']], 'match'), ([['TXT', 'OTHER']], 'mismatch'),
    ([['TXT', '-----BEGIN PUBLIC KEY-----MIIB']], 'malformed'), ([['CNAME', 'elsewhere.example.net']], 'match'),
])
def test_check(pabal, keys, tmp_path, records, wanted):
    file, text = keys['rsa']
    other = tmp_path / 'other'
    value = pabal('dkim', 'generate', '--domain', 'e.com', '--selector', 's', '--out', other, '--json').json['value']
    words = {'KEY': text, 'CUT': text[:255], 'OTHER': value}
    zone = {'x.example.com': [['A', '192.0.2.1']], 'elsewhere.example.net': [['TXT', text]]}
    if records:
        zone['rsa._domainkey.example.com'] = [[r[0], *(words.get(v, v) for v in r[1:])] for r in records]
    with DnsServer(zone) as dns:
        got = pabal('dkim', 'check', '--domain', 'example.com', '--selector', 'rsa', '--key', file, '--dns',
                    dns.address, '--json')
    assert got.json['result'] == wanted and (got.code == 0) == (wanted == 'match')
