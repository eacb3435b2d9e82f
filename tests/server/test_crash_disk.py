# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""No room, bad disk (DURABILITY test 9): the protocol's temporary error, nothing lost, and all goes on once
there is room. Faults of every kind in each role that writes; a disk that is really full."""
import contextlib
import os
import random
import re
import signal

import pytest

from conftest import wait_until
from crash import Lost, Refused, disk, instance, needs_faults, needs_root, scenario

RNG = random.Random(3)
FLAG_RULES = ("enospc", "eio", "emfile")


def smtp_fails(i, size=None):
    """The answer to a message that cannot be taken; it must be a temporary one."""
    with pytest.raises((Refused, Lost)) as e, i.smtp() as s:
        i.send(s, RNG, ["u1"], size)
    if e.type is Refused:
        assert re.match(r"4\d\d 4\.", str(e.value)), e.value
    return str(e.value)


def append_fails(i, m, user, size=None):
    with pytest.raises(Refused) as e:
        i.append(m, RNG, user, "Box1", size=size)
    assert re.search(r" NO \[", str(e.value)), e.value
    return str(e.value)


def works(i):
    with i.smtp() as s:
        assert i.send(s, RNG, i.users)
        assert i.send(s, RNG, i.users, size=100000)
    for user in i.users:
        with i.imap(user) as m:
            i.append(m, RNG, user, "Box1", "\\Seen")
            i.append(m, RNG, user, "Box1", size=(1 << 20) + 100)


@contextlib.contextmanager
def faulty(i, rule, flag):
    """The server with a rule that holds while the inner block runs: `with faulty(...) as fault, ..., fault:`;
    afterwards all must be well."""
    @contextlib.contextmanager
    def fault():
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()
    i.pabal.env.update(PABAL_FAULT=rule, PABAL_FAULT_WHILE=str(flag))
    i.pabal.start()
    try:
        yield fault()
        works(i)
        i.must_be_good()
    finally:
        i.ledger.problems.clear()  # the next test is another one
        i.pabal.env.pop("PABAL_FAULT", None)
        i.pabal.kill_all()


@pytest.fixture(scope="module")
def stopped():
    """Between the tests it is not running."""
    with instance(seed=3) as i:
        works(i)
        i.must_be_good()
        i.pabal.stop()
        yield i


@pytest.fixture
def flag(tmp_path):
    for p in (tmp_path, *tmp_path.parents):
        if p.stat().st_uid == os.getuid() and p != p.parent and str(p) != "/tmp":
            p.chmod(0o755)
    return tmp_path / "while"


@needs_faults
@pytest.mark.parametrize("effect", FLAG_RULES)
def test_smtp_cannot_write(stopped, flag, effect):
    i = stopped
    with faulty(i, "%s:1-@@smtp" % effect, flag) as fault, fault:
        if effect != "emfile":  # the journal is open already
            smtp_fails(i)
        smtp_fails(i, size=100000)
        for user in i.users[:1]:  # the rest of the server works
            with i.imap(user) as m:
                i.append(m, RNG, user, "Box1")


@needs_faults
@pytest.mark.parametrize("effect", FLAG_RULES)
def test_mailbox_cannot_write(stopped, flag, effect):
    i = stopped
    with faulty(i, "%s:1-@@mailbox" % effect, flag) as fault, i.imap("u1") as m, i.imap("u2") as n:
        m.select("INBOX")
        n.select("INBOX")
        with fault:
            append_fails(i, m, "u1")
            append_fails(i, n, "u2", size=(1 << 20) + 100)
            if effect != "emfile":
                assert m.messages(b"BODY.PEEK[]")  # what is there can be read
            with i.smtp() as s:  # the rest works: delivered by queue
                assert i.send(s, RNG, i.users)
        i.append(m, RNG, "u1", "Box1")  # in the same session


@needs_faults
@pytest.mark.parametrize("effect", FLAG_RULES)
def test_queue_cannot_write(stopped, flag, effect):
    i = stopped
    with faulty(i, "%s:1-@@queue" % effect, flag) as fault, fault:
        with i.smtp() as s:
            for _ in range(5):
                assert i.send(s, RNG, i.users)
        sign = "queue.plan.put_off" if effect != "emfile" else "kind="
        i.pabal.wait_log(sign, "queue-0")


@needs_faults
@pytest.mark.parametrize("effect,op", [("enospc", "create"), ("enospc", "write"), ("enospc", "rename"),
                                       ("enospc", "link"), ("eio", "fsync"), ("eio", "rename"), ("eio", "unlink")])
def test_one_kind_of_operation_fails_everywhere(stopped, flag, effect, op):
    """Whatever the answers are: what was taken is there, what was refused may be tried again."""
    i = stopped
    with faulty(i, "%s:1-@%s" % (effect, op), flag) as fault:
        with fault:
            scenario(i, RNG)
        if op == "unlink":  # side files that could not be removed go at the next start
            i.pabal.restart()


@needs_faults
def test_a_sync_of_the_mail_directory_fails(stopped, flag):
    """The kernel tells it once and forgets the pages: nothing is released, and the next start compares
    everything that was not settled."""
    i = stopped
    with faulty(i, "eio:1@syncfs@queue", flag) as fault:
        with fault, i.smtp() as s:
            assert all(i.send(s, RNG, i.users) for _ in range(3))
            i.pabal.wait_log("store.syncfs.failed")
            i.pabal.wait_log("queue.checkpoint.failed")
        watermark = i.pabal.role("queue")["detail"]["journal_watermark"]
        with i.smtp() as s:
            assert i.send(s, RNG, i.users)
        i.pabal.wait_log("queue.checkpoint.failed")
        assert i.pabal.role("queue")["detail"]["journal_watermark"] == watermark
        i.pabal.stop()
        i.pabal.start()
        i.pabal.wait_log("master.cold_start")


def full(i):
    """What fits the segments is taken until the next look at the disk."""
    try:
        with i.smtp() as s:
            i.send(s, RNG, ["u1"], size=30000)
        return False
    except Refused as e:
        assert str(e).startswith("452"), e
        return True


@needs_root
def test_the_disk_is_full():
    small = disk.SmallDisk(96)
    try:
        with instance(seed=4, power=small) as i:
            works(i)
            i.come_to_rest()
            # Taken before, placed when there is no room any more.
            queue = i.pabal.role("queue")
            planned = queue["detail"]["planned"]
            os.kill(queue["pid"], signal.SIGSTOP)
            with i.smtp() as s:
                for _ in range(20):
                    assert i.send(s, RNG, i.users, size=30000)
            ballast = small.fill()
            os.kill(queue["pid"], signal.SIGCONT)
            wait_until(lambda: full(i), 10, "no 452 on a full disk", 0.2)
            assert "452" in smtp_fails(i, size=100000)
            for user, size in (("u1", 50000), ("u2", (1 << 20) + 100)):
                with i.imap(user) as m:
                    append_fails(i, m, user, size)

            def stuck():
                detail = i.pabal.role("queue")["detail"]
                return detail["planned"] >= planned + 20 and detail["waiting"] > 0
            wait_until(stuck, 20, "queue does not wait for room")
            with i.imap("u1") as m:  # what is there can be read
                m.select("INBOX")
                assert m.messages(b"BODY.PEEK[]")
            ballast.unlink()

            def taken():
                try:
                    with i.smtp() as s:
                        return i.send(s, RNG, i.users)
                except Refused:
                    return None
            wait_until(taken, 20, "not taken with room again", 0.2)
            works(i)
            i.must_be_good()
    finally:
        small.remove()
