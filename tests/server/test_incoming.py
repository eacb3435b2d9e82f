# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Mail from strangers: SPF, DKIM and DMARC are written into Authentication-Results, and act as configured (R141)."""
import email
import email.policy

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from conftest import DOMAIN, wait_until
from sending_peers import Dns

KEY = ed25519.Ed25519PrivateKey.generate()
RAW = {"encoding": serialization.Encoding.Raw}


def b64(b):
    import base64
    return base64.b64encode(b).decode()


SECRET = b64(KEY.private_bytes(format=serialization.PrivateFormat.Raw, encryption_algorithm=serialization.NoEncryption(),
                               **RAW))
PUBLIC = b64(KEY.public_key().public_bytes(format=serialization.PublicFormat.Raw, **RAW))
ZONE = {
    "good.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
    "_dmarc.good.example": {"TXT": ["v=DMARC1; p=reject"]},
    "reject.example": {"TXT": ["v=spf1 -all"]},
    "_dmarc.reject.example": {"TXT": ["v=DMARC1; p=reject"]},
    "s._domainkey.reject.example": {"TXT": ["v=DKIM1; k=ed25519; p=" + PUBLIC]},
    "junk.example": {"TXT": ["v=spf1 ~all"]},
    "_dmarc.junk.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    "plain.example": {"A": ["192.0.2.1"]},
    "_dmarc.broken.example": "SERVFAIL",
    "broken.example": "SERVFAIL",
}


def message(sender, subject="x", head="", body="hello\r\n"):
    return ("From: <%s>\r\nTo: you@%s\r\nSubject: %s\r\nMessage-ID: <1@x>\r\nDate: Tue, 24 Nov 2026 22:00:00 +0900\r\n"
            "%s\r\n%s" % (sender, DOMAIN, subject, head, body)).encode()


def signed(raw, domain="reject.example"):
    return dkim.sign(raw, b"s", domain.encode(), SECRET.encode(), canonicalize=(b"relaxed", b"relaxed"),
                     signature_algorithm=b"ed25519-sha256") + raw


@pytest.fixture(scope="module")
def dns():
    with Dns(ZONE) as d:
        yield d


def start(make_pabal, dns, settings=""):
    return make_pabal(settings='mynetworks = {"192.0.2.0/24"}\ndns { servers = {"127.0.0.1:%d"} timeout = 2s }\n'
                               'sender_auth { check = yes }\n%s' % (dns.port, settings))


def deliver(p, raw, sender):
    with p.smtp() as s:
        return s.sendmail(sender, [p.address("test1")], raw)


def fetch(p, mailbox, n):
    p.wait_messages("test1", n, mailbox)
    with p.imap("test1") as m:
        m.select(mailbox, readonly=True)
        return [email.message_from_bytes(m.fetch(str(i), "(BODY.PEEK[])")[1][0][1], policy=email.policy.SMTP)
                for i in range(1, n + 1)]


def results(m):
    first = m.get_all("Authentication-Results")[0]
    return " ".join(str(first).split())


def test_stamped_and_set_aside(make_pabal, dns):
    p = start(make_pabal, dns)
    # a pass by SPF; fields that claim to be ours go, others stay
    name = p.cli("config", "show", "hostname", "--all", "--json", check=False).stdout
    raw = message("a@good.example", "spf", "Authentication-Results: other.example; dkim=pass\r\n"
                  "Authentication-Results: (x) localhost ; dmarc=pass\r\n")
    deliver(p, raw, "a@good.example")
    m = fetch(p, "INBOX", 1)[0]
    host = str(m["Authentication-Results"]).split(";")[0].strip()
    got = results(m)
    assert "spf=pass smtp.mailfrom=a@good.example" in got and "dmarc=pass header.from=good.example" in got, (got, name)
    assert "dkim=none" in got and m.keys()[0] == "Return-Path"
    others = [str(v) for v in m.get_all("Authentication-Results")[1:]]
    assert any(v.startswith("other.example") for v in others)
    # ours, forged, in any spelling
    for forged in (host, host.upper(), "(comment) " + host, '"%s"' % host):
        deliver(p, message("a@good.example", "forged", "Authentication-Results: %s;\r\n dmarc=pass header.from=b.example\r\n"
                           % forged), "a@good.example")
    for m in fetch(p, "INBOX", 5)[1:]:
        assert len(m.get_all("Authentication-Results")) == 1 and "b.example" not in results(m)
    # a pass by DKIM where SPF fails
    deliver(p, signed(message("a@reject.example", "dkim")), "bounce@reject.example")
    got = results(fetch(p, "INBOX", 6)[5])
    assert "spf=fail" in got and "dkim=pass" in got and "dmarc=pass" in got and "policy.dmarc=reject" in got
    # nothing published: none, and nothing is done
    deliver(p, message("a@plain.example", "none"), "a@plain.example")
    got = results(fetch(p, "INBOX", 7)[6])
    assert "spf=none" in got and "dmarc=none" in got
    # the DNS is down: temporary, neither pass nor fail
    deliver(p, message("a@broken.example", "temp"), "a@broken.example")
    got = results(fetch(p, "INBOX", 8)[7])
    assert "spf=temperror" in got and "dmarc=temperror" in got
    # failures go to Junk
    deliver(p, message("a@reject.example", "forged"), "a@good.example")
    deliver(p, message("a@junk.example", "quarantine"), "a@junk.example")
    deliver(p, signed(message("a@reject.example", "changed")) + b"more\r\n", "a@reject.example")
    junk = next(line for line in p.cli("mailbox", "list", p.address("test1")).stdout.splitlines() if "Junk" in line
                or "\uc2a4\ud338" in line)
    assert junk
    with p.imap("test1") as mail:
        listed = [line.decode() for line in mail.list()[1]]
    name = next(line for line in listed if "\\Junk" in line).rsplit(" ", 1)[1].strip('"')
    set_aside = fetch(p, '"%s"' % name, 3)
    assert sorted(str(m["Subject"]) for m in set_aside) == ["changed", "forged", "quarantine"]
    assert all("dmarc=fail" in results(m) for m in set_aside)
    assert len(fetch(p, "INBOX", 8)) == 8


def test_reject(make_pabal, dns):
    p = start(make_pabal, dns, "sender_auth { dmarc = reject }")
    with p.smtp() as s:
        s.ehlo()
        s.mail("a@good.example")
        s.rcpt(p.address("test1"))
        code, text = s.data(message("a@reject.example"))
        assert code == 550 and text.startswith(b"5.7.26") and b"reject.example" in text
    deliver(p, message("a@good.example"), "a@good.example")
    assert "dmarc=pass" in results(fetch(p, "INBOX", 1)[0])
    p.configure("sender_auth { dmarc = none }")
    p.cli("reload")
    deliver(p, message("a@reject.example"), "a@good.example")
    assert "dmarc=fail" in results(fetch(p, "INBOX", 2)[1])


def test_large_mail_and_chunks(make_pabal, dns):
    """Through a side file, and by BDAT: the same octets are verified."""
    p = start(make_pabal, dns)
    body = "".join("%d %s\r\n" % (i, "." * (i % 70)) for i in range(60000))
    raw = signed(message("a@reject.example", "big", body=body))
    deliver(p, raw, "x@plain.example")
    m = fetch(p, "INBOX", 1)[0]
    assert "dkim=pass" in results(m) and "dmarc=pass" in results(m)
    raw = signed(message("a@reject.example", "bdat", body="a\r\n.\r\nb\r\n"))
    with p.smtp() as s:
        s.ehlo()
        s.mail("x@plain.example")
        s.rcpt(p.address("test1"))
        for i in range(0, len(raw), 100):
            chunk = raw[i:i + 100]
            s.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if i + 100 >= len(raw) else b"") + chunk)
            assert s.getreply()[0] == 250
    assert "dkim=pass" in results(fetch(p, "INBOX", 2)[1])


def test_who_is_not_checked(make_pabal, dns):
    """A login, mynetworks, LMTP, and nobody where it is off."""
    p = start(make_pabal, dns)
    with p.smtp("submission", "test2") as s:
        s.sendmail(p.address("test2"), [p.address("test1")], message(p.address("test2")))
    with p.smtp("lmtp") as s:
        s.sendmail("a@reject.example", [p.address("test1")], message("a@reject.example"))
    fetch(p, "INBOX", 2)
    p.configure("sender_auth { check = no }")
    p.restart()
    deliver(p, message("a@reject.example"), "a@reject.example")
    for m in fetch(p, "INBOX", 3):
        assert m["Authentication-Results"] is None


def test_a_silent_name_server_costs_time_and_nothing_else(make_pabal):
    with Dns({"slow.example": "SILENT", "_dmarc.slow.example": "SILENT"}) as dns:
        p = start(make_pabal, dns, "sender_auth { timeout = 500ms }")
        deliver(p, message("a@slow.example"), "a@slow.example")
        got = results(fetch(p, "INBOX", 1)[0])
        assert "spf=temperror" in got and "dmarc=temperror" in got
        wait_until(lambda: "smtp.checked" in p.log(), 5)
