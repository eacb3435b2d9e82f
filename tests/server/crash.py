# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""What the test_crash_*.py files share: the harness of tests/crash, and servers of it as fixtures.

Which of DURABILITY's ten tests is where (the unit tests are in src/):
  1  young and gone       test_crash_young.py, test_crash_power.py; store/replay_test.c
  2  empty files          test_crash_power.py
  3  recycled segments    test_crash_journals.py, test_crash_power.py; a body that imitates a record:
                          journal/journal_test.c
  4  kill at every point  test_crash_steps.py (some points), harness.py --steps (all); Sieve is to come;
                          queue/queue_test.c, journal/journal_test.c, store/faults_test.c
  5  UID                  test_crash_uid.py, test_crash_power.py
  6  MODSEQ               test_crash_uid.py
  7  foreign hands        store/sync_test.c; test_crash_uid.py under load
  8  writers              test_crash_writers.py (seconds), harness.py (as long as one likes); store/race_test.c
  9  no room, bad disk    test_crash_disk.py; store/faults_test.c, journal/journal_test.c
  10 many journals        test_crash_journals.py
A message that crashes the queue (PROCESSES C6): test_crash_held.py; queue/queue_test.c. An account whose sessions
crash mailbox: test_apart.py
"""
import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "crash"))

import disk  # noqa: E402
import harness  # noqa: E402
from clients import Imap, Lost, Pop3, Refused, Smtp, make_message, token_of  # noqa: E402,F401
from conftest import PROGRAM  # noqa: E402
from harness import scenario  # noqa: E402,F401


@contextlib.contextmanager
def instance(**options):
    i = harness.Instance(**options)
    try:
        i.make_mailboxes()
        yield i
    finally:
        # For whoever reads a failure.
        print("\n".join(x for x in i.pabal.log().splitlines() if " warn " in x or " error " in x))
        i.remove()


def has_faults():
    """Was the program built with -Dfaults=true?"""
    env = {**os.environ, "PABAL_FAULT": "no-such-fault:1"}
    done = subprocess.run([PROGRAM, "probe", "--help"], env=env, capture_output=True, timeout=30, check=False)
    if b"PABAL_FAULT" in done.stderr:
        return True
    with open(PROGRAM, "rb") as f:
        return b"PABAL_FAULT_ONCE" in f.read()


needs_faults = pytest.mark.skipif(not has_faults(), reason="the program was built without -Dfaults=true")
WHY_NO_POWER = disk.why_no_power_disk()
needs_power = pytest.mark.skipif(WHY_NO_POWER is not None, reason=str(WHY_NO_POWER))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a disk of limited size needs root")
