# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Power loss for real (DURABILITY tests 1, 2, 3, 5, 10): the server lives on ext4 in a file, which forgets
everything that was not written through. Needs root and loop devices."""
import random

import pytest

from conftest import wait_until
from crash import disk, instance, needs_power, token_of

pytestmark = needs_power
RNG = random.Random(2)
# Settling by itself is rarer than what the tests do: what survives does so by the journals.
SLOW = "journal { checkpoint = 2s }\n"


@pytest.fixture(scope="module")
def machine():
    power = disk.PowerDisk()
    try:
        with instance(seed=2, power=power, settings=SLOW) as i:
            i.power = power
            yield i
    finally:
        power.remove()


def lose_power(i):
    i.power.off()
    i.pabal.kill_all()
    i.power.on()
    disk.new_boot(i.pabal.demo)
    i.ledger.forget_flags()  # those of the last second may go
    i.pabal.start()


def arrived(m, token):
    def there():
        m.command(b"NOOP")
        return [uid for uid, _, head in m.messages() if token_of(head) == token]
    return wait_until(there, 20, "%s did not come" % token)[0]


@pytest.mark.parametrize("act", ["nothing", "expunge", "move", "copy", "copy and expunge", "append"])
def test_after_each_ok(machine, act):
    i, user = machine, "u1"
    with i.imap(user) as m, i.smtp() as s:
        uidvalidity, _, _ = m.select("INBOX")
        token = i.send(s, RNG, [user])
        if act == "append":
            i.append(m, RNG, user, "Box1", "\\Seen")
            i.append(m, RNG, user, "Box1", size=(1 << 20) + 100000)
        if act not in ("nothing", "append"):
            uid = arrived(m, token)
            if act == "move":
                i.transfer(m, user, b"MOVE", token, uid, "INBOX", "Box2", uidvalidity)
            if "copy" in act:
                i.transfer(m, user, b"COPY", token, uid, "INBOX", "Box2", uidvalidity)
            if "expunge" in act:
                i.expunge(m, user, token, uid, "INBOX")
        lose_power(i)
    i.must_be_good(flags=False)


def test_deleted_by_pop3(machine):
    i, user = machine, "u3"
    with i.smtp() as s:
        tokens = [i.send(s, RNG, [user]) for _ in range(3)]
    with i.imap(user) as m:
        m.select("INBOX")
        for t in tokens:
            arrived(m, t)
    with i.pop3(user) as p:
        of = {n: token_of(b"\r\n".join(p.lines("TOP %d 0" % n))) for n in p.uids()}
        i.pop_delete(p, user, {n: t for n, t in of.items() if t in tokens[:2]})
    lose_power(i)
    i.must_be_good(flags=False)


def test_two_hundred_files_with_names_and_no_data(machine):
    """A foreign fsync commits the names of all files, and none of their data."""
    i, user = machine, "u2"
    with i.imap(user) as m, i.smtp() as s:
        for _ in range(200):
            last = i.send(s, RNG, [user])
        m.select("INBOX")
        arrived(m, last)
        i.append(m, RNG, user, "Box1")
        i.power.sync_foreign()
    lose_power(i)
    i.must_be_good(flags=False)


def test_copies_of_what_has_no_data_yet(machine):
    i, user = machine, "u1"
    with i.imap(user) as m, i.smtp() as s:
        uidvalidity, _, _ = m.select("INBOX")
        for _ in range(5):
            token = i.send(s, RNG, [user])
            i.transfer(m, user, b"COPY", token, arrived(m, token), "INBOX", "Box1", uidvalidity)
        i.power.sync_foreign()
    lose_power(i)
    i.must_be_good(flags=False)


def test_power_is_lost_again_while_recovering(machine):
    i = machine
    with i.smtp() as s:
        for _ in range(20):
            i.send(s, RNG, i.users)
    i.power.sync_foreign()
    for _ in range(2):
        i.power.off()
        i.pabal.kill_all()
        i.power.on()
        disk.new_boot(i.pabal.demo)
        i.pabal.start(wait=False)
    i.pabal.wait_ready()
    i.must_be_good(flags=False)


def test_segments_that_are_used_again(machine):
    """More than all segments hold: they are recycled, and the power goes while they are overwritten."""
    i = machine
    written = 0
    with i.smtp() as s:
        while written < 14 << 20:
            i.send(s, RNG, [RNG.choice(i.users)], size=40000)
            written += 40000
    lose_power(i)
    i.must_be_good(flags=False)
    with i.smtp() as s:
        i.send(s, RNG, i.users)
    lose_power(i)
    i.must_be_good(flags=False)


def test_highest_uid_is_expunged_and_the_index_is_gone(machine):
    i, user = machine, "u2"
    with i.imap(user) as m:
        for _ in range(10):
            token, _, uid = i.append(m, RNG, user, "Box2")
        m.select("Box2")
        i.expunge(m, user, token, uid, "Box2")
    lose_power(i)
    for f in (i.pabal.demo / "data" / "mail" / i.pabal.domain / user / "Maildir").glob("index.db*"):
        f.unlink()
    with i.imap(user) as m:
        m.select("Box2")
        _, _, again = i.append(m, RNG, user, "Box2")
    assert again > uid
    i.must_be_good(flags=False)


def test_journals_at_different_checkpoints_and_fewer_processes(machine):
    """What smtp-1 and mailbox-1 wrote is looked after by those that are left."""
    i = machine
    for user in i.users:  # both mailbox processes
        with i.imap(user) as m:
            i.append(m, RNG, user, "INBOX")
            i.append(m, RNG, user, "Box1")
    for n in range(8):  # both smtp processes
        with i.smtp(source="127.0.0.%d" % (n + 1)) as s:
            i.send(s, RNG, i.users)
    i.power.sync_foreign()
    i.power.off()
    i.pabal.kill_all()
    i.power.on()
    disk.new_boot(i.pabal.demo)
    i.ledger.forget_flags()
    i.pabal.configure("process { smtp = 1  mailbox = 1 }")
    i.power.sync()
    i.pabal.start()
    i.must_be_good(flags=False)
