# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Who the processes run as: a user for each role when started as root, one for all otherwise."""
import os
import re
import shutil

import pytest

from conftest import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")

USERS = {"vmail": 6000, "smtp": 6101, "login": 6102, "auth": 6103, "keys": 6104, "log": 6105,
         "dns": 6106, "relay": 6107}
SETTINGS = "sender_auth { check = yes }\nprocess {\n%s\n}" % "\n".join('user_%s = "%d:%d"' % (n, i, i) for n, i in USERS.items())


def uids(p):
    out = {}
    for r in p.status()["roles"]:
        with open("/proc/%d/status" % r["pid"], encoding="ascii") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert len(set(fields["Uid"].split())) == 1 and len(set(fields["Gid"].split())) == 1
        assert fields["Groups"].split() in ([], [fields["Gid"].split()[0]])
        out[r["name"]] = int(fields["Uid"].split()[0])
    return out


def give_directory(p):
    for root, _, files in os.walk(p.demo / "data" / "directory"):
        for name in [root] + [os.path.join(root, f) for f in files]:
            os.chown(name, USERS["auth"], USERS["auth"])


def test_each_role_has_its_own(make_pabal):
    p = make_pabal(settings=SETTINGS, start=False)
    give_directory(p)
    p.start()
    assert uids(p) == {"log": 6105, "keys": 6104, "auth": 6103, "smtp": 6101, "login": 6102, "dns": 6106,
                       "mailbox-0": 6000, "mailbox-1": 6000, "queue": 6000}
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


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_with_the_rights_that_the_service_has(make_pabal):
    """The unit takes most capabilities away: what they are for is done by `pabal prepare`, before the start."""
    unit = (ROOT / "dist" / "pabal.service").read_text()
    assert "ExecStartPre=+@BINDIR@/pabal prepare" in unit
    assert not re.search("^ProcSubset=", unit, re.M)  # /proc/sys has the boot id
    kept = re.search("^CapabilityBoundingSet=(.*)$", unit, re.M).group(1).lower().replace("cap_", "+").replace(" ", ",")
    p = make_pabal(settings=SETTINGS, start=False, prefix=["setpriv", "--no-new-privs", "--bounding-set=-all," + kept])
    give_directory(p)
    p.start(wait=False)
    assert p.process.wait(20) == 78
    assert "pabal prepare" in p.text("output")
    p.cli("prepare")
    p.start()
    p.send("test1")
    p.wait_messages("test1", 1)
    p.kill_role("smtp")
    p.cli("upgrade")
    assert p.status()["separate_users"]
    assert p.stop() == 0
    p.cli("recover", "--cold")
    p.start()
    p.wait_log("master.cold_start")
    p.send("test1")
    p.wait_messages("test1", 2)


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
