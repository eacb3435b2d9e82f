# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""What each role cannot do once it is captured (PROCESSES C3), tried inside its sandbox."""
import json
import subprocess
import time

import pytest

from conftest import PROGRAM, server, wait_until

# Everything else is refused, or kills the process.
ALLOWED = {
    "log": {"write log"},
    "keys": set(),
    "auth": {"read directory"},
    "smtp": {"read smtp journal", "write smtp journal"},
    "login": set(),
    "mailbox": {"read mail", "write mail"},
    "queue": {"read mail", "write mail", "write spool", "read smtp journal"},
}
DEADLY = {"exec", "signal", "ptrace", "mount", "namespace", "setuid"}
FILES = {"read mail", "write mail", "write spool", "read directory", "read key", "read dkim key", "read smtp journal",
         "write smtp journal", "write log", "read configuration", "read /etc/passwd"}


@pytest.fixture(scope="module")
def stopped(pabal_module):
    pabal_module.stop()
    return pabal_module


@pytest.fixture(scope="module")
def pabal_module():

    with server() as p:  # made by a run, so all files are there
        p.sandbox = p.role("smtp")["sandbox"]
        yield p


@pytest.mark.parametrize("role", sorted(ALLOWED))
def test_what_a_captured_role_can_do(stopped, role):
    acts = json.loads(stopped.cli("probe", role).stdout)
    if "no seccomp" in stopped.sandbox:  # sanitizer builds
        acts = {a: r for a, r in acts.items() if a in FILES}
    if "no landlock" in stopped.sandbox:
        acts = {a: r for a, r in acts.items() if a not in FILES}
    assert {a for a, r in acts.items() if r == "allowed"} == ALLOWED[role] & set(acts)
    for act in DEADLY & set(acts):
        assert acts[act] == "killed 31", act
    assert "no sandbox" not in acts.values()


def test_a_captured_door_gets_no_session_without_a_login(make_pabal):
    """mailbox serves tickets of auth only: unit tests in proc/ticket_test.c; here: it logs nothing refused
    in the normal course of things."""
    p = make_pabal()
    with p.imap("test1") as m:
        m.noop()
    assert p.role("mailbox-0")["detail"]["handovers_refused"] == 0
    assert p.role("mailbox-1")["detail"]["handovers_refused"] == 0


def test_sessions_end_when_the_account_is_disabled(make_pabal):
    p = make_pabal()
    m = p.imap("test1")
    m.select()
    other = p.imap("test2")
    p.cli("account", "set", p.address("test1"), "--enabled", "no")
    line = m.readline()
    assert line.startswith(b"* BYE"), line
    assert other.noop()[0] == "OK"
    with pytest.raises(m.error, match="AUTHENTICATIONFAILED|UNAVAILABLE|failed"):
        p.imap("test1")
    other.logout()


def test_sessions_end_when_the_password_changes(make_pabal):
    p = make_pabal()
    m = p.imap("test1")
    m.select()
    p.cli("account", "passwd", p.address("test1"), "--password-stdin", stdin="another-passw0rd\n")
    assert m.readline().startswith(b"* BYE")
    fresh = p.imap()
    assert fresh.login(p.address("test1"), "another-passw0rd")[0] == "OK"
    fresh.logout()


def test_changes_hold_at_the_next_command(make_pabal):
    """R24: no reload, no waiting."""
    p = make_pabal()
    with p.smtp() as s:
        s.ehlo()
        s.mail("a@example.net")
        assert s.rcpt("new@" + p.domain)[0] == 550
        p.cli("alias", "add", "new@" + p.domain, p.address("test1"))
        assert s.rcpt("new@" + p.domain)[0] == 250
        p.cli("alias", "remove", "new@" + p.domain)
        s.rset()
        s.mail("a@example.net")
        assert s.rcpt("new@" + p.domain)[0] == 550


def test_keys_signs_no_more_than_handshakes(make_pabal):
    p = make_pabal()
    for _ in range(30):
        s, r = p.connect("imaps")
        r.readline()
        s.close()
    wait_until(lambda: p.role("keys")["detail"]["signed"] >= 30, 10)
    detail = p.role("keys")["detail"]
    assert detail["refused"] == 0 and detail["keys"] == 1


def test_a_delivery_reaches_an_idling_client_at_once(make_pabal):
    p = make_pabal()
    m = p.imap("test1")
    m.select()
    m.send(b"x IDLE\r\n")
    assert m.readline().startswith(b"+")
    start = time.monotonic()
    p.send("test1")
    while b"EXISTS" not in m.readline():
        pass
    assert time.monotonic() - start < 5  # a benchmark has the real figure
    m.send(b"DONE\r\n")


def test_probe_refuses_unknown_roles(stopped):
    done = subprocess.run([PROGRAM, "probe", "nobody", "--config", str(stopped.config)], capture_output=True,
                          text=True, timeout=20, check=False)
    assert done.returncode != 0 and "no role" in done.stderr
