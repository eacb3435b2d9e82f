# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Writers (DURABILITY test 8), for seconds: deliveries, APPEND, COPY, MOVE, STORE, EXPUNGE, POP3 on the same
accounts, roles killed at random. `tests/crash/harness.py --minutes 10` is the same for as long as one likes."""
import random

import pytest

from crash import disk, harness, instance, needs_power

SECONDS = 6


@pytest.mark.parametrize("seed", [1, 2])
def test_roles_killed_at_random(seed):
    rng = random.Random(seed)
    with instance(seed=seed) as i:
        killer = harness.Killer(i, rng)
        with harness.Load(i, seed):
            killer.roles(SECONDS)
            killer.all()
            i.pabal.start()
        i.must_be_good(rebuild=True)
        assert killer.counts["role"] > 3
        assert i.ledger.counts["certain"] > 100


@needs_power
def test_power_lost_under_load():
    power = disk.PowerDisk()
    rng = random.Random(3)
    try:
        with instance(seed=3, power=power) as i:
            killer = harness.Killer(i, rng, power)
            for _ in range(3):
                with harness.Load(i, rng.random()):
                    killer.roles(1)
                    killer.power_off()
                    i.ledger.forget_flags()
                    i.pabal.start()
                i.must_be_good(flags=False)
            assert i.ledger.counts["certain"] > 100
    finally:
        power.remove()
