#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Checks what can be seen without compiling: licence header, width, ends of lines.

Usage: check_style.py spdx|width|text. Prints "file:line: message"; exit status 1 if any.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = {'.c', '.h', '.def', '.sql', '.py', '.sh', '.build', '.ts', '.tsx', '.svelte', '.css', '.conv',
           '.service', '.1', '.5', '.8'}
NAMES = {'Makefile', 'meson_options.txt', '.clang-tidy'}
COLUMNS = 110
TAB = 8


def files():
    """Files that are, or would be, in the repository."""
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                            cwd=ROOT, stdout=subprocess.PIPE, check=False).stdout.split(b'\0')
    if listed == [b'']:  # an unpacked archive
        listed = [str(p.relative_to(ROOT)).encode() for top in ('src', 'tools', 'tests', 'web')
                  for p in (ROOT / top).rglob('*')]
    for name in sorted(filter(None, listed)):
        path = ROOT / name.decode()
        is_data = 'corpus' in path.parts or 'data' in path.parts or 'node_modules' in path.parts
        if path.is_file() and not is_data and (path.suffix in SOURCES or path.name in NAMES):
            yield path


def lines_of(path):
    return path.read_text(encoding='utf-8', errors='replace').split('\n')


def spdx(path):
    head = '\n'.join(lines_of(path)[:6])
    if 'SPDX-License-Identifier: Apache-2.0' not in head:
        yield 1, 'no SPDX header'
    elif 'Copyright the pabal authors' not in head:
        yield 1, 'the header does not name the pabal authors'


def width(path):
    if path.suffix not in ('.c', '.h', '.def'):
        return
    for number, line in enumerate(lines_of(path), 1):
        columns = len(line.expandtabs(TAB))
        if columns > COLUMNS:
            yield number, f'{columns} columns, {COLUMNS} is the limit'


def text(path):
    content = path.read_bytes()
    if b'\r' in content and path.suffix != '.conv':
        yield content[:content.index(b'\r')].count(b'\n') + 1, 'carriage return'
    if content and not content.endswith(b'\n'):
        yield content.count(b'\n') + 1, 'no newline at the end'
    if path.suffix in ('.c', '.h', '.def', '.py', '.sh'):
        for number, line in enumerate(content.split(b'\n'), 1):
            if line != line.rstrip():
                yield number, 'blanks at the end of the line'
    if path.suffix == '.h' and b'#pragma once' not in content:
        yield 1, 'no #pragma once'


def main():
    rule = {'spdx': spdx, 'width': width, 'text': text}[sys.argv[1]]
    found = [f'{path.relative_to(ROOT)}:{number}: {why}' for path in files() for number, why in rule(path)]
    print('\n'.join(found) if found else f'{sys.argv[1]}: right')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
