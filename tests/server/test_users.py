# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Who the processes run as: a user for each role when started as root, one for all otherwise."""
import os

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")

USERS = {"vmail": 6000, "smtp": 6101, "login": 6102, "auth": 6103, "keys": 6104, "log": 6105}
SETTINGS = "process {\n%s\n}" % "\n".join('user_%s = "%d:%d"' % (n, i, i) for n, i in USERS.items())


def uids(p):
    out = {}
    for r in p.status()["roles"]:
        with open("/proc/%d/status" % r["pid"], encoding="ascii") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert len(set(fields["Uid"].split())) == 1 and len(set(fields["Gid"].split())) == 1
        assert fields["Groups"].split() in ([], [fields["Gid"].split()[0]])
        out[r["name"]] = int(fields["Uid"].split()[0])
    return out


def test_each_role_has_its_own(make_pabal):
    p = make_pabal(settings=SETTINGS, start=False)
    for root, _, files in os.walk(p.demo / "data" / "directory"):
        for name in [root] + [os.path.join(root, f) for f in files]:
            os.chown(name, USERS["auth"], USERS["auth"])
    p.start()
    assert uids(p) == {"log": 6105, "keys": 6104, "auth": 6103, "smtp": 6101, "login": 6102, "mailbox-0": 6000,
                       "mailbox-1": 6000, "queue": 6000}
    status = p.status()
    assert status["separate_users"]
    assert os.stat("/proc/%d" % status["pid"]).st_uid == 0
    p.send("test1")
    p.wait_messages("test1", 1)
    for r in ("smtp", "auth", "queue", "mailbox-0"):
        p.kill_role(r)
    p.send("test1")
    p.wait_messages("test1", 2)
    for path, uid in (("data/mail", 6000), ("data/journal/smtp-0", 6101), ("data/directory", 6103), ("tls/key.pem", 0)):
        assert os.stat(p.demo / path).st_uid == uid, path
        assert os.stat(p.demo / path).st_mode & 0o007 == 0, path


def test_an_ordinary_user_runs_all(make_pabal):
    p = make_pabal(uid=65534)
    assert set(uids(p).values()) == {65534}
    assert not p.status()["separate_users"]
    assert "one user" in p.cli("status").stdout
    p.send("test1")
    p.wait_messages("test1", 1)
    assert p.stop() == 0


def test_root_without_the_users_is_told_how_to_make_them(make_pabal):
    p = make_pabal(settings='process { user_smtp = "no-such-user" }', start=False)
    p.start(wait=False)
    assert p.process.wait(20) == 78
    assert 'user "no-such-user"' in p.text("output") and "make install" in p.text("output")
