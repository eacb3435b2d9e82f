# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The audit log (R86): who changed what, hash-chained, over crashes of the log role and rotation."""
import gzip
import json
import os
import signal
import subprocess

import pytest

from conftest import PROGRAM, wait_until


def audit_file(p):
    return p.demo / "data" / "audit" / "audit.log"


def records(p, *words):
    return [r for r in json.loads(p.cli("audit", "list", "--json").stdout) if all(w in json.dumps(r) for w in words)]


def verify(p, code=0, *args):
    done = p.cli("audit", "verify", "--json", *args, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def rotate(p, to):
    """As logrotate does."""
    audit_file(p).rename(to)
    (p.demo / "log" / "pabal.log").rename(p.demo / "log" / "pabal.log.1")
    os.kill(p.process.pid, signal.SIGUSR1)
    wait_until(lambda: audit_file(p).exists() and (p.demo / "log" / "pabal.log").exists(), 15, "not opened again")


def test_what_is_recorded(pabal):
    """Acts of the administrator on directory, queue, configuration and the server, with user and process."""
    pabal.cli("account", "add", "kim@" + pabal.domain, "--no-password", "--name", "김철수")
    pabal.cli("account", "passwd", "kim@" + pabal.domain, "--password-stdin", stdin="Secret-4711-pw\n")
    pabal.cli("account", "add", "kim@" + pabal.domain, "--no-password", check=False)
    pabal.cli("account", "list")
    pabal.cli("queue", "list")
    pabal.cli("queue", "hold", "--all", "--yes", check=False)  # nothing there: only counted
    pabal.configure("smtp { max_recipients = 777 }")
    pabal.cli("reload")
    pabal.cli("sendmail", "test1", stdin="Subject: x\n\nx\n")
    wait_until(lambda: len(records(pabal, "smtp.local")) == 1, 15, "the injection is not recorded", 0.2)
    acts = records(pabal)
    mine = [a for a in acts if a["event"] == "admin.act" and a["role"] == "auth-0"]
    assert [a["command"] for a in mine] == ["account.add", "account.set", "account.add"]
    assert {a["user_id"] for a in mine} == {os.getuid()} and all(a["pid"] > 0 for a in mine)
    assert "display_name=김철수" in mine[0]["value"] or "name=김철수" in mine[0]["value"]
    assert "(set)" in mine[1]["value"] and "Secret" not in audit_file(pabal).read_text() and "$6$" not in str(acts)
    assert [a["command"] for a in acts if a["event"] == "admin.refused"] == ["account.add"]
    changed = [a for a in acts if a["event"] == "config.changed"]
    assert [(c["setting"], c["value"]) for c in changed] == [("smtp.max_recipients", "777")] and changed[0]["before"] != "777"
    assert acts[0]["event"] == "server.start"  # lines of two processes may meet in either order
    assert verify(pabal)["last"] == len(acts) == acts[-1]["number"]


def test_changes_show(pabal):
    """A changed line, a missing one, a cut end are named; the server goes on."""
    path, good = audit_file(pabal), audit_file(pabal).read_bytes()
    n = good.count(b"\n")
    lines = good.splitlines(True)
    path.write_bytes(good.replace(b"account.set", b"account.get"))
    assert verify(pabal, 65)["faults"] == [{"fault": "changed", "line": 3, "last": 3}]
    assert "line 3 is not" in pabal.cli("audit", "verify", check=False).stdout
    path.write_bytes(b"".join(lines[:2] + lines[4:]))
    assert verify(pabal, 65)["faults"] == [{"fault": "missing", "line": 3, "last": 4}]
    path.write_bytes(b"".join(lines[:-1]))
    assert verify(pabal, 65)["faults"] == [{"fault": "missing", "line": n, "last": n}]
    path.write_bytes(good)
    kept = verify(pabal)
    token = "%d:%s" % (kept["last"], kept["hash"])
    assert verify(pabal, 0, "--expect", token)["ok"]
    verify(pabal, 65, "--expect", token[:-1] + ("0" if token[-1] != "0" else "1"))


def test_crash_and_rotation(make_pabal):
    """kill -9 of the log role under load, rotation in between: each message handed in is there once."""
    p = make_pabal(settings="sendmail { rate_messages = 0 }")
    env = {**p.env, "PABAL_SENDMAIL_SOCKET": str(p.demo / "run" / "sendmail.sock")}
    text = "MAIL FROM:<a@example.net>\r\nRCPT TO:<test1>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n" * 40
    for i in range(4):
        job = subprocess.Popen([PROGRAM, "sendmail", "-bs"], env=env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        job.stdin.write("EHLO x\r\n" + text + "QUIT\r\n")
        job.stdin.flush()
        if i % 2 == 0:
            p.kill_role("log")
        else:
            rotate(p, p.demo / "data" / "audit" / ("audit.log.%d" % (9 - i)))
        out, _ = job.communicate(timeout=60)
        assert out.count("250 2.0.0 queued as") == 40, out[-500:]
    old = p.demo / "data" / "audit" / "audit.log.8"
    (old.parent / "audit.log.8.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    wait_until(lambda: len(records(p, "smtp.local")) >= 160, 15, "audit lines are missing", 0.2)
    ids = [r["qid"] for r in records(p, "smtp.local")]
    assert len(ids) == len(set(ids)) == 160
    assert verify(p)["first"] == 1


def test_without_a_server(make_pabal):
    """The command line writes the same log, and the server goes on with it."""
    p = make_pabal(start=False)
    p.cli("account", "set", "test1@" + p.domain, "--language", "en")
    p.start()
    p.stop()
    with open(audit_file(p), "ab") as f:
        f.write(b"9 torn")
    p.cli("account", "set", "test1@" + p.domain, "--language", "ko")
    acts = records(p)
    assert [a["role"] for a in acts] == ["cli", "master", "master", "cli", "cli"]
    assert acts[3]["event"] == "audit.torn" and acts[3]["why"] == "9 torn"
    assert verify(p)["ok"]


@pytest.mark.skipif(os.getuid() != 0, reason="root reads everything")
def test_others_may_not_read_it(pabal):
    assert audit_file(pabal).stat().st_mode & 0o007 == 0
    assert audit_file(pabal).parent.stat().st_mode & 0o007 == 0
