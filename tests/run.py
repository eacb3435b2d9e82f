#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Builds pabal in all variants, runs every test and check, counts them.

    tests/run.py [STAGE...] [--jobs N] [--fuzz-seconds N] [--no-deps]

Stages, in this order, all of them when none is named: build unit thread fuzz check server.
The last line is "N passed, N failed"; the exit status is 1 if anything failed or no unit test
was found. Each cmocka test function, pytest case, fuzz target, build and check counts as one.
"""
import argparse
import concurrent.futures
import contextlib
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTDATA = ROOT.parent / 'shared' / 'testdata'
STAGES = ['build', 'unit', 'thread', 'fuzz', 'check', 'server']
THREADED = {'net', 'smtp', 'ipc', 'journal', 'store', 'base'}
OUTPUT_SHOWN = 12000  # characters of a failure's output

# directory: (environment, meson options)
BUILDS = {
    'build': ({}, []),
    'build-clang': ({'CC': 'clang'}, ['--buildtype=debug']),
    'build-asan': ({}, ['-Db_sanitize=address,undefined', '-Dfaults=true', '-Ddebug_checks=true',
                        '-Doptimization=1']),
    'build-tsan': ({}, ['-Db_sanitize=thread', '-Ddebug_checks=true', '-Doptimization=1']),
    'build-fuzz': ({'CC': 'clang'}, ['-Dfuzz=true', '-Doptimization=1']),
}

# Published cases as seeds and dictionaries, by module, where they are at hand.
SEEDS = {
    'mime': ['mime/eml', 'dkim/corpus'], 'mail': ['mime/eml'], 'sender_auth': ['dkim/corpus'],
    'explain': ['mime/eml'], 'sieve': ['sieve'], 'imap': ['imap/imaptest-tests'],
}
DICTIONARIES = {
    'imap': 'fuzz-imap-bodystructure.dict', 'mime': 'fuzz-message-parser.dict',
    'smtp': 'fuzz-smtp-server.dict', 'auth': 'fuzz-sasl-authentication.dict',
    'json': 'fuzz-json-istream.dict', 'http': 'fuzz-http-request-parser.dict',
}


class Results:
    """What passed and failed, in all stages."""

    def __init__(self):
        self.passed = self.failed = self.skipped = self.unit = 0
        self.failures = []
        self.lock = threading.Lock()

    def add(self, name, good, output=''):
        with self.lock:
            self.passed += bool(good)
            self.failed += not good
        if good:
            return
        self.failures.append(name)
        output = output.strip()
        if len(output) > OUTPUT_SHOWN:
            half = OUTPUT_SHOWN // 2
            output = f'{output[:half]}\n[...]\n{output[-half:]}'
        print(f'\nFAILED {name}\n' + '\n'.join('    ' + line for line in output.split('\n')), flush=True)

    def skip(self, name, why):
        with self.lock:
            self.skipped += 1
        print(f'skipped {name}: {why}', flush=True)


@contextlib.contextmanager
def stage(name):
    print(f'== {name}', flush=True)
    start = time.monotonic()
    yield
    print(f'== {name}: {time.monotonic() - start:.1f} s', flush=True)


def run(command, timeout, env=None, cwd=ROOT):
    """Runs in a process group of its own, which is ended with it. Returns (exit status, output)."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([str(c) for c in command], cwd=cwd, env={**os.environ, **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        note = ''
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status, note = 124, f'\n[ended after {timeout} s]'
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        out.seek(0)
        return status, out.read().decode('utf-8', 'replace') + note


def in_parallel(jobs, function, items):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(function, items)


def meson_tests(directory):
    status, output = run(['meson', 'introspect', '--tests', directory], 60)
    if status != 0:
        return []
    return [(t['name'], t['suite'][0].split(':')[-1], t['cmd'][0]) for t in json.loads(output)]


# build

def build(results, directory, jobs, targets=()):
    env, options = BUILDS[directory]
    env = {**env, 'JOBS': str(jobs), 'QUIET': '1', 'ONLY': ' '.join(targets)}
    with stage(f'build {directory}'):
        status, output = run(['tools/build.sh', directory, *options], 1800, env)
        results.add(f'build {directory}', status == 0, output)
    return status == 0


def build_all(results, jobs):
    for directory in BUILDS:
        if directory != 'build-tsan':
            # some tests of whole servers use the client of the benchmark
            build(results, directory, jobs, ('all', 'bench-load') if directory == 'build' else ())
    # Of the thread sanitizer's build only what is run: the list of the other builds says what.
    tests = [os.path.basename(cmd) for _, suite, cmd in meson_tests('build') if suite in THREADED]
    if tests:
        build(results, 'build-tsan', jobs, tests)


# unit tests

TAP_LINE = re.compile(r'^(not ok|ok) \d+ - (\S+)(.*)$')


def run_cmocka(label, name, program):
    """Returns (name, passed, output) per test function; None: not for this build."""
    env = {'CMOCKA_MESSAGE_OUTPUT': 'TAP', 'UBSAN_OPTIONS': 'print_stacktrace=1',
           'TSAN_OPTIONS': 'halt_on_error=0'}
    command = [program]
    if label == 'tsan' and run(['setarch', '-R', 'true'], 10)[0] == 0:
        command = ['setarch', '-R', program]  # the runtime of gcc 12 knows 28 random bits only
    status, output = run(command, 300, env)
    cases = []
    if status == 77:  # says itself that this build is not for it
        return None
    for line in output.split('\n'):
        match = TAP_LINE.match(line)
        if match:
            cases.append((f'{label} {name} {match.group(2)}', match.group(1) == 'ok', output))
    if not cases or (status != 0 and all(good for _, good, _ in cases)):
        cases.append((f'{label} {name} (exit status {status})', False, output))
    return cases


def unit(results, label, directory, jobs, suites=None):
    with stage(f'unit tests, {label}'):
        tests = [t for t in meson_tests(directory) if suites is None or t[1] in suites]
        tests = [t for t in tests if os.access(t[2], os.X_OK)]
        for cases in in_parallel(jobs, lambda t: run_cmocka(label, t[0], t[2]), tests):
            if cases is None:
                results.skipped += 1
                continue
            for name, good, output in cases:
                results.unit += 1
                results.add(name, good, output)


# fuzzing

def fuzz_target(program, seconds):
    name = program.name[:-len('_fuzz')]
    module = name.split('_')[0] if not name.startswith('sender_auth') else 'sender_auth'
    with tempfile.TemporaryDirectory() as found:
        is_long = seconds > 60
        # What a long run finds is kept, so that the next one starts from it.
        keep = ROOT / 'build-fuzz' / 'corpus' / name
        if is_long:
            keep.mkdir(parents=True, exist_ok=True)
        command = [program, f'-max_total_time={seconds}', '-timeout=10', '-rss_limit_mb=2048', '-max_len=65536',
                   '-print_final_stats=0', '-verbosity=0',
                   f'-artifact_prefix={ROOT}/build-fuzz/{name}-']
        if not is_long:
            command += ['-seed=1', '-runs=400000']
        dictionary = TESTDATA / 'fuzz' / DICTIONARIES.get(module, 'none')
        if dictionary.is_file():
            command.append(f'-dict={dictionary}')
        seeds = [ROOT / 'tests' / 'corpus' / name] + [TESTDATA / s for s in SEEDS.get(module, [])]
        command += [keep if is_long else found, *(s for s in seeds if s.is_dir())]
        status, output = run(command, seconds * 3 + 120,
                             {'ASAN_OPTIONS': 'detect_leaks=1', 'UBSAN_OPTIONS': 'print_stacktrace=1'})
    return name, status, output


def fuzz(results, jobs, seconds):
    with stage(f'fuzzing, {seconds} s each'):
        programs = sorted(pathlib.Path(p) for p in glob.glob(str(ROOT / 'build-fuzz' / '*_fuzz')))
        for name, status, output in in_parallel(jobs, lambda p: fuzz_target(p, seconds), programs):
            results.add(f'fuzz {name}', status == 0, output)


# checks

def check_command(results, name, command, timeout=300):
    status, output = run(command, timeout)
    results.add(f'check {name}', status == 0, output)


def check_headers(results, jobs):
    """Each header compiles alone."""
    def alone(header):
        with tempfile.NamedTemporaryFile('w', suffix='.c') as f:
            f.write(f'#include "{header.relative_to(ROOT / "src")}"\n')
            f.flush()
            return header, *run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-Isrc', '-Wall', '-Wextra', '-Werror',
                                 '-Wno-unused-function', '-fsyntax-only', f.name], 60)
    bad = ''
    for header, status, output in in_parallel(jobs, alone, sorted((ROOT / 'src').rglob('*.h'))):
        if status != 0:
            bad += f'{header.relative_to(ROOT)}\n{output}\n'
    results.add('check headers', not bad, bad)


def check_cppcheck(results, jobs):
    cache = ROOT / 'build' / 'cppcheck'
    cache.mkdir(parents=True, exist_ok=True)
    check_command(results, 'cppcheck', [
        'cppcheck', '--quiet', f'-j{jobs}', '--enable=warning,portability', '--inline-suppr', '--std=c11',
        '--error-exitcode=1', '--suppressions-list=tools/cppcheck.txt', f'--cppcheck-build-dir={cache}',
        '-D__linux__', '-D__x86_64__', '-DUINT64_MAX=18446744073709551615ULL', '-Isrc', 'src'], 600)


def check_clang_tidy(results, jobs):
    """.clang-tidy names the checks."""
    if not (ROOT / 'build-clang' / 'compile_commands.json').is_file():
        results.add('check clang-tidy', False, 'build-clang is not there')
        return
    sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'src').rglob('*.c')
                     if not p.name.endswith('_fuzz.c'))
    chunks = [sources[i:i + 8] for i in range(0, len(sources), 8)]
    bad = ''
    for status, output in in_parallel(
            jobs, lambda files: run(['clang-tidy', '--quiet', '-p', 'build-clang', *files], 600), chunks):
        if status != 0:
            bad += re.sub(r'(?m)^\d+ warnings? generated\.\n', '', output)
    results.add('check clang-tidy', not bad, bad)


def check(results, jobs):
    with stage('checks'):
        check_command(results, 'include directions', ['tools/check_includes.py'])
        for rule in ('spdx', 'width', 'text'):
            check_command(results, rule, ['tools/check_style.py', rule])
        check_command(results, 'shell scripts', ['shellcheck', '.ci/run', *glob.glob('tools/*.sh')])
        check_headers(results, jobs)
    with stage('cppcheck'):
        check_cppcheck(results, jobs)
    with stage('clang-tidy'):
        check_clang_tidy(results, jobs)


# whole server

OWN_NETWORK = ['/usr/bin/python3', 'tests/own_network.py']


def server(results, label, binary, around, *options):
    if not glob.glob(str(ROOT / 'tests' / '**' / 'test_*.py'), recursive=True):
        return
    with stage(f'whole server, {label}'), tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / 'report.xml'
        status, output = run(
            [*around, '/usr/bin/python3', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'--junitxml={report}',
             '-o', 'faulthandler_timeout=180', '-o', 'junit_family=xunit2', *options, 'tests'], 1500,
            {'PABAL_BINARY': str(binary), 'PYTHONDONTWRITEBYTECODE': '1',
             # Unit tests look for leaks; what a process holds until its end is none.
             'ASAN_OPTIONS': 'detect_leaks=0', 'UBSAN_OPTIONS': 'print_stacktrace=1'})
        cases = ElementTree.parse(report).getroot().iter('testcase') if report.is_file() else []
        bad = 0
        for case in cases:
            name = f'{label} {case.get("classname")}.{case.get("name")}'
            problems = [p for p in case if p.tag in ('failure', 'error')]
            if case.find('skipped') is not None and not problems:
                results.skip(name, case.find('skipped').get('message'))
                continue
            bad += bool(problems)
            results.add(name, not problems, '\n'.join(p.text or '' for p in problems))
        if status not in (0, 5) and not bad:
            results.add(f'{label} pytest (exit status {status})', False, output)


def main():
    parser = argparse.ArgumentParser(description='Builds and tests pabal.')
    parser.add_argument('stages', nargs='*', metavar='STAGE', help=' '.join(STAGES))
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    parser.add_argument('--fuzz-seconds', type=int, default=3)
    parser.add_argument('--no-deps', action='store_true', help='do not look for missing packages')
    options = parser.parse_args()
    wanted = options.stages or STAGES
    if set(wanted) - set(STAGES):
        parser.error(f'stages are {" ".join(STAGES)}')

    start = time.monotonic()
    results = Results()
    os.chdir(ROOT)
    if not options.no_deps:
        with stage('packages'):
            status, output = run(['sh', 'tools/deps.sh', 'build', 'test', 'fuzz'], 1800)
            print(output, end='')
            if status != 0:
                results.add('packages', False, output)
    if shutil.which('meson') is None:
        results.add('meson', False, 'meson is not installed')
    elif 'build' in wanted:
        build_all(results, options.jobs)
    if 'unit' in wanted:
        unit(results, 'gcc', 'build', options.jobs)
        unit(results, 'asan', 'build-asan', options.jobs)
    if 'thread' in wanted:
        unit(results, 'tsan', 'build-tsan', options.jobs, THREADED)
    if 'fuzz' in wanted:
        fuzz(results, options.jobs, options.fuzz_seconds)
    if 'check' in wanted:
        check(results, options.jobs)
    if 'server' in wanted:
        # Most of their time these tests wait: both at once, where they cannot take each other's ports.
        apart = run([*OWN_NETWORK, 'true'], 10)[0] == 0
        around = OWN_NETWORK if apart else []
        both = (('server', ROOT / 'build' / 'pabal', around),
                ('server-asan', ROOT / 'build-asan' / 'pabal', around, '--ignore=tests/test_build.py'))
        list(in_parallel(2 if apart else 1, lambda one: server(results, *one), both))
    if 'unit' in wanted and results.unit == 0:
        results.add('unit tests', False, 'no unit test was found')

    print(f'\n== everything: {time.monotonic() - start:.0f} s')
    if results.skipped:
        print(f'skipped: {results.skipped}')
    for name in results.failures:
        print(f'failed: {name}')
    print(f'{results.passed} passed, {results.failed} failed', flush=True)
    sys.exit(1 if results.failed else 0)


if __name__ == '__main__':
    main()
