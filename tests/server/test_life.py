# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Processes: start, readiness, status, restart of a role, reload, stop."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROGRAM, alive, wait_until

ROLES = {"log", "keys", "auth", "smtp", "login", "mailbox-0", "mailbox-1", "queue"}


def greeting(pabal, service):
    s, r = pabal.connect(service)
    with s:
        return r.readline()


def test_all_listeners_answer_when_ready(pabal):
    assert greeting(pabal, "smtp").startswith(b"220 ")
    assert greeting(pabal, "submission").startswith(b"220 ")
    assert greeting(pabal, "submissions").startswith(b"220 ")
    assert greeting(pabal, "lmtp").startswith(b"220 ")
    assert greeting(pabal, "imap").startswith(b"* OK")
    assert greeting(pabal, "imaps").startswith(b"* OK")
    assert greeting(pabal, "pop3").startswith(b"+OK")
    assert greeting(pabal, "pop3s").startswith(b"+OK")


def test_ready_json(pabal):
    ready = json.loads((pabal.demo / "ready.json").read_text())
    assert ready["host"] == "127.0.0.1"
    assert {n: p - pabal.base for n, p in ready["ports"].items()} == {
        "smtp": 25, "submission": 587, "submissions": 465, "lmtp": 24, "imap": 143, "imaps": 993, "pop3": 110,
        "pop3s": 995}
    assert [a["address"] for a in ready["accounts"]] == ["test1@demologthink.com", "test2@demologthink.com"]
    assert all(len(a["password"]) >= 12 for a in ready["accounts"])
    assert (pabal.demo / "ready.json").stat().st_mode & 0o077 == 0


def test_status_names_every_role_and_its_sandbox(pabal):
    status = pabal.status()
    assert status["state"] == "ready"
    assert {r["name"] for r in status["roles"]} == ROLES
    for r in status["roles"]:
        assert r["state"] == "ready" and r["restarts"] == 0
        assert r["detail"]["pss_kib"] > 0
        assert "landlock" in r["sandbox"] and "seccomp" in r["sandbox"]
    assert "PSS" in pabal.cli("status").stdout


def test_nobody_works_while_there_is_nothing_to_do(pabal):
    """Processor time of the master and of every role in a quiet second: a loop that never sleeps takes all of it."""
    status = pabal.status()
    pids = [status["pid"]] + [r["pid"] for r in status["roles"]]

    def used():
        stats = [Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split() for pid in pids]
        return [int(s[11]) + int(s[12]) for s in stats]  # proc(5): utime, stime

    before = used()
    time.sleep(1)
    assert max(b - a for a, b in zip(before, used())) < os.sysconf("SC_CLK_TCK") * 0.4


def test_roles_hold_no_capabilities_and_no_privileges(pabal):
    for r in pabal.status()["roles"]:
        with open("/proc/%d/status" % r["pid"], encoding="ascii") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert int(fields["CapEff"], 16) == 0 and int(fields["CapPrm"], 16) == 0, r["name"]
        assert fields["NoNewPrivs"] == "1", r["name"]


def test_a_second_server_in_the_same_directory_is_refused(pabal):
    second = subprocess.run([PROGRAM, "quickstart", "--dir", str(pabal.demo)], capture_output=True, text=True,
                            timeout=20, check=False)
    assert second.returncode != 0
    assert "runs already" in second.stderr
    assert pabal.status()["state"] == "ready"


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_killed_role_comes_back(pabal, role):
    before = pabal.role(role)
    others = {r["name"]: r["pid"] for r in pabal.status()["roles"] if r["name"] != role}
    pabal.kill_role(role)
    after = pabal.wait_role(role)
    assert after["restarts"] == before["restarts"] + 1
    assert {r["name"]: r["pid"] for r in pabal.status()["roles"] if r["name"] != role} == others
    assert greeting(pabal, "imaps").startswith(b"* OK")
    assert greeting(pabal, "smtp").startswith(b"220 ")
    with pabal.imap("test1") as m: # auth, keys, mailbox: all are wired again
        assert m.noop()[0] == "OK"


def test_connections_to_a_door_that_died_wait_for_the_new_one(pabal):
    pabal.expected_crashes = True
    os.kill(pabal.role("login")["pid"], signal.SIGKILL)
    s = socket.create_connection((pabal.host, pabal.port("imap")), timeout=10)
    with s:
        assert s.makefile("rb").readline().startswith(b"* OK")


def test_a_crash_is_reported_with_its_signal(make_pabal):
    p = make_pabal()
    if "no seccomp" in p.role("queue")["sandbox"]:
        pytest.skip("sanitizers have crash reports of their own")
    p.kill_role("queue", signal.SIGSEGV)
    assert "signal=11" in p.wait_log("role.crashed", "queue")
    p.wait_log("role.crash.frames")


def test_reload_takes_what_is_right_and_keeps_what_is_wrong_out(make_pabal):
    p = make_pabal()
    p.configure("smtp { max_recipients = 123 }")
    p.cli("reload")
    assert p.status()["generation"] == 2
    good = p.config.read_text()
    p.config.write_text(good + "\nsmtp { max_recipient = 1 }\n")
    refused = p.cli("reload", check=False)
    assert refused.returncode != 0
    assert "pabal.conf:%d: error" % len((good + "\nx").splitlines()) in refused.stderr
    p.config.write_text(good + "\ndata_dir = elsewhere\n")
    refused = p.cli("reload", check=False)
    assert refused.returncode != 0 and "data_dir" in refused.stderr
    assert p.status()["generation"] == 2
    assert all(r["restarts"] == 0 for r in p.status()["roles"])
    assert greeting(p, "imaps").startswith(b"* OK")


def test_reload_keeps_connections_and_brings_a_new_certificate(make_pabal):
    p = make_pabal()
    s, r = p.connect("imaps")
    before = s.getpeercert(True)
    assert r.readline().startswith(b"* OK")
    with pytest.MonkeyPatch.context():
        other = p.dir / "other"
        subprocess.run([PROGRAM, "quickstart", "--dir", str(other), "--domain", "example.org", "--no-start"],
                       check=True, capture_output=True, timeout=30)
        for name in ("cert.pem", "key.pem"):
            (p.demo / "tls" / name).write_bytes((other / "tls" / name).read_bytes())
    p.cli("reload")

    def renewed():
        fresh, _ = p.connect("imaps")
        with fresh:
            return fresh.getpeercert(True) != before
    wait_until(renewed, 10, "the old certificate is still served")
    s.sendall(b"a noop\r\n")
    assert r.readline().startswith(b"a OK")
    s.close()


def test_a_key_that_does_not_belong_to_its_certificate_is_refused(make_pabal):
    p = make_pabal()
    key = (p.demo / "tls" / "key.pem")
    old = key.read_bytes()
    other = p.dir / "other"
    subprocess.run([PROGRAM, "quickstart", "--dir", str(other), "--domain", "example.org", "--no-start"],
                   check=True, capture_output=True, timeout=30)
    key.write_bytes((other / "tls" / "key.pem").read_bytes())
    refused = p.cli("reload", check=False)
    assert refused.returncode != 0 and "does not belong" in refused.stderr
    key.write_bytes(old)
    assert greeting(p, "imaps").startswith(b"* OK")


def test_log_rotation(make_pabal):
    p = make_pabal()
    log = p.demo / "log" / "pabal.log"
    p.wait_log("master.ready")
    log.rename(p.demo / "log" / "pabal.log.1")
    os.kill(p.process.pid, signal.SIGUSR1)
    wait_until(log.exists, 10, "no new log file")
    p.kill_role("log")
    p.cli("reload")
    p.wait_log("master.reloaded")
    assert "master.reloaded" in p.cli("log", "tail").stdout
    lines = p.cli("log", "tail", "--json").stdout.splitlines()
    assert "master.reloaded" in {json.loads(line)["event"] for line in lines}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stop_by_signal(make_pabal, sig):
    p = make_pabal()
    pids = p.pids()
    start = time.monotonic()
    assert p.stop(sig) == 0
    assert time.monotonic() - start < 10
    assert not any(alive(pid) for pid in pids)
    assert not (p.demo / "ready.json").exists()
    assert not list((p.demo / "run" / "control").iterdir()) if (p.demo / "run").exists() else True


def test_stop_tells_idle_sessions_and_ends(make_pabal):
    p = make_pabal()
    s, r = p.connect("imaps")
    assert r.readline().startswith(b"* OK")
    assert p.stop() == 0
    assert r.readline().startswith(b"* BYE")


def test_stop_verb_waits_for_the_end(make_pabal):
    p = make_pabal()
    assert "Stopped" in p.cli("stop").stdout
    wait_until(lambda: p.process.poll() is not None, 5, "still there")
    assert p.stop() == 0
    assert p.cli("status", check=False).returncode == 69


@pytest.mark.parametrize("how", ["run_dir kept", "elsewhere"])
def test_status_and_stop_while_the_configuration_is_wrong(make_pabal, how):
    p = make_pabal(start=False)
    if how == "elsewhere":
        p.config.write_text(p.config.read_text().replace('run_dir = "run"', 'run_dir = "sockets"  # here'))
    p.start()
    p.config.write_text("nonsense {\n" + p.config.read_text())
    status = p.cli("status", "--json")
    assert json.loads(status.stdout)["pid"] == p.process.pid
    assert "pabal.conf:1" in status.stderr and "goes on" in status.stderr
    refused = p.cli("reload", check=False)
    assert refused.returncode == 78 and "pabal.conf:1" in refused.stderr
    assert "Stopped" in p.cli("stop").stdout
    wait_until(lambda: p.process.poll() is not None, 10)
    stopped = p.cli("status", check=False)
    assert stopped.returncode == 78 and "pabal.conf:1" in stopped.stderr


def test_another_server_is_not_stopped(make_pabal):
    """A wrong file that names the run_dir of somebody else's server."""
    p = make_pabal()
    other = p.dir / "other.conf"
    other.write_text('run_dir = "%s"\nnonsense\n' % (p.demo / "run"))
    assert p.cli("stop", "--config", str(other), check=False).returncode == 78
    assert p.status()["state"] == "ready"


def test_a_directory_names_its_configuration(pabal):
    assert json.loads(pabal.cli("status", "--json", "--config", str(pabal.demo)).stdout)["state"] == "ready"


def test_no_configuration_says_what_to_do(tmp_path):
    missing = subprocess.run([PROGRAM, "status", "--config", str(tmp_path / "no.conf")], capture_output=True, text=True,
                             timeout=20, check=False)
    assert missing.returncode == 78 and "no such file" in missing.stderr and "quickstart" in missing.stderr


def test_roles_die_with_the_master(make_pabal):
    p = make_pabal()
    p.kill_all()
    p.start()
    assert p.status()["state"] == "ready"


def test_a_port_in_use_is_said(make_pabal):
    p = make_pabal(start=False)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", p.base + 143))
        s.listen()
        failed = subprocess.run([PROGRAM, "quickstart", "--dir", str(p.demo)], capture_output=True, text=True,
                                timeout=20, check=False)
    assert failed.returncode == 78
    assert "imap" in failed.stderr and str(p.base + 143) in failed.stderr


def test_quickstart_refuses_a_directory_of_something_else(tmp_path):
    (tmp_path / "precious").write_text("x")
    done = subprocess.run([PROGRAM, "quickstart", "--dir", str(tmp_path), "--domain", "example.org"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0 and "not empty" in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["precious"]


def test_quickstart_in_a_deep_directory(make_pabal, tmp_path):
    """Names of Unix sockets are short; directories need not be."""
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    done = subprocess.run([PROGRAM, "quickstart", "--dir", str(deep), "--domain", "example.org", "--no-start"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "/tmp/pabal-" in (deep / "pabal.conf").read_text()


def test_systemd_is_told(make_pabal, tmp_path):
    """sd_notify(3): READY=1, RELOADING=1, STOPPING=1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(20)
        p = make_pabal(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert s.recv(1000).startswith(b"READY=1")
        p.cli("reload")
        assert s.recv(1000).startswith(b"RELOADING=1")
        assert s.recv(1000).startswith(b"READY=1")
        p.stop()
        assert s.recv(1000).startswith(b"STOPPING=1")


def test_several_processes_of_a_door(make_pabal):
    """Each source address goes to one process: all of loopback to the same; a killed one is passed by."""
    p = make_pabal(settings="process { smtp = 2 login = 2 mailbox = 3 }")
    names = {r["name"] for r in p.status()["roles"]}
    assert {"smtp-0", "smtp-1", "login-0", "login-1", "mailbox-0", "mailbox-1", "mailbox-2"} <= names
    for i in range(20):
        with socket.create_connection((p.host, p.port("smtp")), timeout=10, source_address=("127.0.0.%d" % (i + 1), 0)) as s:
            assert s.makefile("rb").readline().startswith(b"220 ")
    taken = [p.role("smtp-%d" % i)["detail"]["accepted"] for i in (0, 1)]
    assert sum(taken) >= 20 and min(taken) > 0, taken
    for _ in range(6):
        with p.imap("test1") as m:
            assert m.noop()[0] == "OK"
    used = [p.role("login-%d" % i)["detail"]["accepted"] for i in (0, 1)]
    assert 0 in used, used
    for role in ("smtp-0", "smtp-1", "login-0", "login-1"):
        p.kill_role(role)
    p.send("test1")
    p.wait_messages("test1", 1)


def test_without_a_certificate_and_one_later(make_pabal):
    """R46: starts, says so, takes one by reload."""
    p = make_pabal(start=False)
    with_tls = p.config.read_text()
    lines = [line for line in with_tls.splitlines() if "certificate_files" not in line and "key_files" not in line]
    p.config.write_text("\n".join(lines) + "\n")
    p.start()
    assert p.status()["certificate"] is False
    assert "no certificate" in p.cli("status").stdout
    with p.smtp() as s:
        s.ehlo()
        assert not s.has_extn("starttls")
    p.config.write_text(with_tls)
    p.cli("reload")

    def offered():
        with p.smtp() as s:
            s.ehlo()
            return s.has_extn("starttls")
    wait_until(offered, 10)
    with p.imap("test1") as m:
        assert m.noop()[0] == "OK"


def test_logins_that_wait_survive_the_death_of_auth(make_pabal):
    """They stay parked and are asked once more (PROCESSES C5); nobody gets a wrong answer."""
    p = make_pabal()
    p.expected_crashes = True
    pid = p.role("auth")["pid"]
    os.kill(pid, signal.SIGSTOP)
    waiting = []
    for _ in range(30):
        s, r = p.connect("imaps")
        assert r.readline().startswith(b"* OK")
        s.sendall(b"a LOGIN %s %s\r\n" % (p.address("test1").encode(), p.password("test1").encode()))
        waiting.append((s, r))
    os.kill(pid, signal.SIGKILL)
    for s, r in waiting:
        assert r.readline().startswith(b"a OK")
        s.close()


def test_more_logins_at_once_than_a_channel_carries(make_pabal):
    p = make_pabal()
    pid = p.role("auth")["pid"]
    waiting = []
    for _ in range(400):
        s, r = p.connect("imaps")
        assert r.readline().startswith(b"* OK")
        waiting.append((s, r))
    os.kill(pid, signal.SIGSTOP)
    try:
        for s, _ in waiting:
            s.sendall(b"a LOGIN %s %s\r\n" % (p.address("test1").encode(), p.password("test1").encode()))
        time.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    answers = [r.readline() for s, r in waiting]
    ok = sum(a.startswith(b"a OK") for a in answers)
    limit = 50  # imap.max_connections_per_account
    assert ok == limit, answers[:3]
    assert all(b"LIMIT" in a or b"UNAVAILABLE" in a for a in answers if not a.startswith(b"a OK")), answers
    for s, _ in waiting:
        s.close()


def test_the_death_of_mailbox_ends_its_sessions_only(make_pabal):
    p = make_pabal(accounts=("u1", "u2", "u3", "u4", "u5", "u6"), aliases=())
    p.expected_crashes = True
    sessions = [p.imap("u%d" % i) for i in range(1, 7)]
    for m in sessions:
        m.select()
    p.kill_role("mailbox-0")
    told = kept = 0
    for m in sessions:
        try:
            assert m.noop()[0] == "OK"
            kept += 1
        except m.abort as e:
            assert "UNAVAILABLE" in str(e) or "BYE" in str(e) or "EOF" in str(e), e
            told += 1
    assert told and kept
    for i in range(1, 7):
        with p.imap("u%d" % i) as m:
            assert m.noop()[0] == "OK"


def test_mail_accepted_while_queue_is_down_arrives(make_pabal):
    p = make_pabal()
    pid = p.kill_role("queue", wait=False)
    for i in range(20):
        p.send("test1", "Subject: %d\r\n\r\nx\r\n" % i)
        if i in (5, 12):
            with contextlib.suppress(AssertionError, KeyError, ProcessLookupError):
                os.kill(p.wait_role("queue", pid, 5)["pid"], signal.SIGKILL)
    p.wait_messages("test1", 20)
    with p.imap("test1") as m:
        assert int(m.select()[1][0]) == 20
