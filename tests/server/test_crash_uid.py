# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""UIDs, MODSEQs and foreign hands across kills and lost indexes (DURABILITY tests 5, 6, 7)."""
import os
import random
import re
import threading

import pytest

from conftest import wait_until
from crash import Lost, Refused, harness, instance, token_of

RNG = random.Random(4)


def maildir(i, user, mailbox="INBOX"):
    home = i.pabal.demo / "data" / "mail" / i.pabal.domain / user / "Maildir"
    return home if mailbox == "INBOX" else home / ("." + mailbox)


@pytest.fixture(scope="module")
def server():
    with instance(seed=4) as i:
        yield i


# ---- UIDs ------------------------------------------------------------------------------------


def lose_index(i, user, how):
    files = sorted(maildir(i, user).glob("index.db*"))
    assert files
    for f in files:
        if how == "all" or (how == "wal stays" and not f.name.endswith(("-wal", "-shm"))):
            f.unlink(missing_ok=True)  # SQLite may have been faster


@pytest.mark.parametrize("when", ["running", "killed"])
@pytest.mark.parametrize("how", ["all", "wal stays"])
def test_no_uid_twice_when_the_index_is_lost(server, how, when):
    i, user, account = server, "u1", server.address("u1")
    with i.imap(user) as m:
        for _ in range(10):
            token, uidvalidity, uid = i.append(m, RNG, user, "Box1")
        m.select("Box1")
        i.expunge(m, user, token, uid, "Box1")
        i.ledger.saw_mailbox(account, "Box1", *m.select("Box1"))
        before = m.select("Box1")
    if when == "killed":
        i.pabal.kill_all()
    lose_index(i, user, how)
    if when == "killed":
        i.pabal.start()
    with i.imap(user) as m:
        assert m.select("Box1")[:2] == before[:2]  # UIDVALIDITY and UIDNEXT
        _, _, again = i.append(m, RNG, user, "Box1")
    assert again > uid
    i.must_be_good()


def test_the_index_is_lost_again_and_again_while_twenty_sessions_write(server):
    i, users = server, server.users
    stop = threading.Event()
    failures = []

    def write(user, seed):
        rng = random.Random(seed)
        while not stop.is_set():
            try:
                with i.imap(user) as m:
                    for _ in range(4):
                        token, _, uid = i.append(m, rng, user, "Box2", "\\Flagged")
                        if rng.random() < 0.5:
                            m.select("Box2")
                            i.expunge(m, user, token, uid, "Box2")
            except Refused:
                pass
            except (Lost, OSError) as e:
                failures.append(repr(e))
                return

    threads = [threading.Thread(target=write, args=(users[n % 2], n)) for n in range(20)]
    for t in threads:
        t.start()
    for _ in range(6):
        for user in users[:2]:
            tokens = i.tokens
            wait_until(lambda at=tokens: i.tokens >= at + 40 or failures, 30)
            lose_index(i, user, "all")
    stop.set()
    for t in threads:
        t.join(60)
    assert not failures
    i.must_be_good()


def test_an_index_from_a_backup(server):
    """A file of the past, put in place of the present one with its -wal and -shm left behind."""
    i, user = server, "u2"
    with i.imap(user) as m:
        i.append(m, RNG, user, "INBOX")
    i.pabal.stop()
    old = {f.name: f.read_bytes() for f in maildir(i, user).glob("index.db*")}
    i.pabal.start()
    with i.imap(user) as m:
        m.select("INBOX")
        for _ in range(5):
            token, _, uid = i.append(m, RNG, user, "INBOX")
        i.expunge(m, user, token, uid, "INBOX")
    i.pabal.kill_all()
    new = maildir(i, user) / "new-index"
    new.write_bytes(old["index.db"])
    os.replace(new, maildir(i, user) / "index.db")
    i.pabal.start()
    with i.imap(user) as m:
        i.append(m, RNG, user, "INBOX")
    i.must_be_good()


# ---- MODSEQ ----------------------------------------------------------------------------------


class Cached:
    """A client that keeps {uid: flags} and comes back with QRESYNC (RFC 7162)."""

    def __init__(self, i, user):
        self.i, self.user, self.seen, self.modseq, self.uidvalidity = i, user, {}, 0, 0

    def resync(self):
        with self.i.imap(self.user) as m:
            m.command(b"ENABLE QRESYNC")
            what = b"SELECT INBOX"
            if self.uidvalidity:
                what += b" (QRESYNC (%d %d))" % (self.uidvalidity, self.modseq)
            tagged, untagged = m.command(what)
            text = b"\n".join([u for u, _ in untagged] + [tagged])
            self.uidvalidity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
            self.modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", text).group(1))
            if not self.seen:
                _, untagged = m.command(b"UID FETCH 1:* (UID FLAGS MODSEQ)")
                text = b"\n".join(u for u, _ in untagged)
            self.take(text)
            _, untagged = m.command(b"UID FETCH 1:* (UID FLAGS)")
            real = {}
            for line, _ in untagged:
                self.note(real, line)
            assert self.seen == real

    def take(self, text):
        for line in text.split(b"\n"):
            gone = re.match(rb"\* VANISHED (?:\(EARLIER\) )?([\d:,]+)", line)
            if gone:
                for part in gone.group(1).split(b","):
                    first, _, last = part.partition(b":")
                    for uid in range(int(first), int(last or first) + 1):
                        self.seen.pop(uid, None)
            self.note(self.seen, line)

    @staticmethod
    def note(into, line):
        uid, flags = re.search(rb"\bUID (\d+)", line), re.search(rb"FLAGS \(([^)]*)\)", line)
        if line.startswith(b"* ") and b" FETCH (" in line and uid and flags:
            into[int(uid.group(1))] = set(flags.group(1).split()) - {b"\\Recent"}


@pytest.mark.parametrize("loss", ["none", "kill", "kill and index", "index"])
def test_a_cached_client_sees_the_same_as_the_server(server, loss):
    i, user = server, "u1"
    cached = Cached(i, user)
    with i.imap(user) as m:
        for _ in range(6):
            i.append(m, RNG, user, "INBOX")
    cached.resync()
    for _ in range(2):
        with i.imap(user) as m:
            uidvalidity, _, _ = m.select("INBOX")
            rows = m.messages()
            i.store(m, user, "INBOX", uidvalidity, rows[-1][0], "\\Answered")
            i.store(m, user, "INBOX", uidvalidity, rows[-2][0], "$Crash")
            i.expunge(m, user, token_of(rows[-3][2]), rows[-3][0], "INBOX")
            i.append(m, RNG, user, "INBOX")
        if "kill" in loss:
            i.pabal.kill_all()
        if "index" in loss:
            lose_index(i, user, "all")
        if "kill" in loss:
            i.pabal.start()
        cached.resync()
    i.must_be_good()


# ---- foreign hands ---------------------------------------------------------------------------


def test_foreign_hands_under_load(server):
    """Another program renames for flags, and delivers to new/, while sessions change the mailbox and roles are
    killed: nothing is lost, nothing shown twice, the index equals a rebuild."""
    i, user = server, "u3"
    account = i.address(user)
    home = maildir(i, user)
    made = []
    with harness.Load(i, 7):
        for n in range(60):
            token, content = i.message(RNG, 400)
            (home / "tmp" / token).write_bytes(content)
            i.ledger.happened(account, token, harness.with_copy("INBOX"), True)
            os.rename(home / "tmp" / token, home / "new" / ("%s.foreign" % token))
            made.append(token)
            for name in os.listdir(home / "cur")[:5]:
                base, _, flags = name.partition(":2,")
                other = "".join(sorted(set(flags) ^ {"T"} if n % 2 else set(flags) | {"S"}))
                try:
                    os.rename(home / "cur" / name, home / "cur" / ("%s:2,%s" % (base, other)))
                except FileNotFoundError:
                    pass  # it was faster
            if n % 20 == 10:
                i.pabal.kill_role("mailbox-1", wait=n > 30)
    i.ledger.forget_flags()
    i.must_be_good(flags=False, rebuild=True)
