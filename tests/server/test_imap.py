# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""IMAP of a whole server: doors, hand-over, mailbox; with imaplib and by hand."""
import base64
import contextlib
import imaplib
import socket
import time

import pytest

from conftest import tls_context

MESSAGE = (b"From: =?utf-8?B?7ZmN6ri464+Z?= <hong@example.net>\r\nSubject: =?utf-8?B?7JWI64WV?=\r\n"
           b"Date: Mon, 23 Nov 2026 10:00:00 +0900\r\n\r\nhello %d\r\n.\r\n")


def ok(answer):
    status, data = answer
    assert status == "OK", data
    return data


class Raw:
    """Lines in and out."""

    def __init__(self, pabal, service, user=None):
        self.socket, self.reader = pabal.connect(service)
        self.greeting = self.line()
        self.n = 0
        if user:
            assert b"OK" in self.command(b'LOGIN "%s" "%s"' % (pabal.address(user).encode(),
                                                              pabal.password(user).encode()))[-1]

    def line(self):
        return self.reader.readline().rstrip(b"\r\n")

    def send(self, octets):
        self.socket.sendall(octets)

    def command(self, text):
        self.n += 1
        tag = b"t%d" % self.n
        self.send(tag + b" " + text + b"\r\n")
        return self.until(tag)

    def until(self, tag):
        got = []
        while True:
            line = self.reader.readline()
            assert line, got
            got.append(line.rstrip(b"\r\n"))
            if line.startswith(tag + b" "):
                return got

    def starttls(self):
        assert b"OK" in self.command(b"STARTTLS")[-1]
        self.socket = tls_context().wrap_socket(self.socket)
        self.reader = self.socket.makefile("rb")

    def close(self):
        self.socket.close()


def test_login_needs_tls(pabal):
    raw = Raw(pabal, "imap")
    assert b"LOGINDISABLED" in raw.greeting and b"STARTTLS" in raw.greeting and b"AUTH=" not in raw.greeting
    assert b"PRIVACYREQUIRED" in raw.command(b"LOGIN x y")[-1]
    raw.starttls()
    capability = raw.command(b"CAPABILITY")[0]
    assert b"AUTH=PLAIN" in capability and b"LOGINDISABLED" not in capability and b"STARTTLS" not in capability
    assert b"AUTH=SCRAM-SHA-256-PLUS" in capability
    user, password = pabal.address("test1").encode(), pabal.password("test1").encode()
    done = raw.command(b"AUTHENTICATE PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password))
    assert b"OK [CAPABILITY IMAP4rev1 IMAP4rev2" in done[-1]
    raw.close()


def test_wrong_password(pabal):
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        m = pabal.imap()
        m.login(pabal.address("test1"), "wrong")


def test_plaintext_where_it_is_named(make_pabal):
    p = make_pabal(settings='auth {\nplaintext_networks = {"127.0.0.0/8"}\n}')
    with p.imap("test1", tls=False) as m:
        ok(m.select())


def test_append_fetch_search(pabal):
    with pabal.imap("test1") as m:
        for i in range(3):
            ok(m.append("INBOX", r"(\Seen)" if i == 0 else None, None, MESSAGE % i))
        ok(m.select())
        assert ok(m.search(None, "UNSEEN")) == [b"2 3"]
        assert ok(m.search(None, "SEEN")) == [b"1"]
        m.literal = "안녕".encode()
        assert ok(m.search("UTF-8", "SUBJECT"))[0] == b"1 2 3"
        m.literal = "홍길동".encode()
        assert ok(m.search("UTF-8", "FROM"))[0] == b"1 2 3"
        assert ok(m.search(None, 'BODY "hello 2"')) == [b"3"]
        got = ok(m.fetch("2", "(BODY[])"))
        assert got[0][1] == MESSAGE % 1
        assert b"\\Seen" in ok(m.fetch("2", "(FLAGS)"))[0]
        ok(m.store("1:3", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(m.expunge())
        assert ok(m.select()) == [b"0"]


def test_special_use_from_the_first_login(pabal):
    with pabal.imap("test2") as m:
        _, listed = m.list('""', '"*"')
        for use in (rb"\Drafts", rb"\Sent", rb"\Junk", rb"\Trash", rb"\Archive"):
            assert sum(use in line for line in listed) == 1, listed


def test_korean_mailboxes(pabal):
    with pabal.imap("test1") as m:
        ok(m.create("&vPSwuA- &07jJwA-".replace("&vPSwuA-", '"&vPSwuA-') + '"'))
        listed = ok(m.list('""', '"*"'))
        assert any("&vPSwuA- &07jJwA-".encode() in line for line in listed)
        ok(m.enable("IMAP4rev2"))
        listed = ok(m.list('""', '"*"'))
        assert any("보낸 편지".encode() in line or "본 편지".encode() in line for line in listed), listed


def test_idle_tells_of_delivery(pabal):
    raw = Raw(pabal, "imaps", "test2")
    raw.command(b"SELECT INBOX")
    raw.send(b"i IDLE\r\n")
    assert raw.line().startswith(b"+")
    pabal.send("test2", "Subject: ping\r\n\r\nping\r\n")
    raw.socket.settimeout(10)
    assert b"EXISTS" in raw.line()
    raw.send(b"DONE\r\n")
    assert b"i OK" in raw.until(b"i")[-1]
    raw.close()


def test_pipelined_behind_login(pabal):
    """What comes with the login goes along to mailbox, literals included."""
    raw = Raw(pabal, "imaps")
    user, password = pabal.address("test1").encode(), pabal.password("test1").encode()
    raw.send(b'a LOGIN "%s" "%s"\r\nb SELECT INBOX\r\nc APPEND INBOX {16+}\r\nSubject: x\r\n\r\nhi\r\nd LOGOUT\r\n'
             % (user, password))
    assert b"OK" in raw.until(b"a")[-1]
    assert b"OK" in raw.until(b"b")[-1]
    assert b"APPENDUID" in raw.until(b"c")[-1]
    assert b"OK" in raw.until(b"d")[-1]
    assert raw.reader.read() == b""
    raw.close()


def test_large_messages(pabal):
    """Through the side file, and out by file range and in pieces."""
    body = b"".join(b"%07d\r\n" % i for i in range(700000))
    message = b"Subject: large\r\n\r\n" + body
    with pabal.imap("test1", timeout=60) as m:
        ok(m.create("large"))
        ok(m.append("large", None, None, message))
        ok(m.select("large"))
        assert ok(m.fetch("1", "(BODY.PEEK[])"))[0][1] == message
        assert ok(m.fetch("1", "(BODY.PEEK[TEXT]<3000000.100000>)"))[0][1] == body[3000000:3100000]
        m.select("INBOX")
        ok(m.delete("large"))


def test_many_messages_at_once(pabal):
    """A reply far larger than any buffer, to a client that reads slowly."""
    with pabal.imap("test2", timeout=60) as m:
        ok(m.create("many"))
        for i in range(200):
            ok(m.append("many", None, None, MESSAGE % i + b"x" * 20000))
        ok(m.select("many"))
    raw = Raw(pabal, "imaps", "test2")
    raw.command(b"SELECT many")
    raw.send(b"f FETCH 1:* (UID BODY.PEEK[])\r\n")
    time.sleep(0.5)
    got = raw.until(b"f")
    assert sum(1 for line in got if b"FETCH (UID" in line) == 200
    assert sum(len(line) for line in got) > 200 * 20000
    raw.close()


def test_two_sessions_see_each_other(pabal):
    with pabal.imap("test2") as a, pabal.imap("test2") as b:
        ok(a.create("shared"))
        ok(a.select("shared"))
        ok(b.select("shared"))
        ok(b.append("shared", None, None, MESSAGE % 1))
        ok(a.noop())
        assert a.untagged_responses["EXISTS"][-1] == b"1"
        ok(a.store("1", "+FLAGS", r"(\Flagged)"))
        ok(b.noop())
        assert any(b"\\Flagged" in line for line in b.untagged_responses["FETCH"])
        ok(a.store("1", "+FLAGS", r"(\Deleted)"))
        ok(a.expunge())
        ok(b.noop())
        assert b.untagged_responses["EXPUNGE"] == [b"1"]


def test_half_commands_and_garbage(pabal):
    """They cost their sender only."""
    for octets in (b"a LOGIN {3}\r\nab", b"\x16\x03\x01\x00\x05hello", b"\0" * 5000, b"a " * 5000, b"a LOGIN {4294967295+}\r\n"):
        with contextlib.closing(Raw(pabal, "imap")) as raw:
            raw.send(octets)
            raw.socket.shutdown(socket.SHUT_WR)
            raw.reader.read()
    with pabal.imap("test1") as m:
        ok(m.noop())


def test_quota(make_pabal):
    p = make_pabal()
    p.cli("account", "set", p.address("test1"), "--quota", "1M")
    with p.imap("test1") as m:
        assert b"STORAGE" in ok(m.getquota('""'))[0]
        status, data = m.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 2000000)
        assert status == "NO" and b"OVERQUOTA" in data[0]
