# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The published suites through the command line and a name server on loopback: the unit tests run
them on a table, so that here the wire, the client and the verbs are what is new."""
import concurrent.futures

from dnsserver import DnsServer


def check_all(name, jobs):
    """jobs: name -> function that returns None, or what is wrong."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong = {case: why for case, why in zip(jobs, pool.map(lambda f: f(), jobs.values())) if why}
    print(f'{name}: {len(jobs) - len(wrong)} of {len(jobs)} cases pass')
    assert not wrong


def test_spf(pabal, published):
    for scenario in published('spf/cases/rfc7208.json'):
        def job(test, dns):
            def run():
                got = pabal('spf', 'check', '--ip', test['host'], '--helo', test['helo'], '--mail-from',
                            test['mailfrom'], '--dns', dns.address, '--json').json
                wanted = test['result'] if isinstance(test['result'], list) else [test['result']]
                explanation = test.get('explanation', 'DEFAULT')
                if got['result'] not in wanted:
                    return f'{got} instead of {wanted}'
                if explanation != 'DEFAULT' and got['explanation'] != explanation:
                    return f'{got} instead of {explanation}'
                return None
            return run
        with DnsServer(scenario['zone']) as dns:
            check_all(f"spf {scenario['description']}",
                      {name: job(test, dns) for name, test in scenario['tests'].items()})


def test_dkim(pabal, published):
    cases = published('dkim/cases.json')

    def job(case, dns):
        def run():
            time = 1700000000
            if case['want'] == 'pass' and case['sigs'][0]['x']:
                time = int(case['sigs'][0]['x']) - 1
            got = pabal('dkim', 'verify', '--time', time, '--dns', dns.address, '--json',
                        stdin=published('dkim/corpus/' + case['file'])).json
            good = {'pass': got['result'] == 'pass', 'fail': got['result'] == 'fail',
                    'notpass': got['result'] != 'pass'}[case['want']]
            return None if good else f"{got} instead of {case['want']}"
        return run
    with DnsServer(published('dkim/zone.json')['records']) as dns:
        check_all('dkim', {case['file']: job(case, dns) for case in cases})


def test_arc(pabal, published, tmp_path):
    for scenario in published('arc/cases/validate.json'):
        def job(test, dns):
            def run():
                got = pabal('arc', 'verify', '--dns', dns.address, '--json', stdin=test['message'].encode()).json
                return None if got['cv'] == (test['cv'].lower() or 'fail') else f'{got}'
            return run
        with DnsServer({n: [['TXT', t]] for n, t in scenario['txt-records'].items()}) as dns:
            check_all(f"arc {scenario['description']}",
                      {name: job(test, dns) for name, test in scenario['tests'].items()})


def tags(field):
    return {name.strip(): ''.join(value.split())
            for name, _, value in (tag.partition('=') for tag in field.rstrip().rstrip(';').split(';'))}


def test_arc_sign(pabal, published, tmp_path):
    for scenario in published('arc/cases/sign.json'):
        key = tmp_path / 'key.pem'
        key.write_text(scenario['privatekey'])
        key.chmod(0o600)
        for name, test in scenario['tests'].items():
            out = pabal('arc', 'sign', '--domain', scenario['domain'], '--selector', scenario['sel'], '--key', key,
                        '--authserv-id', test['srv-id'], '--headers', test['sig-headers'], '--time', test['t'],
                        stdin=test['message'].encode())
            assert out.code == 0, out.err
            new = out.text[:-len(test['message'])]
            assert out.text.endswith(test['message'])
            fields = {}
            for line in new.replace('\n ', ' ').splitlines():
                field, _, value = line.partition(':')
                fields[field] = value
            assert tags(fields['ARC-Seal']) == tags(test['AS']), name
            assert tags(fields['ARC-Message-Signature']) == tags(test['AMS']), name
            assert ''.join(fields['ARC-Authentication-Results'].split()) == ''.join(test['AAR'].split()), name


def test_dmarc(pabal, published):
    def job(case, dns):
        def run():
            words = ['dmarc', 'check', '--from', case['from'], '--spf', case['spf'], '--dns', dns.address, '--json']
            for result in case['dkim']:
                words += ['--dkim', result]
            got = pabal(*words).json
            good = got['result'] == case['result'] and got['policy'] == case['policy']
            return None if good else f'{got} instead of {case}'
        return run
    with DnsServer(published('dmarc/zone.json')['records']) as dns:
        check_all('dmarc', {case['id']: job(case, dns) for case in published('dmarc/cases.json')})


def test_mta_sts(pabal, published, tmp_path):
    suite = published('tls-policy/mta-sts.json')
    for record in suite['record_ok']:
        assert pabal('mta-sts', 'check', '--record', record).code == 0, record
    for record in suite['record_bad']:
        assert pabal('mta-sts', 'check', '--record', record).code != 0, record
    for policy in suite['policy_ok']:
        assert pabal('mta-sts', 'check', '--policy', '-', stdin=policy.encode()).code == 0, policy
    for policy in suite['policy_bad']:
        assert pabal('mta-sts', 'check', '--policy', '-', stdin=policy.encode()).code != 0, policy
    for pattern, host, wanted in suite['mx_match']:
        policy = tmp_path / 'policy'
        policy.write_text(f'version: STSv1\nmode: enforce\nmx: {pattern}\nmax_age: 1\n')
        code = pabal('mta-sts', 'check', '--policy', policy, '--mx', host).code
        assert (code == 0) == wanted, (pattern, host)


def test_public_suffixes(pabal, published):
    for line in published('tls-policy/psl-tests.txt').decode().splitlines():
        if not line.strip() or line.startswith('//') or line.startswith('null'):
            continue
        domain, wanted = line.split()
        got = pabal('psl', domain)
        assert got.text.strip() == ('' if wanted == 'null' else wanted), line
        assert got.code == (1 if wanted == 'null' else 0), line
