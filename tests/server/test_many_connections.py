# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""10,000 idle connections on one server: others are served as if they were not there, memory stays bounded."""
import contextlib
import resource
import smtplib
import socket
import subprocess

import pytest

from conftest import ROOT, wait_until

LOAD = ROOT / "build" / "bench-load"
PASSWORD = "correct-horse-9"
IDLE_ACCOUNTS = 10
KIB_EACH = 40  # a parked connection costs 14 with TLS, less without
SETTINGS = """
imap { max_connections_per_account = 12000 timeout_login = 10m }
auth { plaintext_networks = "127.0.0.0/8" }
"""


def idle(p, stack, service, n, kind):
    """n connections of IMAP that are logged in and in IDLE, by the client of the benchmark."""
    load = stack.enter_context(subprocess.Popen(
        [str(LOAD), "idle", p.host, str(p.port(service)), str(n), str(IDLE_ACCOUNTS), p.domain, PASSWORD, kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(load.stdin.close)
    assert '"ready": %d' % n in load.stdout.readline()
    return load


def greeted(p, stack, service, n):
    """n connections that say nothing."""
    for _ in range(n):
        s = stack.enter_context(socket.create_connection((p.host, p.port(service)), timeout=20))
        assert s.recv(4)


def memory(status):
    return sum(r["detail"]["pss_kib"] for r in status["roles"])


@pytest.mark.skipif(not LOAD.exists(), reason="bench-load is not built")
def test_ten_thousand_idle_connections(make_pabal):
    p = make_pabal(accounts=["u%d" % i for i in range(IDLE_ACCOUNTS)] + ["busy"], aliases=(), settings=SETTINGS)
    sanitized = "sanitizers" in p.cli("version").stdout
    few = resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 16000
    part = 20 if sanitized or few else 1
    for i in range(IDLE_ACCOUNTS):
        p.cli("account", "passwd", "u%d@%s" % (i, p.domain), "--password-stdin", stdin=PASSWORD + "\n")
    before = memory(p.status())
    with contextlib.ExitStack() as stack:
        loads = [idle(p, stack, "imaps", 1500 // part, "tls"), idle(p, stack, "imap", 6500 // part, "plain")]
        greeted(p, stack, "smtp", 1000 // part)
        greeted(p, stack, "imap", 1000 // part)
        with p.smtp("submission", "busy") as s:
            s.sendmail(p.address("busy"), [p.address("busy"), p.address("u0")], "Subject: among many\r\n\r\nx\r\n")
        p.wait_messages("busy", 1)
        m = p.pop3("busy")
        assert m.stat()[0] == 1
        m.quit()
        status = p.status()
        roles = {r["name"]: r["detail"] for r in status["roles"]}
        # Plain sessions after login are mailbox's alone; of those with TLS login has the other half.
        held = sum(r["connections"] for n, r in roles.items() if n.startswith("mailbox") or n == "smtp")
        assert held + roles["login"]["before_login"] >= 10000 // part
        assert part > 1 or memory(status) - before < 10000 * KIB_EACH
        for load in loads:
            load.stdin.close()
            assert '"alive": ' in load.stdout.read() and load.wait(30) == 0
    assert all(r["restarts"] == 0 for r in p.status()["roles"])


def sent(p):
    with contextlib.suppress(smtplib.SMTPException):
        p.send("test1")
        return True
    return False


def test_no_descriptors_left(make_pabal):
    """A server that may open few files: the oldest that are not logged in make room for others."""
    p = make_pabal(prefix=["sh", "-c", "ulimit -n 200; exec \"$@\"", "sh"])
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            s = stack.enter_context(socket.create_connection((p.host, p.port("smtp")), timeout=20))
            assert s.recv(100)[:4] in (b"220 ", b"421 ")
        wait_until(lambda: sent(p), 20)  # 421: the oldest has been told to go, and the next one has its place
    p.wait_messages("test1", 1)
