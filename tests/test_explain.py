# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""pabal explain as people call it: arguments, standard input, languages, an own table."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PABAL = os.environ.get('PABAL_BINARY') or os.environ.get('PABAL') or str(ROOT / 'build' / 'pabal')


def explain(*args, text='', lang='C.UTF-8', **env):
    done = subprocess.run([PABAL, 'explain', *args], input=text, capture_output=True, text=True, timeout=60,
                          env={'PATH': os.environ['PATH'], 'LANG': lang, **env})
    return done.returncode, done.stdout, done.stderr


# The replies of REQUIREMENTS R97-R101, as Korean bulk mailers log them.
KNOWN = [
    ('4.3.2 Your ip blocked from this server. Contact to abuse@naver.com or http:/(421)',
     'NAVER-01', '네이버', 'retry', 'hold'),
    ('4.3.2 Your ip blocked from this server(421)', 'NAVER-02', '네이버', 'retry', 'hold'),
    ('4.4.5 CCRC 123.123.12.123: Connection refused. Server is busy(RC)(421)',
     'DAUM-02', '다음/카카오', 'retry', 'slow'),
    ('5.7.1 DZCNT 123.123.12.123: Message refused. Your domain has sent too many mails:mymailer.co.kr '
     'If you need, please contact stamp@daumcorp.com.(554)', 'DAUM-01', '다음/카카오', 'give-up', 'hold'),
    ('sorry, your IP is blacklisted.(544)', 'KR-01', '국내 메일 서버', 'give-up', 'hold'),
]


@pytest.mark.parametrize('reply,rule,provider,message,destination', KNOWN)
def test_known_replies(reply, rule, provider, message, destination):
    code, out, _ = explain('--json', reply)
    item = json.loads(out)['items'][0]['explanation']
    assert code == 0
    assert item['rule'] == rule
    assert item['provider']['ko'] == provider
    assert item['pabal']['message'] == message
    assert item['pabal']['destination'] == destination
    # The same from standard input, and in words.
    assert explain('--json', text=reply + '\n')[1] == out
    code, out, _ = explain(reply, lang='ko_KR.UTF-8')
    assert code == 0 and item['meaning']['ko'] in out and item['pabal']['ko'] in out


def test_language():
    english, korean = 'The mailbox does not exist', '존재하지 않는 메일 주소'
    assert english in explain('550 5.1.1')[1]
    assert korean in explain('550 5.1.1', lang='ko_KR.UTF-8')[1]
    assert korean in explain('--lang', 'ko', '550 5.1.1')[1]
    assert english in explain('--lang=en', '550', '5.1.1', lang='ko_KR.UTF-8')[1]
    assert explain('--lang', 'fr', '550')[0] == 64


def test_nothing_found():
    code, out, err = explain(text='good morning\n')
    assert code == 1 and out == '' and 'no reply' in err
    code, out, _ = explain('--json', text='')
    assert code == 1 and json.loads(out)['items'] == []


def test_list():
    code, out, _ = explain('--list')
    codes = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    # RFC 3463 and the registry of RFC 5248: 82 of them
    assert sum(c.startswith('X.') for c in codes) == 82
    assert 'X.7.30' in codes and '550' in codes and '544' in codes
    rows = json.loads(explain('--list', '--json')[1])
    assert all(r['meaning']['ko'] and r['meaning']['en'] and r['advice'] for r in rows)


def test_own_table(tmp_path):
    table = tmp_path / 'explain.tsv'
    table.write_text(explain('--export')[1])
    assert table.read_text() == (ROOT / 'share' / 'explain.tsv').read_text()
    own = 'reply\tOWN-1\t-\tgo away\tpolicy\tperm\tbounce\trecipient\tThey say no.\t거절합니다.\n'
    table.write_text(own + table.read_text())
    assert 'They say no.' in explain('--table', str(table), '550 go away')[1]
    config = tmp_path / 'pabal.conf'
    config.write_text(f'hostname = "mail.example.com"\ndata_dir = "{tmp_path}"\nexplain {{ file = "{table}" }}\n')
    code, out, err = explain('--config', str(config), '550 go away')
    assert code == 0, err
    assert 'They say no.' in out
    table.write_text('reply\tOWN-1\n')
    code, _, err = explain('--table', str(table), '550 go away')
    assert code == 65 and 'line 1: ' in err and str(table) in err
