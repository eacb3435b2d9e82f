# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""A message that crashes the queue (PROCESSES C6): alone after two crashes, held after four; other mail goes on.
And a message whose side file lost its end."""
import json
import os

import pytest

from conftest import wait_until
from crash import needs_faults

BAD = "Subject: bad\r\nX-Crash: yes\r\n\r\nbad\r\n"


@pytest.fixture
def flag(tmp_path):
    for p in (tmp_path, *tmp_path.parents):
        if p.stat().st_uid == os.getuid() and p != p.parent and str(p) != "/tmp":
            p.chmod(0o755)
    return tmp_path / "while"


def subjects(p, user):
    with p.imap(user) as m:
        m.select(readonly=True)
        _, data = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if int(m.select()[1][0]) else ("OK", [])
        return sorted(d[1].decode().split("Subject: ")[1].strip() for d in data if isinstance(d, tuple))


def arrive(p, user, wanted):
    """All of these subjects, each once, and the postmaster's notices apart."""
    def there():
        found = [s for s in subjects(p, user) if not s.startswith("=?utf-8?")]
        return found == sorted(wanted)
    wait_until(there, 20, "%s has %s, not %s" % (user, subjects(p, user), wanted), 0.1)


def queue(p):
    def asked():
        done = p.cli("queue", "list", "--json", check=False)
        return done if done.returncode == 0 else None
    return json.loads(wait_until(asked, 20, "queue does not answer").stdout)["messages"]  # it may just be away


def crashes(p):
    return [line for line in p.log().splitlines() if " role.crashed " in line]


def crash_on(p, point, flag):
    flag.touch()
    p.expected_crashes = True
    p.env.update(PABAL_FAULT="crash:%s=X-Crash: yes@@queue" % point, PABAL_FAULT_WHILE=str(flag))
    p.start()
    if "no seccomp" in p.role("queue")["sandbox"]:
        pytest.skip("sanitizers have crash reports of their own")


@needs_faults
@pytest.mark.parametrize("point", ["plan", "place"])
def test_a_message_that_crashes_the_queue_is_held(make_pabal, flag, point):
    p = make_pabal(start=False, accounts=("test1", "test2", "boss"), aliases=("postmaster=boss",))
    crash_on(p, point, flag)
    p.send(["test1", "test2"], "Subject: before\r\n\r\nx\r\n")
    p.send(["test1", "test2"], BAD)
    p.send(["test1", "test2"], "Subject: after\r\n\r\nx\r\n")
    held = p.wait_log("queue.held")
    qid = held.split("qid=")[1].split()[0]
    arrive(p, "test1", ["before", "after"])
    arrive(p, "test2", ["before", "after"])
    assert len(crashes(p)) == 4 and all("qid=" + qid in line for line in crashes(p)), crashes(p)
    copies = 1 if point == "plan" else 2  # before it is planned it is one
    wait_until(lambda: len(queue(p)) == copies, 10)
    for row in queue(p):
        assert (row["id"], row["state"]) == (qid, "held")
        assert row["reason"] == "at work in 4 crashes of the queue"
    wait_until(lambda: len(subjects(p, "boss")) == 1, 10, "postmaster was not told")

    # It stays so when all is started again, and other mail goes on.
    p.restart()
    p.send("test1", "Subject: later\r\n\r\nx\r\n")
    arrive(p, "test1", ["before", "after", "later"])
    assert [row["state"] for row in queue(p)] == ["held"] * copies
    assert all("4 crashes" in row["reason"] for row in queue(p))

    # Released while nothing has changed: the count begins anew, and it is held again.
    before = len(crashes(p))
    p.cli("queue", "release", qid, "--yes", check=False)  # queue may be gone before it answers
    wait_until(lambda: len(crashes(p)) == before + 4 and len(queue(p)) == copies and
               all(row["state"] == "held" for row in queue(p)), 20)

    # Released after the program was mended.
    flag.unlink()
    p.cli("queue", "release", qid, "--yes")
    arrive(p, "test1", ["before", "after", "later", "bad"])
    arrive(p, "test2", ["before", "after", "bad"])
    wait_until(lambda: not queue(p), 10)
    p.kill_role("queue")
    p.restart()
    p.send("test1", "Subject: last\r\n\r\nx\r\n")
    arrive(p, "test1", ["before", "after", "later", "bad", "last"])
    assert queue(p) == []


@needs_faults
def test_a_record_that_crashes_its_reader_is_put_away(make_pabal, flag):
    """It cannot even be held: it is kept in spool/damaged as it is, and mail goes on."""
    p = make_pabal(start=False, accounts=("test1", "boss"), aliases=("postmaster=boss",))
    crash_on(p, "read", flag)
    p.send("test1", BAD)
    p.send("test1", "Subject: after\r\n\r\nx\r\n")
    qid = p.wait_log("queue.record.damaged").split("qid=")[1].split()[0]
    arrive(p, "test1", ["after"])
    assert b"X-Crash: yes" in (p.demo / "data" / "spool" / "damaged" / (qid + ".record")).read_bytes()
    assert queue(p) == [] and len(crashes(p)) == 8
    wait_until(lambda: len(subjects(p, "boss")) == 1, 10, "postmaster was not told")


@needs_faults
def test_crashes_are_counted_over_a_restart(make_pabal, flag):
    """Two in one life of the server, two in the next."""
    p = make_pabal(start=False)
    flag.touch()
    crash_on(p, "place", flag)
    p.send("test1", BAD)
    wait_until(lambda: len(crashes(p)) >= 2, 20)
    p.kill_all()
    before = len(crashes(p))
    p.start()
    p.wait_log("queue.held")
    # The last one before the end may not have been noted by a queue any more.
    assert 4 <= len(crashes(p)) <= 5, (before, crashes(p))
