#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""embed.py OUT.c NAME FILE...: writes the files as const struct embedded_file NAME[].

The array ends with a row whose name is NULL; rows stand in the order of the file names. Each
content is followed by a NUL byte that its size does not count.
"""
import os
import sys


def main():
    out, name, files = sys.argv[1], sys.argv[2], sorted(sys.argv[3:], key=os.path.basename)
    lines = ['/* Made by tools/embed.py. */', '#include "base/embed.h"', '']
    rows = []
    for i, path in enumerate(files):
        with open(path, 'rb') as f:
            data = f.read()
        lines.append(f'static const unsigned char data_{i}[] = {{')
        whole = data + b'\0'
        for at in range(0, len(whole), 20):
            lines.append('\t' + ''.join(f'{b},' for b in whole[at:at + 20]))
        lines.append('};')
        rows.append(f'\t{{"{os.path.basename(path)}", (const char *)data_{i}, {len(data)}}},')
    lines += [f'extern const struct embedded_file {name}[];',
              f'const struct embedded_file {name}[] = {{', *rows, '\t{0},', '};', '']
    with open(out, 'w', encoding='ascii') as f:
        f.write('\n'.join(lines))


main()
