# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""SMTP, submission and LMTP of a whole server; behaviour in detail is in tests/smtp/."""
import hashlib
import os
import smtplib
import socket
import ssl
import time

import pytest

from conftest import DOMAIN, tls_context, wait_until


def newest(pabal, user):
    """The last message of the inbox."""
    with pabal.imap(user) as m:
        m.select(readonly=True)
        return m.fetch(m.search(None, "ALL")[1][0].split()[-1], "(BODY.PEEK[])")[1][0][1]


def count(pabal, user):
    with pabal.imap(user) as m:
        return int(m.select(readonly=True)[1][0])


def delivered(pabal, user, send):
    """What arrives because of send()."""
    before = count(pabal, user)
    send()
    pabal.wait_messages(user, before + 1)
    return newest(pabal, user)


def test_mx(pabal):
    body = "Subject: one\r\n\r\n..dots\r\n.\r\nlast\r\n"
    got = delivered(pabal, "test1", lambda: pabal.send("Test1+tag@" + DOMAIN.upper(), body))
    header, text = got.split(b"\r\n\r\n", 1)
    assert text == b"..dots\r\n.\r\nlast\r\n"
    for name in (b"Return-Path: <somebody@example.net>", b"Delivered-To: ", b"Received: from "):
        assert header.count(name) == 1
    assert b"with ESMTP" in header and b"for <" in header


def test_body_without_header(pabal):
    """R92, from mynetworks."""
    got = delivered(pabal, "test2", lambda: pabal.send("test2", "a" * 18, "test1@" + DOMAIN))
    header, text = got.split(b"\r\n\r\n", 1)
    assert text == b"a" * 18 + b"\r\n"
    assert b"Date: " in header and b"Message-ID: <" in header and b"From: test1@" in header


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_submission(pabal, service):
    def send():
        with pabal.smtp(service, "test1") as s:
            assert s.sendmail(pabal.address("test1"), [pabal.address("test2")],
                              "From: test1@%s\r\nSubject: x\r\n\r\nx\r\n" % DOMAIN) == {}
    assert b"with ESMTPSA" in delivered(pabal, "test2", send)


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_submission_refuses(pabal, service):
    with pabal.smtp(service, "test1") as s:
        assert s.mail(pabal.address("test2"))[0] == 553
        assert s.mail(pabal.address("test1"))[0] == 250
        assert s.rcpt("someone@example.net") == (451, b"4.3.5 the mail system cannot deliver this yet")
        assert s.rcpt("nobody@" + DOMAIN)[0] == 550
        assert s.rcpt("password")[0] == 550  # R90
        assert s.rcpt(pabal.address("test2"))[0] == 250
        assert s.data("From: boss@example.com\r\n\r\nx\r\n")[0] == 553


def test_no_login_without_tls(pabal):
    """R32, R56, R90."""
    with pabal.smtp("submission") as s:
        s.ehlo()
        assert "auth" not in s.esmtp_features
        assert s.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538
        assert s.mail(pabal.address("test1"))[0] == 530


def test_plaintext_login_from_a_named_network(make_pabal):
    """R90: the script of the classic setup, unchanged."""
    p = make_pabal(settings='auth { plaintext_networks = {"127.0.0.0/8"} }')
    s = smtplib.SMTP(p.host, p.port("submission"))
    s.login(p.address("test1"), p.password("test1"))
    assert s.sendmail(p.address("test1"), [p.address("test2")],
                      "From: test1@%s\r\nTo: x\r\n\r\nx" % DOMAIN) == {}
    s.quit()


def test_wrong_password(pabal):
    with pabal.smtp("submissions") as s:
        s.ehlo()
        start = time.monotonic()
        s.user, s.password = pabal.address("test1"), "wrong"
        with pytest.raises(smtplib.SMTPAuthenticationError) as e:
            s.auth("PLAIN", s.auth_plain)
        assert e.value.smtp_code == 535 and time.monotonic() - start > 1


TRICKS = [
    "victim@example.com", "victim%example.com@" + DOMAIN, "example.com!victim@" + DOMAIN,
    '"victim@example.com"@' + DOMAIN, '"victim%example.com"@' + DOMAIN, "@%s:victim@example.com" % DOMAIN,
    "@%s,@localhost:victim@example.com" % DOMAIN, "victim@[192.0.2.1]", "victim@[127.0.0.1]",
    "victim@[IPv6:2001:db8::1]", "victim@example.com@" + DOMAIN, "victim@%s@example.com" % DOMAIN,
    "victim@example.com.", "victim@%s.example.com" % DOMAIN, '"test1@%s"@example.com' % DOMAIN,
    "victim%example.com", "example.com!victim", '"victim@example.com"', "victim%example.com@localhost",
    "victim%example.com@[127.0.0.1]", "@localhost:victim%example.com@" + DOMAIN, "victim@EXAMPLE.COM",
    "test1:victim@example.com", "victim@example.com(@%s)" % DOMAIN,
]


def test_open_relay(make_pabal):
    """R44, for a stranger: nothing gets out."""
    p = make_pabal(settings='mynetworks = {"192.0.2.0/24"}\nsmtp { max_errors = 1000 }')
    with p.smtp() as s:
        s.ehlo()
        for sender in ("spam@example.net", "", "test1@" + DOMAIN):
            assert s.docmd("MAIL FROM:<%s>" % sender)[0] == 250
            for trick in TRICKS:
                code, text = s.docmd("RCPT TO:<%s>" % trick)
                assert 500 <= code < 600, (trick, code, text)
            assert s.docmd("RCPT TO:<postmaster>")[0] == 250
            s.rset()


def test_mynetworks_may_relay_but_nothing_is_lost(pabal):
    """R44, R93; until there is remote delivery."""
    with pabal.smtp() as s:
        s.ehlo()
        s.mail("cron")
        assert s.rcpt("someone@example.net")[0] == 451
        assert s.rcpt("test1")[0] == 250
        assert s.rcpt("test2@localhost")[0] == 250


def test_smuggling(pabal):
    s, reader = pabal.connect("smtp")
    reader.readline()
    s.sendall(b"HELO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<%s>\r\nDATA\r\n" % pabal.address("test1").encode())
    for _ in range(4):
        last = reader.readline()
    assert last.startswith(b"354")
    s.sendall(b"Subject: x\r\n\r\nx\n.\nMAIL FROM:<b@example.net>\r\nRCPT TO:<c>\r\nDATA\r\nx\r.\rx\n.\r\nx\r\n.\nQUIT\r\n")
    s.sendall(b".\r\nNOOP\r\n")
    assert reader.readline().startswith(b"554 5.6.0")
    assert reader.readline().startswith(b"250 2.0.0")
    s.close()


def test_chunking(pabal):
    """RFC 3030, in one packet."""
    def send():
        s, reader = pabal.connect("smtp")
        to = pabal.address("test1").encode()
        s.sendall(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<" + to +
                  b">\r\nBDAT 14\r\nSubject: x\r\n\r\nBDAT 7 LAST\r\nab\r\nc\r\nQUIT\r\n")
        assert reader.read().splitlines()[-1].startswith(b"221")
        s.close()
    assert delivered(pabal, "test1", send).endswith(b"\r\n\r\nab\r\nc\r\n")


def test_large_message(pabal):
    text = b"".join(b"%07d %s\r\n" % (i, b"x" * 60) for i in range(60000))
    message = b"From: test1@%s\r\nSubject: large\r\n\r\n" % DOMAIN.encode() + text

    def send():
        with pabal.smtp("submissions", "test1") as s:
            assert s.sendmail(pabal.address("test1"), [pabal.address("test2")], message) == {}
    got = delivered(pabal, "test2", send).split(b"\r\n\r\n", 1)[1]
    assert hashlib.sha256(got).digest() == hashlib.sha256(text).digest()
    fds = "/proc/%d/fd" % pabal.role("smtp")["pid"]
    kept = [os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds)]
    assert not [name for name in kept if "/side-" in name]


def test_limits(make_pabal):
    p = make_pabal(settings='smtp { max_message_size = 10k\nmax_errors = 3\ntimeout_command = 500ms\n'
                            'max_connections_per_source = 5\nrate_messages = 3 }\nmynetworks = {"192.0.2.0/24"}')
    with p.smtp() as s:
        s.ehlo()
        assert s.esmtp_features["size"] == "10240"
        assert s.mail("a@example.net", ["SIZE=10241"])[0] == 552
        assert s.mail("a@example.net")[0] == 250
        assert s.rcpt(p.address("test1"))[0] == 250
        assert s.data(b"x: y\r\n\r\n" + b"x" * 70 + b"\r\n" * 6000)[0] == 552
        assert s.mail("a@example.net")[0] == 250
        s.rset()
        assert s.mail("a@example.net")[0] == 450  # the refused one counts too
        with pytest.raises(smtplib.SMTPServerDisconnected):
            s.docmd("FOO")
            s.docmd("FOO")
            s.docmd("FOO")
    wait_until(lambda: p.role("smtp")["detail"]["connections"] == 0)
    held = [p.connect("smtp") for _ in range(5)]
    for s, reader in held:
        assert reader.readline().startswith(b"220")
    s, reader = p.connect("smtp")
    assert reader.readline().startswith(b"421 4.7.0")
    s.close()
    held[0][0].sendall(b"NOOP\r\n")
    assert held[0][1].readline().startswith(b"250")
    assert held[0][1].readline().startswith(b"421 4.4.2")
    for s, _ in held:
        s.close()


def test_tls_required(make_pabal):
    """R70."""
    p = make_pabal(settings='listener smtp { tls = required }')
    with p.smtp() as s:
        s.ehlo()
        assert s.mail("a@example.net")[0] == 530
        s.starttls(context=tls_context())
        assert s.sendmail("a@example.net", [p.address("test1")], "Subject: x\r\n\r\nx") == {}


def test_lmtp(pabal):
    with pabal.smtp("lmtp") as s:
        s.ehlo()
        assert s.mail("a@example.net")[0] == 250
        assert s.rcpt(pabal.address("test1"))[0] == 250
        assert s.rcpt("nobody@" + DOMAIN)[0] == 550
        assert s.rcpt(pabal.address("test2"))[0] == 250
        s.putcmd("DATA")
        assert s.getreply()[0] == 354
        s.send(b"Subject: lmtp\r\n\r\nx\r\n.\r\n")
        assert b"<test1@" in s.getreply()[1]
        assert b"<test2@" in s.getreply()[1]
    wait_until(lambda: b"Subject: lmtp" in newest(pabal, "test2"), message="no mail by LMTP")


def test_tls_garbage_and_half_handshakes(pabal):
    """They cost their sender only."""
    idle = [socket.create_connection((pabal.host, pabal.port("submissions"))) for _ in range(20)]
    for i, s in enumerate(idle):
        s.sendall([b"\x16\x03\x01", b"EHLO x\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 1000][i % 4])
    with pabal.smtp("submissions", "test1") as s:
        assert s.noop()[0] == 250
    for s in idle:
        s.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(pabal):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        smtplib.SMTP_SSL(pabal.host, pabal.port("submissions"), context=context)


def test_many_idle_connections(pabal):
    held = [pabal.connect("smtp") for _ in range(300)]
    with pabal.smtp() as s:
        assert s.noop()[0] == 250
    for s, reader in held:
        assert reader.readline().startswith(b"220")
        s.close()
