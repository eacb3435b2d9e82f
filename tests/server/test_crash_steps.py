# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Kill at every numbered point (DURABILITY test 4): a role dies before its n-th file operation, in the middle of
deliveries, APPEND, MOVE, COPY, EXPUNGE; then all die; then everything is as it was promised. Here some of the
points; all of them: tests/crash/harness.py --steps queue (or smtp, mailbox)."""
import random

import pytest

from crash import harness, instance, needs_faults

pytestmark = needs_faults


@pytest.fixture(scope="module")
def stopped():
    with instance(seed=6) as i:
        i.pabal.stop()
        yield i


@pytest.mark.parametrize("role", ["queue", "mailbox", "smtp"])
def test_killed_at_some_steps(stopped, role):
    rng = random.Random(6)
    reached = 0
    for n in (2, 6, 11, 17, 26, 40):
        killed = harness.step(stopped, rng, role, n)
        assert not stopped.ledger.problems, (n, stopped.ledger.problems[:5])
        if not killed:
            break
        reached = n
    assert reached >= 6
