# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Young and gone (DURABILITY test 1): mail that is removed, moved, flagged at once, before any checkpoint,
and a kill right behind it."""
import contextlib
import os
import random
import signal
import socket

import pytest

from conftest import alive, wait_until
from crash import Lost, Refused, harness, instance, needs_faults, token_of

RNG = random.Random(1)
# Settling by itself is rarer than what the tests do.
SLOW = "journal { checkpoint = 2s }\n"


def arrived(m, token):
    """UID of the message in the selected mailbox, once it is there."""
    def there():
        m.command(b"NOOP")
        return [uid for uid, _, head in m.messages() if token_of(head) == token]
    return wait_until(there, 20, "%s did not come" % token)[0]


def kill(i, who):
    if who == "all":
        i.pabal.kill_all()
        i.pabal.start()
    else:
        i.pabal.kill_role(who)


@pytest.fixture(scope="module")
def server():
    with instance(seed=1, settings=SLOW) as i:
        yield i


@pytest.mark.parametrize("who", ["queue", "mailbox-0", "mailbox-1", "all"])
def test_removed_moved_copied_flagged_at_once(server, who):
    i = server
    for user in i.users[:2]:
        with i.imap(user) as m, i.smtp() as s:
            uidvalidity, _, _ = m.select("INBOX")
            for act in ("expunge", "move", "copy", "flag", "copy and expunge"):
                token = i.send(s, RNG, [user])
                uid = arrived(m, token)
                if "copy" in act:
                    i.transfer(m, user, b"COPY", token, uid, "INBOX", "Box2", uidvalidity)
                if "expunge" in act:
                    i.expunge(m, user, token, uid, "INBOX")
                if act == "move":
                    i.transfer(m, user, b"MOVE", token, uid, "INBOX", "Box1", uidvalidity)
                if act == "flag":
                    i.store(m, user, "INBOX", uidvalidity, uid, "\\Flagged")
            token, _, uid = i.append(m, RNG, user, "INBOX", "\\Seen")
            i.expunge(m, user, token, arrived(m, token), "INBOX")
    kill(i, who)
    i.must_be_good()


@pytest.mark.parametrize("who", ["queue", "all"])
def test_deleted_by_pop3_at_once(server, who):
    i, user = server, "u3"
    with i.smtp() as s:
        tokens = [i.send(s, RNG, [user]) for _ in range(3)]
    with i.imap(user) as m:
        m.select("INBOX")
        for t in tokens:
            arrived(m, t)
    with i.pop3(user) as p:
        of = {n: token_of(b"\r\n".join(p.lines("TOP %d 0" % n))) for n in p.uids()}
        i.pop_delete(p, user, {n: t for n, t in of.items() if t in tokens[:2]})
    kill(i, who)
    i.must_be_good()


def send_alone(i, m):
    """One message to u1, seen in its INBOX."""
    with i.smtp() as s:
        token = i.send(s, RNG, ["u1"])
    return token, arrived(m, token)


@needs_faults
def test_removed_while_queue_does_not_know_that_it_was_placed(tmp_path):
    """Killed between the rename and its record, the message is there and its plan is open: until queue has
    gone through its old plans, nobody may remove it, or it would be placed again."""
    once, trace = tmp_path / "once", tmp_path / "trace"
    once.touch()
    with instance(seed=2, settings=SLOW) as i:
        with i.imap("u1") as m:  # directories and ceilings are made in peace
            m.select("INBOX")
            send_alone(i, m)
        i.pabal.stop()

        # Which of queue's operations is the rename into cur/?
        i.pabal.env["PABAL_FAULT"] = "trace:%s" % trace
        i.pabal.start()
        with i.imap("u1") as m:
            m.select("INBOX")
            send_alone(i, m)
        renames = [int(line.split()[1]) for line in trace.read_text().splitlines()
                   if line.startswith("queue ") and line.endswith(" rename")]
        i.pabal.stop()

        i.pabal.env["PABAL_FAULT"] = "kill:%d@@queue" % (renames[-1] + 1)
        i.pabal.env["PABAL_FAULT_ONCE"] = str(once)
        i.pabal.start()
        pids = {r["name"]: r["pid"] for r in i.pabal.status()["roles"]}
        with i.imap("u1") as m:
            m.select("INBOX")
            os.kill(i.pabal.process.pid, signal.SIGSTOP)  # so that queue does not come back at once
            with i.smtp() as s:
                token = i.send(s, RNG, ["u1"])
            wait_until(lambda: not alive(pids["queue"]), 20, "queue was not killed")
            os.kill(pids["auth"], signal.SIGSTOP)  # so that the new one cannot place anything
            os.kill(i.pabal.process.pid, signal.SIGCONT)
            uid = arrived(m, token)
            with contextlib.suppress(Refused, Lost):
                i.expunge(m, "u1", token, uid, "INBOX")
            os.kill(pids["auth"], signal.SIGCONT)
        i.must_be_good()


# ---- a slow peer -----------------------------------------------------------------------------


@pytest.fixture
def silent_peer():
    """Takes connections, and never says a word."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield s.getsockname()[1]


@pytest.mark.parametrize("who", ["queue", "all"])
def test_mail_on_its_way_elsewhere_holds_nobody_up(silent_peer, who):
    """A plan is open as long as a peer takes its time. What came after it can be removed all the same, and stays
    so; the message itself is still delivered to those who are here, once."""
    relay = 'relay { enabled = yes }\nroutes = {"away.example [127.0.0.1]:%d"}\n' % silent_peer
    with instance(seed=8, settings=relay) as i:
        with i.smtp() as s:
            token, content = i.message(RNG, 900)
            i.ledger.happened(i.address("u2"), token, harness.with_copy("INBOX"), True)
            s.begin("sender@example.net", ["someone@away.example", i.address("u2")])
            s.content(content)
        with i.imap("u1") as m:
            uidvalidity, _, _ = m.select("INBOX")
            for act in (b"EXPUNGE", b"MOVE", b"EXPUNGE"):
                token, uid = send_alone(i, m)
                if act == b"MOVE":
                    i.transfer(m, "u1", act, token, uid, "INBOX", "Box1", uidvalidity)
                else:
                    i.expunge(m, "u1", token, uid, "INBOX")
        assert i.pabal.role("queue")["detail"]["waiting"] == 1
        kill(i, who)
        wait_until(lambda: i.pabal.role("queue")["detail"]["waiting"] == 1, 20, "nobody sends it any more")
        for user in i.users:
            i.ledger.check_account(i.address(user), i.read_account(user))
        assert not i.ledger.problems, i.ledger.problems
