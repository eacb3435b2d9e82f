#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Checks that modules include only what stands above them, and no other folder's *_int.h.

Prints "file:line: message" for each breach; the exit status is 1 if there is any. With --list it
prints the order.
"""
import pathlib
import re
import sys

# From the lowest layer to the highest. A module may include itself and those before it.
ORDER = ['base', 'config', 'json', 'sql', 'crypto', 'audit', 'net', 'ipc', 'dns', 'mail', 'mime', 'explain',
         'directory', 'auth', 'sender_auth', 'policy', 'journal', 'store', 'sieve', 'managesieve', 'queue', 'smtp',
         'imap', 'pop3', 'http', 'jmap', 'proc', 'import',
         'cli']
RANK = {name: rank for rank, name in enumerate(ORDER)}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def breach(module, folder, included):
    """Why a file of the module, in that folder below src, may not include this; or None."""
    parts = included.split('/')
    if len(parts) < 2:
        return f'"{included}" names no module'
    target = parts[0]
    if target not in RANK:
        return f'"{included}": no such module'
    if module is not None and RANK[target] > RANK[module]:
        return f'{module} includes "{included}", which stands above it'
    if included.endswith('_int.h') and '/'.join(parts[:-1]) != folder and target != module:
        return f'"{included}" is private to {target}'
    return None


def check(root):
    found = []
    for path in sorted((root / 'src').rglob('*')):
        if path.suffix not in ('.c', '.h', '.def'):
            continue
        parts = path.relative_to(root / 'src').parts
        module = parts[0] if len(parts) > 1 else None
        if module is not None and module not in RANK:
            found.append(f'{path.relative_to(root)}:1: module {module} is not in the order')
            continue
        for number, line in enumerate(path.read_text(encoding='utf-8', errors='replace').split('\n'), 1):
            match = INCLUDE.match(line)
            why = match and breach(module, '/'.join(parts[:-1]), match.group(1))
            if why:
                found.append(f'{path.relative_to(root)}:{number}: {why}')
    return found


def main():
    if sys.argv[1:] == ['--list']:
        print('\n'.join(ORDER))
        return
    found = check(pathlib.Path(__file__).resolve().parent.parent)
    print('\n'.join(found) if found else 'include directions are right')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
