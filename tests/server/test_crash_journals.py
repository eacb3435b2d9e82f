# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Many journals, recycled segments, damaged ones (DURABILITY tests 3 and 10)."""
import contextlib
import json
import os
import pathlib
import random
import signal

import pytest

from conftest import wait_until
from crash import instance, token_of

RNG = random.Random(5)


@pytest.fixture
def server():
    with instance(seed=5) as i:
        yield i


def journals(i):
    return i.pabal.demo / "data" / "journal"


def fd_is_open(pid, path):
    with contextlib.suppress(OSError):
        return any(os.readlink(f) == str(path) for f in pathlib.Path("/proc/%d/fd" % pid).iterdir())
    return False


def hold_queue(i):
    """From now on nothing is planned or placed."""
    i.pabal.expected_crashes = True
    os.kill(i.pabal.role("queue")["pid"], signal.SIGSTOP)


def send_many(i, n, size=3000):
    """Through several sessions, so that both smtp processes have some."""
    for k in range(n):
        with i.smtp(source="127.0.0.%d" % (1 + k % 8)) as s:
            assert i.send(s, RNG, i.users, size)


def test_fewer_processes_than_before(server):
    """The journals of processes that run no more are drained: nothing of them is lost or done twice."""
    i = server
    for user in i.users:
        with i.imap(user) as m:
            i.append(m, RNG, user, "Box1")
    hold_queue(i)
    send_many(i, 12)
    used = [p.name for p in journals(i).glob("smtp-*") if any(f.read_bytes()[:7] == b"PABALJ1" for f in p.glob("seg-*"))]
    assert len(used) == 2, used
    i.pabal.kill_all()
    i.pabal.configure("process { smtp = 1  mailbox = 1 }")
    i.pabal.start()
    for user in i.users:  # what such a process did not settle can be removed
        with i.imap(user) as m:
            m.select("Box1")
            [(uid, _, head)] = m.messages()
            i.expunge(m, user, token_of(head), uid, "Box1")
    i.must_be_good()
    i.pabal.kill_all()
    i.pabal.configure("process { smtp = 3  mailbox = 3 }")
    i.pabal.start()
    send_many(i, 6)
    i.must_be_good()


def test_segments_are_recycled_and_say_nothing_old(server):
    """Several times what the segments hold, then kills: no record of an earlier use is delivered again. A
    message that is the copy of a whole segment is just a message."""
    i = server
    with i.smtp() as s:
        for _ in range(300):
            assert i.send(s, RNG, [RNG.choice(i.users)], 40000)
    i.come_to_rest()
    i.pabal.kill_all()
    i.pabal.start()
    i.must_be_good()
    segment = max(journals(i).glob("smtp-*/seg-*"), key=lambda p: p.stat().st_mtime).read_bytes()
    token, content = i.token(), None
    body = segment[:900000].replace(b"\0", b"\1").replace(b"\r", b"").replace(b"\n", b"\r\n")
    content = b"X-Token: " + token.encode() + b"\r\nSubject: segment\r\n\r\n" + body + b"\r\nend\r\n"
    with i.imap("u1") as m:  # by APPEND, which takes any octets but NUL
        i.ledger.new_message(token, content)
        uidvalidity, uid = m.append("Box1", content)
        i.ledger.happened(i.address("u1"), token, lambda w: (*w, "Box1"), True)
        i.ledger.saw_uid(i.address("u1"), "Box1", uidvalidity, uid, token)
    for who in ("mailbox-0", "mailbox-1"):
        i.pabal.kill_role(who)
    i.must_be_good()


def last_records(path):
    """Offset and length of each record of a segment, by its nonce (journal_int.h)."""
    segment = path.read_bytes()
    nonce, at, found = segment[8:16], 4096, []
    while at + 32 <= len(segment):
        length = int.from_bytes(segment[at + 8:at + 12], "little")
        if segment[at + 24:at + 32] == nonce and length < len(segment):
            found.append((at, length))
            at += (32 + length + 7) & ~7
        else:
            at = (at // 4096 + 1) * 4096
    return found


def test_a_flipped_bit_costs_one_message_and_is_told(server):
    i = server
    hold_queue(i)
    with i.smtp() as s:
        tokens = [i.send(s, RNG, ["u1"], 3000) for _ in range(9)]
    i.pabal.kill_all()
    hurt = 0
    for path in journals(i).glob("smtp-*/seg-*"):
        octets = bytearray(path.read_bytes())
        if octets[:7] != b"PABALJ1":
            continue
        at = octets.find(tokens[4].encode())
        if at >= 0:
            octets[at + 200] ^= 4
            path.write_bytes(octets)
            hurt += 1
    assert hurt == 1
    i.pabal.start()
    assert i.pabal.wait_log("journal.damage")
    i.come_to_rest()
    account = i.address("u1")
    for t in tokens:  # what was acknowledged and then destroyed is the only one that may be missing
        i.ledger.worlds[(account, t)] = {()} if t == tokens[4] else {("INBOX",)}
    i.check()
    kept = [p for p in i.ledger.problems if "damaged-" not in p]
    assert not kept, kept
    assert any("damaged-" in p for p in i.ledger.problems), "the segment was not kept aside"


def test_a_missing_side_file_costs_its_message_only(server):
    i = server
    hold_queue(i)
    with i.smtp() as s:
        before = i.send(s, RNG, ["u1"])
        big = i.send(s, RNG, ["u1"], 100000)
        after = i.send(s, RNG, ["u1"])
    assert before and big and after
    i.pabal.kill_all()
    sides = list(journals(i).glob("smtp-*/side-*"))
    assert len(sides) == 1
    sides[0].unlink()
    i.pabal.start()
    i.pabal.wait_log("queue.record.damaged")
    i.ledger.worlds[(i.address("u1"), big)] = {()}
    i.come_to_rest()
    assert list((journals(i).parent / "spool" / "damaged").glob("*.record"))
    i.check()
    kept = [x for x in i.ledger.problems if "is nothing that was sent" not in x]  # postmaster's mail
    assert not kept, kept


@pytest.mark.parametrize("when", ["before it is read", "behind its back"])
def test_a_side_file_that_lost_its_end_is_held(server, when):
    """Nobody gets half a message, nothing waits for the other half, and the journal can go on."""
    i = server
    hold_queue(i)
    with i.smtp() as s:
        big = i.send(s, RNG, ["u1", "u2"], 100000)
    side, = journals(i).glob("smtp-*/side-*")
    if when == "behind its back":
        # The queue has read it, and cannot place it: auth does not say whether the account is there.
        auth = i.pabal.role("auth")["pid"]
        os.kill(auth, signal.SIGSTOP)
        i.pabal.kill_role("queue", wait=False)
        wait_until(lambda: fd_is_open(i.pabal.wait_role("queue")["pid"], side), 20)
    else:
        i.pabal.kill_all()
    os.truncate(side, 60000)
    if when == "behind its back":
        os.kill(auth, signal.SIGCONT)
    else:
        i.pabal.start()
    i.pabal.wait_log("queue.held", "damaged: of its side file")

    def held():
        rows = json.loads(i.pabal.cli("queue", "list", "--json").stdout)["messages"]
        return rows if rows and all(r["state"] == "held" for r in rows) else None
    for row in wait_until(held, 20):
        assert row["reason"].startswith("damaged: of its side file 6")
        assert i.pabal.cli("queue", "remove", row["id"], "--yes", check=False).returncode in (0, 1)
    for user in ("u1", "u2"):
        i.ledger.worlds[(i.address(user), big)] = {()}
    i.check()  # the side file is gone, all is settled
    kept = [x for x in i.ledger.problems if "is nothing that was sent" not in x]  # postmaster's mail
    assert not kept, kept


def test_a_journal_that_was_lost_hides_no_later_mail(server):
    i = server
    send_many(i, 10)
    i.come_to_rest()
    i.pabal.stop()
    for path in journals(i).glob("smtp-*/*"):
        path.unlink()
    i.pabal.start()
    send_many(i, 4)
    i.must_be_good()


def test_the_last_message_of_a_killed_smtp_is_delivered(server):
    """It was acknowledged, and queue never told: the next process sees to it."""
    i = server
    for _ in range(2):
        os.kill(i.pabal.role("queue")["pid"], signal.SIGSTOP)
        send_many(i, 2)
        for role in ("smtp-0", "smtp-1", "queue"):
            i.pabal.kill_role(role, wait=role == "queue")
        for role in ("smtp-0", "smtp-1"):
            i.pabal.wait_role(role)
        wait_until(lambda: i.unsettled() is None, 20, "the last message waits for another one")
    i.must_be_good()


def test_a_cold_start_can_be_asked_for(server):
    """For restored copies: all is compared, and UIDs go on above what may have been seen."""
    i = server
    send_many(i, 2)
    with i.imap("u1") as m:
        _, before, _ = m.select("INBOX")
    refused = i.pabal.cli("recover", "--cold", check=False)
    assert refused.returncode == 75 and "runs" in refused.stderr
    i.pabal.stop()
    i.pabal.cli("recover", "--cold")
    i.pabal.start()
    i.pabal.wait_log("master.cold_start")
    with i.imap("u1") as m:
        _, after, _ = m.select("INBOX")
    assert after > before + 1000
    i.must_be_good()
    log = i.pabal.demo / "log" / "pabal.log"
    log.unlink()
    i.pabal.restart()
    i.must_be_good()
    assert "cold_start" not in i.pabal.log()
