# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The program's verbs, run one by one; published cases, where they stand beside the checkout."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get('PABAL_BINARY') or os.environ.get('PABAL') or str(ROOT / 'build' / 'pabal')
TESTDATA = pathlib.Path(os.environ.get('PABAL_TESTDATA') or ROOT.parent / 'shared' / 'testdata')


class Result:
    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def json(self):
        assert self.out, self.err.decode()
        return json.loads(self.out)

    @property
    def text(self):
        return self.out.decode()


@pytest.fixture(scope='session')
def pabal():
    def run(*words, stdin=b'', **kwargs):
        environment = {**os.environ, 'LC_ALL': 'C.UTF-8', 'PABAL_CONFIG': ''}
        return Result(subprocess.run([PROGRAM, *map(str, words)], input=stdin, capture_output=True,
                                     env=environment, timeout=120, check=False, **kwargs))
    return run


@pytest.fixture(scope='session')
def published():
    """Reads a file of the published suites; skips the test where they are not there."""
    def read(name):
        path = TESTDATA / name
        if not path.exists():
            pytest.skip(f'{path} is not there')
        return json.loads(path.read_text(encoding='utf-8')) if path.suffix == '.json' else path.read_bytes()
    return read
