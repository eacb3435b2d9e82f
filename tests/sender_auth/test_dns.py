# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The client and libunbound against a name server that is slow, lies, or answers by halves."""
import time

import pytest
from dnsserver import DnsServer

ZONE = {
    'example.com': [['A', '192.0.2.1'], ['AAAA', '2001:db8::1'], ['MX', [10, 'Mail.Example.com']],
                    ['TXT', ['one ', 'two']]],
    'alias.example.com': [['CNAME', 'example.com']], 'loop.example.com': [['CNAME', 'loop.example.com']],
    'long.example.com': [['TXT', 'x' * 3000]], 'slow.example.com': [['TIMEOUT']],
    'bad.example.com': [['SERVFAIL']], '_25._tcp.example.com': [['TLSA', '3 1 1 00ff']],
    '1.2.0.192.in-addr.arpa': [['PTR', 'example.com']], 'host.test': [['A', '192.0.2.2']],
    'deep.below.example.com': [['A', '192.0.2.3']],
}
CASES = [
    ('example.com', 'A', 'found', ['192.0.2.1']), ('EXAMPLE.com.', 'AAAA', 'found', ['2001:db8::1']),
    ('example.com', 'MX', 'found', ['10 mail.example.com']), ('example.com', 'TXT', 'found', ['one two']),
    ('alias.example.com', 'A', 'found', ['192.0.2.1']), ('alias.example.com', 'PTR', 'nodata', []),
    ('nothing.example.com', 'A', 'nxdomain', []), ('below.example.com', 'A', 'nodata', []),
    ('long.example.com', 'TXT', 'found', ['x' * 3000]), ('bad.example.com', 'A', 'servfail', []),
    ('loop.example.com', 'A', 'servfail', []), ('_25._tcp.example.com', 'TLSA', 'found', ['3 1 1 00ff']),
    ('1.2.0.192.in-addr.arpa', 'PTR', 'found', ['example.com']), ('host.test', 'A', 'found', ['192.0.2.2']),
    ('a..b', 'A', 'nxdomain', []),
]


@pytest.fixture(scope='module')
def dns():
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture(scope='module')
def anchor(tmp_path_factory):
    """A trust anchor for a name that nothing here is below: libunbound, but nothing is signed."""
    path = tmp_path_factory.mktemp('anchor') / 'anchor'
    path.write_text('signed.invalid. IN DS 1 13 2 ' + '00' * 32 + '\n')
    return path


@pytest.mark.parametrize('library', ['client', 'libunbound'])
@pytest.mark.parametrize('name, kind, status, records', CASES)
def test_answers(pabal, dns, anchor, library, name, kind, status, records):
    more = ['--validate', '--trust-anchor', anchor] if library == 'libunbound' else []
    got = pabal('dns', 'query', name, kind, '--dns', dns.address, '--json', *more).json
    assert (got['status'], got['records'], got['secure']) == (status, records, False)


@pytest.mark.parametrize('name, kind, records', [('example.com', 'A', ['192.0.2.1']),
                                                 ('long.example.com', 'TXT', ['x' * 3000])])
def test_server_without_edns(pabal, name, kind, records):
    with DnsServer(ZONE, edns=False, recursive=False) as server:
        assert pabal('dns', 'query', name, kind, '--dns', server.address, '--json').json['records'] == records


def test_silence_is_a_timeout(pabal, dns):
    start = time.monotonic()
    got = pabal('dns', 'query', 'slow.example.com', '--dns', dns.address, '--json')
    assert got.json['status'] == 'timeout' and got.code == 75
    assert time.monotonic() - start < 10
    assert len([q for q in dns.questions if q[0] == 'slow.example.com']) > 1  # it tried again


def test_nobody_there(pabal):
    with DnsServer({}) as server:
        address = server.address
    assert pabal('dns', 'query', 'example.com', '--dns', address, '--json').json['status'] == 'timeout'


@pytest.mark.parametrize('trust, secure', [('yes', True), ('no', False)])
def test_ad_bit(pabal, tmp_path, trust, secure):
    """Believed from loopback alone, and only when the setting says so."""
    with DnsServer(ZONE, ad=True) as server:
        config = tmp_path / 'pabal.conf'
        config.write_text(f'dns {{\n servers = {{"{server.address}"}}\n trust_ad = {trust}\n}}\n')
        got = pabal('dns', 'query', 'example.com', '--json', '--config', config)
        assert got.json['secure'] is secure, got.err


@pytest.mark.parametrize('server', ['', 'ns.example.com', '127.0.0.1:0', '[::1'])
def test_bad_server(pabal, server):
    assert pabal('dns', 'query', 'example.com', '--dns', server).code == 64


def test_dnssec(pabal, tmp_path):
    """Secure, bogus and insecure are three things (DANE rests on that)."""
    signed = pytest.importorskip('signed')
    zone = {'signed.example': [['A', '192.0.2.1']], '_25._tcp.signed.example': [['TLSA', '3 1 1 00ff']],
            'forged.signed.example': [['A', '192.0.2.1']]}
    with signed.SignedServer(zone, 'signed.example', forged=['forged.signed.example']) as server:
        anchor = tmp_path / 'anchor'
        anchor.write_text(server.anchor())

        def query(name, kind, *more):
            return pabal('dns', 'query', name, kind, '--dns', server.address, '--json', *more).json
        validate = ['--validate', '--trust-anchor', anchor]
        got = query('_25._tcp.signed.example', 'TLSA', *validate)
        assert (got['status'], got['secure'], got['records']) == ('found', True, ['3 1 1 00ff'])
        got = query('forged.signed.example', 'A', *validate)
        assert (got['status'], got['secure'], got['records']) == ('bogus', False, [])
        got = query('signed.example', 'A')
        assert (got['status'], got['secure']) == ('found', False)
