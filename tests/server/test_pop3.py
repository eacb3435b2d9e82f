# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""POP3 of a whole server with poplib and by hand."""
import poplib

import pytest

from conftest import tls_context


def deliver(pabal, user, n):
    for i in range(n):
        pabal.send(user, "Subject: m%d\r\n\r\n.line %d\r\n..\r\nend\r\n" % (i, i))
    pabal.wait_messages(user, n)


def test_session(pabal):
    deliver(pabal, "test1", 3)
    p = pabal.pop3("test1")
    count, size = p.stat()
    assert count == 3
    sizes = [int(line.split()[1]) for line in p.list()[1]]
    assert sum(sizes) == size
    uids = [line.split()[1] for line in p.uidl()[1]]
    assert len(set(uids)) == 3 and all(len(u) == 16 for u in uids)
    lines = p.retr(1)[1]
    assert sum(len(line) + 2 for line in lines) == sizes[0]
    assert lines[-3:] == [b".line 0", b"..", b"end"]
    assert p.top(1, 1)[1][-1] == b".line 0"
    p.dele(2)
    with pytest.raises(poplib.error_proto):
        p.retr(2)
    p.quit()
    p = pabal.pop3("test1")
    assert [line.split()[1] for line in p.uidl()[1]] == [uids[0], uids[2]]
    p.close()
    with pabal.imap("test1") as m:
        m.select()
        assert m.search(None, "SEEN")[1] == [b"1"]


def test_without_quit_nothing_goes(pabal):
    deliver(pabal, "test2", 1)
    p = pabal.pop3("test2")
    p.dele(1)
    p.close()
    pabal.wait_messages("test2", 1)


def test_login_needs_tls(pabal):
    p = pabal.pop3(tls=False)
    assert "USER" not in p.capa() and "STLS" in p.capa()
    with pytest.raises(poplib.error_proto, match="STLS"):
        p.user("test1")
    p.stls(tls_context())
    assert "USER" in p.capa() and "PLAIN" in p.capa()["SASL"]
    p.user(pabal.address("test1"))
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        p.pass_("wrong")
    p.user(pabal.address("test1"))
    p.pass_(pabal.password("test1"))
    p.quit()


def test_pipelining(pabal):
    deliver(pabal, "test2", 1)
    s, reader = pabal.connect("pop3s")
    reader.readline()
    s.sendall(b"USER %s\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nNOOP\r\nQUIT\r\n"
              % (pabal.address("test2").encode(), pabal.password("test2").encode()))
    got = reader.read()
    assert got.count(b"+OK") == 6 and got.endswith(b"\r\n")


def test_large(pabal):
    body = b"".join(b".%06d\r\n" % i for i in range(300000))
    with pabal.imap("test1", timeout=60) as m:
        m.append("INBOX", None, None, b"Subject: big\r\n\r\n" + body)
    p = pabal.pop3("test1", timeout=60)
    n = p.stat()[0]
    lines = p.retr(n)[1]
    assert b"\r\n".join(lines[2:]) + b"\r\n" == body
    p.quit()
