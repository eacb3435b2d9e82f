# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""An account whose sessions crash mailbox (PROCESSES C6): refused for a while, then served by a process of its own,
so that what it does hurts nobody else."""
import imaplib
import os

import pytest

from conftest import wait_until
from crash import needs_faults

BAD = b"Subject: bad\r\nX-Crash: yes\r\n\r\nbad\r\n"
GOOD = b"Subject: good\r\n\r\ngood\r\n"


@pytest.fixture
def flag(tmp_path):
    for p in (tmp_path, *tmp_path.parents):
        if p.stat().st_uid == os.getuid() and p != p.parent and str(p) != "/tmp":
            p.chmod(0o755)
    return tmp_path / "while"


def crashes(p):
    return [line for line in p.log().splitlines() if " role.crashed " in line]


def crash_by(p, user):
    before = len(crashes(p))
    with pytest.raises((imaplib.IMAP4.abort, OSError)), p.imap(user) as m:
        m.append("INBOX", None, None, BAD)
    wait_until(lambda: len(crashes(p)) == before + 1, 20, "no crash")


def logs_in(p, user):
    try:
        with p.imap(user) as m:
            return m.noop()[0] == "OK"
    except imaplib.IMAP4.error:
        return False


def apart(p):
    """{name: accounts} of the processes for single accounts that are there."""
    return {r["name"]: r["accounts"] for r in p.status()["roles"] if "accounts" in r and r["state"] == "ready"}


def everybody_ready(p):
    wait_until(lambda: all(r["state"] == "ready" for r in p.status()["roles"]), 20)


@needs_faults
def test_an_account_that_crashes_mailbox_gets_a_process_of_its_own(make_pabal, flag):
    p = make_pabal(start=False, accounts=("bad", "u1", "u2"), aliases=(),
                   settings="process { mailbox = 1  set_aside = 1h }")
    p.expected_crashes = True
    flag.touch()
    p.env.update(PABAL_FAULT="crash:place=X-Crash: yes@@mailbox", PABAL_FAULT_WHILE=str(flag),
                 PABAL_FAULT_FORGET=str(flag.with_name("forget")))
    p.start()
    if "no seccomp" in p.role("mailbox")["sandbox"]:
        pytest.skip("sanitizers have crash reports of their own")
    crash_by(p, "bad")
    assert apart(p) == {}
    everybody_ready(p)
    crash_by(p, "bad")
    wait_until(lambda: apart(p) == {"mailbox-1": [p.address("bad")]}, 20, "it has no process of its own")
    everybody_ready(p)
    assert not logs_in(p, "bad") and logs_in(p, "u1")

    # The time is over: its mail, old and new, and what it does is safe.
    p.configure("process { set_aside = 0 }")
    p.cli("reload")
    wait_until(lambda: logs_in(p, "bad"), 20, "it is still refused")
    with p.imap("u1") as other:
        other.select()
        common = p.role("mailbox")["pid"]
        own = p.role("mailbox-1")["pid"]
        p.send("bad", "Subject: new\r\n\r\nx\r\n")
        p.wait_messages("bad", 1)
        with p.imap("bad") as m:
            assert m.append("INBOX", None, None, GOOD)[0] == "OK"
            assert m.select()[1] == [b"2"]
            assert m.store("1", "+FLAGS", "\\Deleted")[0] == "OK" and m.expunge()[0] == "OK"
            assert p.role("mailbox-1")["detail"]["sessions"] == 1
        crash_by(p, "bad")
        assert other.noop()[0] == "OK"  # nobody else has noticed
        assert p.role("mailbox")["pid"] == common
        assert p.wait_role("mailbox-1", other_than=own)["accounts"] == [p.address("bad")]
        wait_until(lambda: logs_in(p, "bad"), 20)
        with p.imap("bad") as m:
            assert m.select()[1] == [b"1"]

        # The common process ends and comes back beside it.
        p.kill_role("mailbox")
    assert logs_in(p, "u1") and logs_in(p, "bad")
    with p.imap("bad") as m:
        assert m.append("INBOX", None, None, GOOD)[0] == "OK"
    assert apart(p) == {"mailbox-1": [p.address("bad")]}

    # An hour without a crash: it goes back, its process settles what it has, and ends.
    forget = flag.with_name("forget")
    forget.touch()
    wait_until(lambda: "mailbox-1" not in {r["name"] for r in p.status()["roles"]}, 20, "it is still apart")
    with p.imap("bad") as m:
        assert m.select()[1] == [b"2"]
        assert m.store("2", "+FLAGS", "\\Deleted")[0] == "OK" and m.expunge()[0] == "OK"
    forget.unlink()

    # And again.
    for _ in range(2):
        crash_by(p, "bad")
        everybody_ready(p)
    wait_until(lambda: apart(p) == {"mailbox-1": [p.address("bad")]}, 20)
    with p.imap("bad") as m:
        assert m.append("INBOX", None, None, GOOD)[0] == "OK"

    # After a restart it is one like the others; its process's journal is looked after.
    p.kill_all()
    p.start()
    assert apart(p) == {}
    with p.imap("bad") as m:
        assert m.select()[1] == [b"2"]
        m.store("1:*", "+FLAGS", "\\Deleted")
        assert m.expunge()[0] == "OK", [x for x in p.log().splitlines() if " warn " in x or " error " in x or "orphan" in x][-8:]
        assert m.select()[1] == [b"0"]
