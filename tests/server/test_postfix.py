# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Beside the programs it replaces: Debian's Postfix in front of pabal (R67, R68), a Dovecot behind it."""
import base64
import contextlib
import os
import smtplib
import socket

import pytest

from conftest import DOMAIN, wait_until
from postfix import DovecotLmtp, Postfix

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and Dovecot want root")
FAST = "auth {\n failure_delay = 0\n lockout_failures = 4\n}\n"


class AuthClient:
    """The protocol by hand."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.greeting = []
        while not self.greeting or self.greeting[-1] != "DONE":
            self.greeting.append(self.line())
        self.say("VERSION\t1\t2\nCPID\t%d\n" % os.getpid())

    def line(self):
        got = self.file.readline()
        assert got.endswith(b"\n"), got
        return got[:-1].decode()

    def say(self, text):
        self.socket.sendall(text.encode())

    def ask(self, text):
        self.say(text + "\n")
        return self.line()

    def closed(self):
        return self.file.readline() == b""


def plain(user, password):
    return base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def test_auth_protocol(make_pabal):
    """R68: handshake, PLAIN and LOGIN, many at once, bad lines, what failures count on."""
    p = make_pabal(settings=FAST)
    path = p.demo / "run" / "auth.sock"
    assert oct(path.stat().st_mode & 0o777) == "0o660"
    c = AuthClient(path)
    assert c.greeting[0] == "VERSION\t1\t2"
    mechanisms = [g.split("\t") for g in c.greeting if g.startswith("MECH")]
    assert ["MECH", "PLAIN", "plaintext"] in mechanisms and ["MECH", "LOGIN", "plaintext"] in mechanisms
    assert {"SPID", "CUID", "COOKIE"} < {g.split("\t")[0] for g in c.greeting}
    user, password = p.address("test1"), p.password("test1")
    right = plain(user, password)
    assert c.ask("AUTH\t1\tPLAIN\tservice=smtp\tnologin\trip=192.0.2.1\tsecured\tresp=" + right) == "OK\t1\tuser=" + user
    assert c.ask("AUTH\t2\tPLAIN\tservice=smtp\trip=192.0.2.1\tresp=" + plain(user, "wrong")) == "FAIL\t2\tuser=" + user
    # step by step, in any case of the name
    assert c.ask("AUTH\t3\tLOGIN\tservice=smtp\trip=192.0.2.1") == "CONT\t3\t" + b64("Username:")
    assert c.ask("CONT\t3\t" + b64(user.upper())) == "CONT\t3\t" + b64("Password:")
    assert c.ask("CONT\t3\t" + b64(password)) == "OK\t3\tuser=" + user
    assert c.ask("AUTH\t4\tPLAIN\tservice=smtp") == "CONT\t4\t"
    # many at once; answers in any order
    c.say("".join("AUTH\t%d\tPLAIN\tservice=smtp\trip=192.0.2.1\tresp=%s\n" % (i, right) for i in range(100, 150)))
    assert {c.line() for _ in range(50)} == {"OK\t%d\tuser=%s" % (i, user) for i in range(100, 150)}
    assert c.ask("CONT\t4\t" + right) == "OK\t4\tuser=" + user
    # nonsense
    assert c.ask("AUTH\t5\tNOTHING\tservice=smtp\tresp=" + right).startswith("FAIL\t5")
    assert c.ask("AUTH\t6\tPLAIN\tservice=smtp\tresp=***") == "FAIL\t6"
    assert c.ask("CONT\t77\t").startswith("FAIL\t77")
    c.say("UNKNOWN\tx\nCANCEL\t9\n")
    assert c.ask("AUTH\t7\tPLAIN\tservice=smtp\tresp=" + plain("x\ty", "z"))== "FAIL\t7"
    # a client that does not greet, one of another version, an endless line
    for text in ("AUTH\t1\tPLAIN\n", "VERSION\t2\t0\n", "A" * 20000):
        other = AuthClient.__new__(AuthClient)
        other.socket = socket.socket(socket.AF_UNIX)
        other.socket.settimeout(20)
        other.socket.connect(str(path))
        other.file = other.socket.makefile("rb")
        while other.line() != "DONE":
            pass
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            other.say(text)
        with contextlib.suppress(ConnectionResetError):
            assert other.closed()
    # an account is locked on all protocols; by the client's address, not by the socket
    for i in range(4):
        c.ask("AUTH\t%d\tPLAIN\tservice=smtp\trip=192.0.2.%d\tresp=%s" % (20 + i, i, plain(p.address("test2"), "no")))
    assert c.ask("AUTH\t30\tPLAIN\tservice=smtp\trip=192.0.2.9\tresp=" + right) == "OK\t30\tuser=" + user


def test_postfix_in_front(make_pabal):
    """R67, R68: its users log in against pabal, its mail comes by LMTP; a reply for each recipient."""
    p = make_pabal(start=False, settings=FAST)
    p.configure('listener lmtp {\n unix_path = "%s/lmtp"\n unix_mode = 0600\n unix_owner = postfix\n}\n'
                'listener auth {\n unix_path = "%s/auth"\n unix_mode = 0660\n unix_owner = "postfix:postfix"\n}\n'
                % (p.dir, p.dir))
    p.start()
    settings = ("smtpd_sasl_path = %s/auth\nvirtual_mailbox_domains = %s\nvirtual_transport = lmtp:unix:%s/lmtp\n"
                "smtpd_reject_unlisted_recipient = no\n" % (p.dir, DOMAIN, p.dir))
    user, password = p.address("test1"), p.password("test1")
    with Postfix(settings) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as s:
            s.ehlo()
            assert set(s.esmtp_features["auth"].split()) >= {"PLAIN", "LOGIN"}
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                s.login(user, "wrong")
            assert caught.value.smtp_code == 535
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                s.sendmail(user, ["x@elsewhere.example"], "Subject: no\r\n\r\n")
            s.login(user, password)
            s.sendmail(user, [p.address("test2"), p.address("nobody"), p.address("testfc")],
                       "Subject: through postfix\r\nFrom: %s\r\n\r\nhello\r\n" % user)
        for mechanism in ("auth_plain", "auth_login"):
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as s:
                s.ehlo()
                s.user, s.password = user, password
                assert s.auth(mechanism[5:].upper(), getattr(s, mechanism))[0] == 235
        p.wait_messages("test2", 1)
        log = wait_until(lambda: "nobody@" in postfix.log.read_text() and postfix.log.read_text(), 20)
        wait_until(lambda: "status=bounced" in postfix.log.read_text(), 20)
        assert "to=<test2@%s>" % DOMAIN in log and "550 5.1.1" in postfix.log.read_text()
        p.wait_messages("test1", 1)  # Postfix's own bounce for nobody, by LMTP too


def test_dovecot_behind(make_pabal):
    """A route says lmtp: a Dovecot keeps the mail of a domain."""
    with DovecotLmtp() as dovecot:
        p = make_pabal(settings='relay { enabled = yes }\nqueue { retry_min = 1s }\n'
                       'routes = {"old.example [127.0.0.1]:%d lmtp"}\n' % dovecot.port)
        with p.smtp("submission", "test1") as s:
            s.sendmail(p.address("test1"), ["one@old.example", "two@old.example"],
                       "Subject: to dovecot\r\nFrom: %s\r\n\r\n.dot\r\n" % p.address("test1"))
        for user in ("one@old.example", "two@old.example"):
            got = wait_until(lambda u=user: dovecot.messages(u), 30, "nothing for " + user)
            assert len(got) == 1 and b"Subject: to dovecot" in got[0] and got[0].replace(b"\r\n", b"\n").endswith(b"\n\n.dot\n")
