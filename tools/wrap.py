#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""wrap.py [FILE...]: breaks the code lines that are too wide, as .clang-format says; all else stays.

Without files: all C sources. Comments are left to their writer (check_style.py width lists them).
"""
import pathlib
import subprocess
import sys

import check_style


def wrap(path):
    lines = [number for number, _ in check_style.width(path)]
    if lines and path.suffix in ('.c', '.h'):
        subprocess.run(['clang-format', '-i', *(f'--lines={n}:{n}' for n in lines), path], check=True,
                       cwd=check_style.ROOT)


def main():
    for path in [pathlib.Path(a).resolve() for a in sys.argv[1:]] or list(check_style.files()):
        wrap(path)


main()
