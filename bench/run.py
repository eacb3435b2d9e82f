#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""pabal beside Postfix and Dovecot: the same load on both, every message checked. See README.md.

    bench/run.py [--quick] [--only ROW,...] [--servers both|pabal|reference] [--dir DIR] [--keep]

Rows: start rest accept single login notice append big ops idle relay dkim queued. The table goes to standard output, all
that was measured to results.json in DIR (default var/bench). Ends with status 1 when a message is lost,
doubled or changed, or a server fails; a requirement that is not met is shown, no more.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import smtplib
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import procs
from servers import (BIG, DOMAIN, HOST, ROOT, VMAIL, BenchError, Pabal, PostfixDovecot, free_port_base, free_ports,
                     run)

ROWS = ['start', 'rest', 'accept', 'single', 'login', 'notice', 'append', 'big', 'ops', 'idle', 'relay', 'dkim', 'queued']
PASSWORD = 'correct-horse-battery'
ACCOUNTS = 100
SESSIONS = 50
RELAY_SESSIONS = 20
SIZE = 4096
QUIET_SECONDS = 3  # until what a server does after the last answer is over (settling, queue files)
LOAD_SECONDS = 300  # no single load takes longer
CLEAN_SECONDS = 60

# A server gets as many messages as keep it busy for some seconds; the count is a pair (reference, pabal).
FULL = {'starts': 5, 'rounds': 3, 'accept': (1500, 15000), 'single_rounds': 3, 'single': (150, 300),
        'login_rounds': 3, 'login': (400, 1000), 'notice': 50, 'big': 100000, 'big_rounds': 5, 'ops': 10000,
        'append_rounds': 3, 'append1': (150, 600), 'append10': (600, 3000),
        'idle': (500, 5000), 'fsync_seconds': 1.0,
        'relay_rounds': 3, 'relay': (1000, 15000), 'relay100': (100, 1000), 'dead': (1000, 15000),
        'queued': 1000000}
QUICK = {'starts': 2, 'rounds': 1, 'accept': (400, 4000), 'single_rounds': 1, 'single': (50, 100),
         'login_rounds': 1, 'login': (100, 200), 'notice': 6, 'big': 10000, 'big_rounds': 2, 'ops': 2000,
         'append_rounds': 1, 'append1': (60, 200), 'append10': (200, 1000),
         'idle': (300, 2000), 'fsync_seconds': 0.5,
         'relay_rounds': 1, 'relay': (400, 6000), 'relay100': (50, 400), 'dead': (400, 6000), 'queued': 50000}


def median(values):
    return statistics.median(values) if values else None


def say(text):
    print(text, flush=True)


class Load:
    """A run of build/bench-load: lines of JSON out, newlines in."""

    def __init__(self, *args, stay=False, seconds=LOAD_SECONDS):
        self.stay = stay
        self.child = subprocess.Popen([str(ROOT / 'build' / 'bench-load'), *map(str, args)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.timer = threading.Timer(seconds, self.child.kill)
        self.timer.daemon = True
        self.timer.start()

    def line(self):
        line = self.child.stdout.readline()
        if not line:
            self._fail()
        return json.loads(line)

    def go(self):
        self.child.stdin.write(b'\n')
        self.child.stdin.flush()

    def end(self):
        """Lets it close its connections; returns what it says last, if anything."""
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()
        rest = self.child.stdout.read().strip()
        if self.child.wait() != 0:
            self._fail()
        self.timer.cancel()
        return json.loads(rest) if rest else None

    def _fail(self):
        why = self.child.stderr.read().decode(errors='replace').strip()
        self.child.kill()
        self.child.wait()
        self.timer.cancel()
        raise BenchError(why or 'the load generator was stopped: too slow')


def load(*args, seconds=LOAD_SECONDS):
    """A run that needs no talk: its one answer."""
    return Load(*args, seconds=seconds).end()


class Bench:
    def __init__(self, options, top, run_dir):
        self.counts = QUICK if options.quick else FULL
        self.rows = options.rows
        self.top, self.run_dir = top, run_dir
        self.options = options
        self.data = {}  # server name: what was measured
        self.fsync = []
        self.sent = {}  # server name: {seed: count}
        self.servers = []

    # ---- setting up

    def set_up(self):
        hashes = subprocess.run(['openssl', 'passwd', '-6', '-stdin'], check=True, stdout=subprocess.PIPE,
                                input=f'{PASSWORD}\n'.encode() * (ACCOUNTS + 1)).stdout.decode().split()
        passwords = {f'u{i}@{DOMAIN}': hashes[i] for i in range(ACCOUNTS)}
        passwords[BIG] = hashes[ACCOUNTS]
        if self.options.servers != 'pabal':
            self.servers.append(PostfixDovecot(self.top / 'reference', free_port_base(), self.run_dir, passwords))
            self.servers[-1].index = 0
        if self.options.servers != 'reference':
            base = free_port_base() + (1000 if self.servers else 0)
            self.servers.append(Pabal(self.top / 'pabal', base, passwords))
            self.servers[-1].index = 1
        for server in self.servers:
            self.data[server.name] = {}
            self.sent[server.name] = {}

    def put(self, server, key, value):
        self.data[server.name].setdefault(key, []).append(value)

    def count(self, key, server):
        return self.counts[key][server.index]

    def measure_disk(self):
        self.fsync.append(load('fsync', self.top / 'fsync', self.counts['fsync_seconds']))

    # ---- rows

    def start(self):
        for _ in range(self.counts['starts']):
            for server in self.servers:
                self.put(server, 'start_seconds', server.start())
                server.stop()

    def rest(self):
        """Each alone, after a first message and a first login."""
        for server in self.servers:
            server.start()
            self.deliver(server, 'rest', 1, 1, None, accounts=1)
            time.sleep(QUIET_SECONDS)
            self.put(server, 'rest_kib', procs.pss_kib(server.roots))
            self.put(server, 'rest_processes', procs.count(server.roots))
            server.stop()

    def deliver(self, server, seed, sessions, messages, key, accounts=ACCOUNTS):
        """One load; under key go the rates, and what the server's processes used up."""
        work = Load('deliver', HOST, server.ports['smtp'], sessions, messages, SIZE, accounts, DOMAIN, seed,
                    server.ports['imaps'], PASSWORD)
        work.line()
        time.sleep(0.3)
        cpu = procs.cpu_seconds(server.roots)
        work.go()
        result = work.line()
        if key:
            time.sleep(QUIET_SECONDS)
        cpu = procs.cpu_seconds(server.roots) - cpu
        work.end()
        self.sent[server.name][seed] = messages
        if not key:
            return
        self.put(server, f'{key}_per_second', messages / result['accepted_seconds'])
        self.put(server, f'{key}_visible_per_second', messages / result['visible_seconds'])
        self.put(server, f'{key}_cpu_us', cpu / messages * 1e6)
        self.put(server, f'{key}_load_cpu_us', result['load_cpu'] / messages * 1e6)
        self.put(server, f'{key}_polls', result['polls'])

    def accept(self):
        for i in range(self.counts['rounds']):
            self.measure_disk()
            for server in self.servers:
                self.deliver(server, f'a{i}', SESSIONS, self.count('accept', server), 'accept')

    def single(self):
        for i in range(self.counts['single_rounds']):
            self.measure_disk()
            for server in self.servers:
                self.deliver(server, f's{i}', 1, self.count('single', server), 'single')

    def login(self):
        for _ in range(self.counts['login_rounds']):
            for server in self.servers:
                cpu = procs.cpu_seconds(server.roots)
                result = load('login', HOST, server.ports['imaps'], 8, self.count('login', server), ACCOUNTS,
                              DOMAIN, PASSWORD, 'tls')
                self.put(server, 'login_per_second', result['per_second'])
                self.put(server, 'login_cpu_us',
                         (procs.cpu_seconds(server.roots) - cpu) / result['logins'] * 1e6)

    def notice(self):
        for server in self.servers:
            result = load('notice', HOST, server.ports['smtp'], self.counts['notice'], SIZE, f'u0@{DOMAIN}', 'n',
                          server.ports['imaps'], PASSWORD)
            self.data[server.name]['notice_ms'] = result['ms']
            self.sent[server.name]['n'] = self.counts['notice']

    def append(self):
        for i in range(self.counts['append_rounds']):
            self.measure_disk()
            for connections in (1, 10):
                for server in self.servers:
                    n, seed = self.count(f'append{connections}', server), f'p{connections}-{i}'
                    cpu = procs.cpu_seconds(server.roots)
                    result = load('append', HOST, server.ports['imaps'], connections, n, SIZE, ACCOUNTS, DOMAIN, seed,
                                  PASSWORD, 'tls')
                    self.sent[server.name][seed] = n
                    self.put(server, f'append{connections}_per_second', n / result['seconds'])
                    self.put(server, f'append{connections}_cpu_us',
                             (procs.cpu_seconds(server.roots) - cpu) / n * 1e6)

    def need_big(self):
        for server in self.servers:
            path, uid, gid = server.maildir(BIG)
            if not path.exists():
                load('maildir', path, self.counts['big'], 'big', uid, gid)

    def commands(self, server, *commands):
        """Each once, on one connection. All answers."""
        return load('fetch', HOST, server.ports['imaps'], BIG, PASSWORD, 'tls', 1, *commands)['commands']

    def ops(self):
        """On the first 10,000 messages of the big mailbox; then on copies of them."""
        self.need_big()
        n = self.counts['ops']
        hashes = {}
        for server in self.servers:
            for item, key in (('ENVELOPE', 'envelope'), ('BODYSTRUCTURE', 'structure')):
                for prefix in ['cold'] + ['warm'] * self.counts['big_rounds']:
                    cpu = procs.cpu_seconds(server.roots)
                    answer = self.commands(server, 'EXAMINE INBOX', f'FETCH 1:{n} ({item})')[1]
                    self.put(server, f'{prefix}_{key}_ms', answer['seconds'][0] * 1000)
                    self.put(server, f'{prefix}_{key}_cpu_ms', (procs.cpu_seconds(server.roots) - cpu) * 1000)
                    if answer['lines'] != n:
                        raise BenchError(f'{server.name}: FETCH {item} gave {answer["lines"]} lines, not {n}')
                hashes.setdefault(item, set()).add(answer['hash'])
            answers = self.commands(
                server, 'CREATE Copied', 'CREATE Moved', 'SELECT INBOX', f'STORE 1:{n} +FLAGS (\\Flagged)',
                f'COPY 1:{n} Copied', 'SELECT Copied', 'MOVE 1:* Moved', 'SELECT Moved',
                'STORE 1:* +FLAGS (\\Deleted)', 'EXPUNGE')
            for at, key in ((3, 'store'), (4, 'copy'), (6, 'move'), (9, 'expunge')):
                self.put(server, f'{key}_ms', answers[at]['seconds'][0] * 1000)
        for item, values in hashes.items():
            if len(values) > 1:
                raise BenchError(f'the answers to FETCH {item} differ')

    def big(self):
        self.need_big()
        for server in self.servers:
            for prefix in ['cold'] + ['warm'] * self.counts['big_rounds']:
                # each on a new connection: selecting again what is selected is another thing
                result = load('fetch', HOST, server.ports['imaps'], BIG, PASSWORD, 'tls', 1, 'SELECT INBOX',
                              'FETCH 1:* (FLAGS)')
                for key, answer in zip(('select', 'fetch'), result['commands']):
                    self.put(server, f'{prefix}_{key}_ms', answer['seconds'][0] * 1000)
                fetched = result['commands'][1]
                seen = sum(1 for i in range(self.counts['big']) if i % 6 in (1, 2, 3, 5))
                if fetched['lines'] < self.counts['big'] or fetched['seen'] != seen:
                    raise BenchError(f'{server.name}: FETCH FLAGS gave {fetched["lines"]} lines, {fetched["seen"]} '
                                     f'with \\Seen; {self.counts["big"]} and {seen} are right')

    def verify(self):
        for server in self.servers:
            seeds = self.sent[server.name]
            if not seeds:
                continue
            result = load('verify', HOST, server.ports['imaps'], ACCOUNTS, DOMAIN, PASSWORD, 'tls', SIZE,
                          *(f'{seed}:{count}' for seed, count in seeds.items()))
            self.data[server.name]['verified'] = result['messages']
            say(f'{server.name}: {result["messages"]} messages are where they belong, each once, byte for byte')

    def idle(self):
        """Each alone; growth from a server that has served a few logins already."""
        for server in self.servers:
            for mode in server.IDLE_MODES:
                server.idle_mode(mode)
                server.start()
                load('login', HOST, server.ports['imaps'], 4, 20, ACCOUNTS, DOMAIN, PASSWORD, 'tls')
                time.sleep(QUIET_SECONDS)
                before = procs.pss_kib(server.roots)
                n = self.count('idle', server)
                work = Load('idle', HOST, server.ports['imaps'], n, ACCOUNTS, DOMAIN, PASSWORD, 'tls')
                opened = work.line()
                kib = self.settled_pss(server)
                self.put(server, f'idle_{mode}_kib', (kib - before) / n)
                self.put(server, f'idle_{mode}_connections', n)
                self.put(server, f'idle_{mode}_processes', procs.count(server.roots))
                self.put(server, f'idle_{mode}_open_seconds', opened['seconds'])
                if work.end() != {'alive': n}:
                    raise BenchError(f'{server.name}: not all idle connections lived')
                server.stop()
            server.idle_mode(None)

    def relay(self):
        """Submitted with TLS and login, sent on to a server that takes everything; both servers run."""
        sink, dead = free_ports(2)
        for server in self.servers:
            server.relay_mode(sink, dead)
            server.start()
        for i in range(self.counts['relay_rounds']):
            self.measure_disk()
            for server in self.servers:
                self.send(server, sink, f'r{i}', self.count('relay', server), 'relay')
        for i in range(self.counts['relay_rounds']):
            for server in self.servers:
                self.send(server, sink, f'h{i}', self.count('relay100', server), 'relay100', rcpts=100)
        for i in range(self.counts['relay_rounds']):
            for server in self.servers:
                count = self.count('dead', server)
                alive = self.send(server, sink, f'l{i}', count, None, domains=10)
                self.put(server, 'dead_percent', 100 * self.send(server, sink, f'd{i}', count, None, domains=10, dead=1)
                         / alive)
        for server in self.servers:
            server.stop()
            server.relay_mode(None, None)

    def dkim(self):
        """As relay, and signed on the way with one RSA key of 2,048 bits; Postfix by opendkim."""
        sink, = free_ports(1)
        key = self.top / 'dkim.pem'
        run(['openssl', 'genrsa', '-out', key, '2048'])
        for server in self.servers:
            server.relay_mode(sink, None, key)
            server.start()
        for i in range(self.counts['relay_rounds']):
            for server in self.servers:
                self.send(server, sink, f'k{i}', self.count('relay', server), 'dkim')
        for server in self.servers:
            server.stop()
            server.relay_mode(None, None)

    def send(self, server, sink, seed, messages, key, rcpts=1, domains=1, dead=0):
        """Recipients' copies of living domains per second."""
        work = Load('relay', HOST, server.ports['submissions'], RELAY_SESSIONS, messages, SIZE, rcpts, domains, dead,
                    seed, f'u0@{DOMAIN}', PASSWORD, sink)
        work.line()
        time.sleep(0.3)
        cpu = procs.cpu_seconds(server.roots)
        work.go()
        result = work.line()
        time.sleep(QUIET_SECONDS)
        cpu = procs.cpu_seconds(server.roots) - cpu
        result.update(work.end())
        if key:
            self.put(server, f'{key}_per_second', messages / result['relayed_seconds'])
            self.put(server, f'{key}_accepted_per_second', messages / result['accepted_seconds'])
            self.put(server, f'{key}_cpu_us', cpu / messages * 1e6)
            self.put(server, f'{key}_load_cpu_us', result['load_cpu'] / messages * 1e6)
            self.put(server, f'{key}_transactions', result['transactions'])
        return messages / result['relayed_seconds']

    def queued(self):
        """pabal alone, with mail for 1,000 destinations none of which can be reached: what so many cost."""
        server = next((s for s in self.servers if isinstance(s, Pabal)), None)
        if not server:
            return
        count = self.counts['queued']
        sink, dead = free_ports(2)
        server.relay_mode(sink, dead, queued=True)
        server.start()
        with smtplib.SMTP_SSL(HOST, server.ports['submissions'], context=ssl._create_unverified_context()) as s:
            s.login(f'u0@{DOMAIN}', PASSWORD)
            s.sendmail(f'u0@{DOMAIN}', ['q000000@q000.test'], 'Subject: waits\r\n\r\nwaits\r\n')
        deferred = server.dir / 'data' / 'spool' / 'deferred'
        for _ in range(200):
            if any(f.stat().st_size > 100 for f in deferred.iterdir()):
                break
            time.sleep(0.05)
        time.sleep(QUIET_SECONDS)
        server.cli('queue', 'hold', '--all', '--yes')
        empty = procs.pss_kib(server.roots)
        server.stop()
        template = next(deferred.iterdir())
        load('spool', template, deferred, count, VMAIL, VMAIL, seconds=1800)
        begin = time.monotonic()
        server.start()
        while True:  # the doors answer at once, the queue when it has read its spool
            with contextlib.suppress(BenchError):
                if json.loads(server.cli('queue', 'top', '--json'))['senders'][0]['waiting'] > count * 9 // 10:
                    break
            if time.monotonic() - begin > LOAD_SECONDS:
                raise BenchError('the queue does not come up')
            time.sleep(0.2)
        self.put(server, 'queued_start_seconds', time.monotonic() - begin)
        time.sleep(QUIET_SECONDS)
        self.put(server, 'queued_bytes', (procs.pss_kib(server.roots) - empty) * 1024 / count)
        for key, words in (('list', ('list', '--json')), ('find', ('list', '--domain', 'q500.test', '--json')),
                           ('status', ('status', '--json'))):
            begin = time.monotonic()
            server.cli('queue', *words)
            self.put(server, f'queued_{key}_seconds', time.monotonic() - begin)
        cpu = procs.cpu_seconds(server.roots)
        time.sleep(10)
        self.put(server, 'queued_cpu_percent', (procs.cpu_seconds(server.roots) - cpu) * 10)
        server.stop()
        server.relay_mode(None, None)

    def settled_pss(self, server):
        """When it no longer falls, or after a while."""
        kib = procs.pss_kib(server.roots)
        for _ in range(10):
            time.sleep(QUIET_SECONDS)
            last, kib = kib, procs.pss_kib(server.roots)
            if abs(last - kib) <= last / 200:
                break
        return kib

    # ---- all of it

    def run(self):
        say('disk, start, rest ...')
        self.measure_disk()
        for row in ('start', 'rest'):
            if row in self.rows:
                getattr(self, row)()
        loaded = [row for row in ('accept', 'single', 'login', 'notice', 'append', 'big', 'ops') if row in self.rows]
        if loaded or any(self.sent.values()):
            for server in self.servers:
                server.start()
            for row in loaded:
                say(f'{row} ...')
                getattr(self, row)()
            say('reading everything back ...')
            self.verify()
            if loaded:
                time.sleep(QUIET_SECONDS)
                for server in self.servers:
                    self.put(server, 'after_kib', procs.pss_kib(server.roots))
            for server in self.servers:
                server.stop()
        if 'idle' in self.rows:
            say('idle connections ...')
            self.idle()
        if 'relay' in self.rows:
            say('relay ...')
            self.relay()
        if 'queued' in self.rows:
            say('queued ...')
            self.queued()
        if 'dkim' in self.rows:
            say('dkim ...')
            self.dkim()
        self.measure_disk()


# ---- the table --------------------------------------------------------------------------------

# row, text, key of the data, how to show, kind of requirement, required
# more: pabal / reference; less: reference / pabal; at most, at least: an absolute figure
TABLE = [
    ('accept', 'messages accepted/s, 4 KiB, 50 sessions', 'accept_per_second', '{:,.0f}', 'more', 20),
    ('accept', 'messages visible in IMAP/s, same load', 'accept_visible_per_second', '{:,.0f}', 'more', 15),
    ('accept', 'server CPU per delivered message, us', 'accept_cpu_us', '{:,.0f}', 'less', 15),
    ('single', 'messages accepted/s, one session', 'single_per_second', '{:,.0f}', 'more', 5),
    ('idle', 'PSS per idle IMAP connection (TLS), KiB', 'idle_default_kib', '{:,.1f}', 'less', None),
    ('idle', 'the same, Dovecot with shared logins', 'idle_shared_kib', '{:,.1f}', 'less', 20),
    ('idle', 'the same, Dovecot with imap-hibernate', 'idle_hibernate_kib', '{:,.1f}', 'less', 3),
    ('login', 'logins/s (TLS, 8 clients)', 'login_per_second', '{:,.0f}', 'more', 1),
    ('big', 'first SELECT of {big:,} messages, ms', 'cold_select_ms', '{:,.1f}', 'less', None),
    ('big', 'first FETCH 1:* (FLAGS), ms', 'cold_fetch_ms', '{:,.1f}', 'less', None),
    ('big', 'SELECT of {big:,} messages, ms', 'warm_select_ms', '{:,.1f}', 'less', 1),
    ('big', 'FETCH 1:* (FLAGS), ms', 'warm_fetch_ms', '{:,.1f}', 'less', 1),
    ('ops', 'first FETCH ENVELOPE of {ops:,}, ms', 'cold_envelope_ms', '{:,.1f}', 'less', None),
    ('ops', 'FETCH ENVELOPE of {ops:,}, ms', 'warm_envelope_ms', '{:,.1f}', 'less', 3),
    ('ops', 'FETCH BODYSTRUCTURE of {ops:,}, ms', 'warm_structure_ms', '{:,.1f}', 'less', 3),
    ('ops', 'STORE +FLAGS of {ops:,}, ms', 'store_ms', '{:,.1f}', 'less', 3),
    ('ops', 'COPY of {ops:,}, ms', 'copy_ms', '{:,.1f}', 'less', 3),
    ('ops', 'MOVE of {ops:,}, ms', 'move_ms', '{:,.1f}', 'less', 3),
    ('ops', 'EXPUNGE of {ops:,}, ms', 'expunge_ms', '{:,.1f}', 'less', 3),
    ('append', 'APPENDs/s, 4 KiB, one connection', 'append1_per_second', '{:,.0f}', 'more', 5),
    ('append', 'APPENDs/s, ten connections', 'append10_per_second', '{:,.0f}', 'more', 5),
    ('rest', 'PSS of the whole server at rest, MB', 'rest_mb', '{:,.1f}', 'at most', 30),
    ('accept', 'the same after the load, MB', 'after_mb', '{:,.1f}', 'at most', None),
    ('start', 'start to all listeners answering, s', 'start_seconds', '{:.3f}', 'at most', 0.5),
    ('relay', 'messages relayed/s, TLS and login, 20 sessions', 'relay_per_second', '{:,.0f}', 'more', 10),
    ('relay', 'server CPU per relayed message, us', 'relay_cpu_us', '{:,.0f}', 'less', 8),
    ('dkim', 'the same, signed with RSA 2048', 'dkim_per_second', '{:,.0f}', 'more', 8),
    ('dkim', 'server CPU per signed message, us', 'dkim_cpu_us', '{:,.0f}', 'less', None),
    ('relay', 'messages of 100 recipients relayed/s', 'relay100_per_second', '{:,.1f}', 'more', 5),
    ('relay', 'rate with one of 10 destinations dead, %', 'dead_percent', '{:,.1f}', 'at least', 95),
    ('queued', 'memory per queued message of {queued:,}, bytes', 'queued_bytes', '{:,.0f}', 'at most', 300),
    ('queued', 'start until the queue answers, s', 'queued_start_seconds', '{:,.1f}', 'at most', None),
    ('queued', 'queue list, s', 'queued_list_seconds', '{:,.2f}', 'at most', None),
    ('queued', 'queue list of one domain, s', 'queued_find_seconds', '{:,.2f}', 'at most', None),
    ('queued', 'queue status, s', 'queued_status_seconds', '{:,.2f}', 'at most', None),
    ('queued', 'CPU while they wait, % of a core', 'queued_cpu_percent', '{:,.1f}', 'at most', None),
    ('notice', '250 to EXISTS in IDLE, ms', 'notice_ms', '{:,.2f}', 'less', 20),
]
SMALLEST = 0.01  # what was too fast to measure counts as this


def figures(bench):
    """For each line of the table: what it shows."""
    lines = []
    for row, text, key, form, kind, required in TABLE:
        if row not in bench.rows:
            continue
        pabal, reference = (_figure(bench.data.get(name, {}), name, key) for name in (Pabal.name, PostfixDovecot.name))
        ratio = met = None
        if pabal is not None and reference is not None:
            ratio = pabal / max(reference, SMALLEST) if kind == 'more' else reference / max(pabal, SMALLEST)
        if kind in ('at most', 'at least'):
            ratio = None
            met = None if pabal is None or required is None else (pabal <= required) == (kind == 'at most')
        elif ratio is not None and required is not None:
            met = ratio >= required
        lines.append({'row': row, 'what': text.format(**bench.counts), 'form': form, 'pabal': pabal,
                      'reference': reference, 'ratio': ratio, 'kind': kind, 'required': required, 'met': met})
    return lines


def _figure(data, name, key):
    if key in ('rest_mb', 'after_mb'):
        value = median(data.get(key.replace('_mb', '_kib'), []))
        return None if value is None else value * 1024 / 1e6
    if key.startswith('idle_') and name == Pabal.name:
        key = 'idle_default_kib'
    return median(data.get(key, []))


def table(lines):
    yield f'{"":46}{"pabal":>11}{"postfix+":>11}{"ratio":>9}{"required":>11}  met'
    yield f'{"":46}{"":>11}{"dovecot":>11}'
    for line in lines:
        shown = [line['form'].format(line[k]) if line[k] is not None else '-' for k in ('pabal', 'reference')]
        ratio = '-' if line['ratio'] is None else f'{line["ratio"]:.1f} x'
        required = ''
        if line['required'] is not None:
            sign = {'at most': '<= ', 'at least': '>= '}.get(line['kind'], '')
            required = f'{sign}{line["required"]}' if sign else f'{line["required"]} x'
        met = {True: 'yes', False: 'NO', None: ''}[line['met']]
        yield f'{line["what"]:46}{shown[0]:>11}{shown[1]:>11}{ratio:>9}{required:>11}  {met}'


def machine(top):
    cpu = ''
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as f:
        for line in f:
            if line.startswith('model name'):
                cpu = line.split(':', 1)[1].strip()
    return {'cpu': cpu, 'cores': os.cpu_count(), 'kernel': platform.release(), 'file_system': file_system(top),
            'time': time.strftime('%Y-%m-%dT%H:%M:%S%z')}


# ---- where to put it --------------------------------------------------------------------------

def file_system(path):
    best = ('', '?')
    with open('/proc/self/mounts', encoding='utf-8', errors='replace') as f:
        for line in f:
            _, where, kind = line.split()[:3]
            where = where.replace('\\040', ' ')
            if (str(path) + '/').startswith(where.rstrip('/') + '/') and len(where) >= len(best[0]):
                best = (where, kind)
    return best[1]


def usable(directory):
    """Why not, or None: on a disk, and within reach of servers' users that are nobody here."""
    if file_system(directory) in ('tmpfs', 'ramfs'):
        return 'is in memory'
    for part in (directory, *directory.parents):
        if part.exists() and not part.stat().st_mode & 1:
            return f'is closed to other users at {part}'
    return None


def choose_directory(wanted):
    directory = pathlib.Path(wanted).resolve()
    why = usable(directory)
    if why and wanted == 'var/bench':
        other = pathlib.Path('/var/tmp/pabal-bench')
        say(f'{directory} {why}: using {other}')
        directory, why = other, usable(other)
    if why:
        raise BenchError(f'{directory} {why}')
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--quick', action='store_true', help='about a minute, smaller numbers')
    parser.add_argument('--only', default=','.join(ROWS), metavar='ROW,...', help=f'of {" ".join(ROWS)}')
    parser.add_argument('--servers', choices=['both', 'pabal', 'reference'], default='both')
    parser.add_argument('--dir', default='var/bench', help='on a disk; default var/bench')
    parser.add_argument('--keep', action='store_true', help='leave data and logs there')
    options = parser.parse_args()
    options.rows = options.only.split(',')
    wrong = [row for row in options.rows if row not in ROWS]
    if wrong:
        parser.error(f'no such row: {" ".join(wrong)}; there are {" ".join(ROWS)}')
    return options


def finish(bench, directory, seconds):
    lines = figures(bench)
    disk = {key: median([f[key] for f in bench.fsync]) for key in ('appends_per_second', 'files_per_second')}
    say('')
    for line in table(lines):
        say(line)
    say(f'\ndisk: {disk["appends_per_second"]:.0f} synced appends/s, {disk["files_per_second"]:.0f} synced files/s')
    results = directory / 'results.json'
    versions = {}
    for server in bench.servers:
        versions.update(server.versions())
    results.write_text(json.dumps({
        'machine': machine(directory), 'versions': versions, 'quick': bench.options.quick, 'seconds': round(seconds),
        'disk': bench.fsync, 'table': [{k: v for k, v in line.items() if k != 'form'} for line in lines],
        'measured': bench.data}, indent=1) + '\n')
    if 'SUDO_UID' in os.environ:
        os.chown(results, int(os.environ['SUDO_UID']), int(os.environ['SUDO_GID']))
    say(f'{results}  ({seconds:.0f} s)')


def main():
    options = arguments()
    targets = 'bench-load' if options.servers == 'reference' else 'bench-load pabal'
    subprocess.run([ROOT / 'tools' / 'build.sh', 'build'], check=True, env={**os.environ, 'ONLY': targets, 'QUIET': '1'},
                   stdout=subprocess.DEVNULL if options.quick else None)
    if os.geteuid() != 0:  # Postfix and Dovecot run as several users
        os.execvp('sudo', ['sudo', sys.executable, *sys.argv])
    procs.adopt_orphans()
    procs.allow_files()

    def ended(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)
    directory = choose_directory(options.dir)
    top = pathlib.Path(tempfile.mkdtemp(prefix='run-', dir=directory))
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix='pabal-bench-'))
    top.chmod(0o755)
    run_dir.chmod(0o755)
    begin = time.monotonic()
    bench = Bench(options, top, run_dir)
    try:
        bench.set_up()
        bench.run()
        finish(bench, directory, time.monotonic() - begin)
        return 0
    except BenchError as why:
        print(f'\nFAILED: {why}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped', file=sys.stderr)
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # nothing stays behind
            signal.signal(number, signal.SIG_IGN)
        procs.stop_all()
        if options.keep:
            say(f'kept: {top}')
        else:
            say('removing what was made ...')
            shutil.rmtree(top, ignore_errors=True)
        shutil.rmtree(run_dir, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
