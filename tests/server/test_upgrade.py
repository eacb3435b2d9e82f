# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Upgrade by re-exec (PROCESSES C6): same pid, listeners stay open, nothing lost, a bad program is not taken."""
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import socket
import threading

import pytest

from conftest import PROGRAM, alive, tls_context, wait_until


def version_of(path):
    return re.search(rb"\d+\.\d+\.\d+", subprocess_output(path, "version")).group()


def subprocess_output(*args):
    import subprocess
    return subprocess.run(args, capture_output=True, timeout=20, check=True).stdout


def install(p, content):
    """As `make install` does it: a new file under the old name."""
    fresh = pathlib.Path(p.program + ".new")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.rename(p.program)


def newer():
    """The same program, with another number for its version."""
    old = version_of(PROGRAM)
    new = re.sub(rb"\d", b"9", old)
    content = pathlib.Path(PROGRAM).read_bytes()
    assert old + b"\0" in content
    return content.replace(old + b"\0", new + b"\0"), new.decode()


class Sender(threading.Thread):
    """Sends one message after the other until told to stop; remembers what got its 250."""

    def __init__(self, p, number):
        super().__init__()
        self.p, self.number, self.ended = p, number, threading.Event()
        self.accepted, self.refused, self.other, self.closed = [], [], [], 0

    def run(self):
        i, s = 0, None
        while not self.ended.is_set():
            name = "m%d-%d" % (self.number, i)
            try:
                if s is None:
                    s = smtplib.SMTP(timeout=60)
                    code, _ = s.connect(self.p.host, self.p.port("smtp"))
                    if code != 220:
                        self.closed += 1
                        s = None
                        continue
                s.sendmail("a@example.net", [self.p.address("test1")], "Subject: %s\r\n\r\n%s\r\n" % (name, name))
                self.accepted.append(name)
                i += 1
            except ConnectionRefusedError as e:
                self.refused.append(str(e))
                s = None
            except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused,
                    smtplib.SMTPSenderRefused) as e:
                # 421 at a command boundary: before the message was accepted, so it is sent again.
                code = getattr(e, "smtp_code", 421)
                if code != 421:
                    self.other.append(str(e))
                self.closed += 1
                s = None


def subjects(p, user):
    with p.imap(user) as m:
        m.select()
        _, data = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return sorted(part[1].split(b":")[1].strip().decode() for part in data if isinstance(part, tuple))


def test_upgrade_under_load(make_pabal):
    p = make_pabal(own_program=True, settings="smtp { rate_messages = 0 rate_connections = 0 }")
    before = p.status()
    idle, lines = p.connect("imap")
    assert lines.readline().startswith(b"* OK")
    senders = [Sender(p, i) for i in range(8)]
    for s in senders:
        s.start()
    try:
        wait_until(lambda: all(len(s.accepted) > 5 for s in senders))
        content, new = newer()
        install(p, content)
        said = p.cli("upgrade").stdout
        assert "to %s, pid %d" % (new, before["pid"]) in said
        counts = [len(s.accepted) for s in senders]
        wait_until(lambda: all(len(s.accepted) > n + 5 for s, n in zip(senders, counts)))
    finally:
        for s in senders:
            s.ended.set()
        for s in senders:
            s.join(60)
    assert not any(s.refused or s.other for s in senders), [(s.refused, s.other) for s in senders]
    assert sum(s.closed for s in senders) >= len(senders)  # each was told once at least
    assert lines.readline().startswith(b"* BYE")
    idle.close()

    after = p.status()
    assert after["pid"] == before["pid"] == p.process.pid
    assert after["version"] == new and after["upgraded_from"] == before["version"]
    assert after["started_unix"] >= before["started_unix"] and after["state"] == "ready"
    assert not {r["pid"] for r in after["roles"]} & {r["pid"] for r in before["roles"]}
    assert json.loads((p.demo / "ready.json").read_text())["pid"] == before["pid"]

    wanted = sorted(name for s in senders for name in s.accepted)
    p.wait_messages("test1", len(wanted))
    assert subjects(p, "test1") == wanted
    assert not [line for line in p.log().splitlines() if " log.lost " in line]
    p.cli("stop")
    wait_until(lambda: p.process.poll() is not None)


def test_whoever_connects_meanwhile_waits(make_pabal):
    """The listeners are the same sockets: a connection made while no role runs is answered by the new ones."""
    p = make_pabal(own_program=True)
    keeper, lines = p.connect("smtp")  # in the middle of a message: the drain waits for it
    lines.readline()
    for command in (b"EHLO a\r\n", b"MAIL FROM:<a@example.net>\r\n", b"RCPT TO:<%s>\r\n" % p.address("test1").encode(),
                    b"DATA\r\n"):
        keeper.sendall(command)
        while lines.readline()[3:4] == b"-":
            pass
    upgrade = threading.Thread(target=p.cli, args=("upgrade",))
    upgrade.start()
    try:
        wait_until(lambda: p.status()["state"] == "upgrading")
        waiting = [p.connect(service) for service in ("smtp", "imap", "pop3")]
        keeper.sendall(b"Subject: kept\r\n\r\nx\r\n.\r\n")
        assert lines.readline().startswith(b"250 ")
        assert lines.readline().startswith(b"421 ")
        for s, reader in waiting:
            assert re.match(rb"220 |\* OK|\+OK", reader.readline())
            s.close()
    finally:
        keeper.close()
        upgrade.join(60)
    p.wait_messages("test1", 1)
    assert subjects(p, "test1") == ["kept"]


@pytest.mark.parametrize("what", ["not a program", "fails", "content with anything"])
def test_a_program_that_does_not_work_is_not_taken(make_pabal, what):
    p = make_pabal(own_program=True)
    before = p.status()
    good = pathlib.Path(p.program).read_bytes()
    if what == "not a program":
        install(p, b"\x7fELF, but not really")
    elif what == "fails":
        shutil.copy("/bin/false", p.program + ".new")
        os.rename(p.program + ".new", p.program)
    else:
        shutil.copy("/bin/echo", p.program + ".new")
        os.rename(p.program + ".new", p.program)
    keep, p.program = p.program, PROGRAM
    refused = p.cli("upgrade", check=False)
    assert refused.returncode == 78
    assert "not usable" in refused.stderr and "goes on" in refused.stderr
    after = p.status()
    assert after["state"] == "ready" and after["version"] == before["version"]
    assert {r["pid"] for r in after["roles"]} == {r["pid"] for r in before["roles"]}
    p.send("test1")
    p.program = keep
    install(p, good)
    p.cli("upgrade")
    p.wait_messages("test1", 1)


def test_a_wrong_configuration_is_found_before(make_pabal):
    p = make_pabal(own_program=True)
    pids = p.pids()
    good = p.config.read_text()
    p.config.write_text(good + "\nsmtp { no_such = 1 }\n")
    refused = p.cli("upgrade", check=False)
    assert refused.returncode == 78 and "no_such" in refused.stderr
    p.config.write_text(good)
    assert p.pids() == pids


@pytest.mark.parametrize("what", ["a role", "the master"])
def test_a_program_that_does_not_start_gives_way_to_the_old_one(make_pabal, what):
    """It passes all checks, and then fails: the old program, which it still has open, takes over again."""
    p = make_pabal(own_program=True)
    p.expected_crashes = True  # the new roles that did start are killed
    before = p.status()
    p.send("test1")
    old, new = {"a role": (b"pabal-run\0", b"pabal/run\0"),  # mailbox cannot make it
                "the master": (b"/proc/self/exe\0", b"/proc/self/exf\0")}[what]
    content, good = newer()[0], pathlib.Path(PROGRAM).read_bytes()
    assert old in content
    install(p, content.replace(old, new))
    keep, p.program = p.program, PROGRAM
    refused = p.cli("upgrade", check=False)
    assert refused.returncode == 78
    assert "did not start" in refused.stderr and "goes on" in refused.stderr, refused.stderr
    after = p.status()
    assert after["state"] == "ready" and after["version"] == before["version"] and after["pid"] == before["pid"]
    p.send("test1")
    p.wait_messages("test1", 2)
    p.program = keep
    install(p, good)
    p.cli("upgrade")
    p.wait_messages("test1", 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")
def test_users_that_are_not_there_are_found_before(make_pabal):
    """A new version may have a process, and so a user, more."""
    p = make_pabal(own_program=True)
    pids = p.pids()
    p.configure('process { user_smtp = "no-such-user" }')
    refused = p.cli("upgrade", check=False)
    assert refused.returncode == 78 and "no-such-user" in refused.stderr
    assert p.pids() == pids


def test_settings_that_need_a_restart_take_effect(make_pabal):
    """Another number of processes: the sockets of the doors that are no more are served by the rest."""
    p = make_pabal(own_program=True, settings="process { smtp = 2 login = 2 mailbox = 3 }")
    p.configure("process { smtp = 1 login = 3 mailbox = 1 }")
    p.cli("upgrade")
    names = [r["name"] for r in p.status()["roles"]]
    assert "smtp" in names and "login-2" in names and "mailbox" in names and "smtp-1" not in names
    for i in range(12):
        for service in ("smtp", "imap"):
            with socket.create_connection((p.host, p.port(service)), timeout=10,
                                          source_address=("127.0.0.%d" % (i + 1), 0)) as s:
                assert re.match(rb"220 |\* OK", s.makefile("rb").readline())
    p.send("test1")
    p.wait_messages("test1", 1)


def test_tls_sessions_are_taken_up_again(make_pabal):
    """The keys of the tickets go along."""
    p = make_pabal(own_program=True)

    def connect(session=None):
        with socket.create_connection((p.host, p.port("imaps")), timeout=20) as s:
            with tls_context().wrap_socket(s, session=session) as t:
                assert t.makefile("rb").readline().startswith(b"* OK")
                return t.session, t.session_reused
    session, reused = connect()
    assert session.has_ticket and not reused
    p.cli("upgrade")
    assert connect(session)[1]


def test_a_stop_during_an_upgrade_stops(make_pabal):
    p = make_pabal(own_program=True)
    s, lines = p.connect("smtp")
    lines.readline()
    for command in (b"EHLO a\r\n", b"MAIL FROM:<a@example.net>\r\n", b"RCPT TO:<%s>\r\n" % p.address("test1").encode(),
                    b"DATA\r\n"):
        s.sendall(command)
        while lines.readline()[3:4] == b"-":
            pass
    result = []
    upgrade = threading.Thread(target=lambda: result.append(p.cli("upgrade", check=False)))
    upgrade.start()
    wait_until(lambda: p.status()["state"] == "upgrading")
    pids = p.pids()
    p.process.send_signal(signal.SIGTERM)
    upgrade.join(60)
    assert result[0].returncode != 0 and "stopped" in result[0].stderr
    s.close()
    assert p.stop() == 0
    assert not any(alive(pid) for pid in pids)


def test_systemd_is_told(make_pabal, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(40)
        p = make_pabal(own_program=True, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert s.recv(1000).startswith(b"READY=1")
        p.cli("upgrade")
        assert re.match(rb"RELOADING=1\nMONOTONIC_USEC=\d+$", s.recv(1000))
        assert s.recv(1000).startswith(b"READY=1")
