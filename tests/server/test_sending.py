# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Mail to other servers: relayed once and byte for byte, tried again, given up with a bounce.

The other servers are in sending_peers.py.
"""
import email
import email.policy
import json
import smtplib
import subprocess
import threading
import time

import pytest

from conftest import DOMAIN, PROGRAM, wait_until
from sending_peers import Dns, Sink, certificate, dead_port

RELAY = 'relay { enabled = yes }\nqueue { retry_min = 1s }\n'


def routes(*rows):
    return RELAY + "routes = {%s}\n" % ", ".join('"%s"' % r for r in rows)


def submit(p, rcpts, body="hello\r\n", mail_options=(), rcpt_options=(), subject="x"):
    rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
    with p.smtp("submission", "test1") as s:
        return s.sendmail(p.address("test1"), rcpts, "From: test1@%s\r\nTo: x@y.example\r\nSubject: %s\r\n"
                          "Message-ID: <%s@x>\r\nDate: Tue, 24 Nov 2026 22:00:00 +0900\r\n\r\n%s"
                          % (DOMAIN, subject, subject, body), mail_options, rcpt_options)


def body_of(message):
    return message.content.split(b"\r\n\r\n", 1)[1]


def waiting(p):
    return json.loads(p.cli("queue", "list", "--json").stdout)["messages"]


def wait_empty(p, seconds=30):
    wait_until(lambda: not waiting(p), seconds, "the queue does not get empty", 0.1)


def inbox(p, user="test1"):
    with p.imap(user) as m:
        m.select(readonly=True)
        numbers = m.search(None, "ALL")[1][0].split()
        return [email.message_from_bytes(m.fetch(n, "(BODY.PEEK[])")[1][0][1], policy=email.policy.SMTP)
                for n in numbers]


def wait_inbox(p, n, user="test1", seconds=30):
    p.wait_messages(user, n, seconds=seconds)
    return inbox(p, user)


def machine_part(bounce):
    """The fields of message/delivery-status: (of the message, [of each recipient])."""
    assert bounce.get_content_type() == "multipart/report"
    assert bounce.get_param("report-type") == "delivery-status"
    status = [part for part in bounce.iter_parts() if part.get_content_type().endswith("delivery-status")]
    groups = status[0].get_payload()
    return groups[0], groups[1:]


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


def test_relayed_once_and_byte_for_byte(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    body = ".\r\n..\r\n.x\r\n" + "".join("%d %s\r\n" % (i, "y" * (i % 900)) for i in range(300)) + " \r\n\r\n"
    assert submit(p, ["one@away.example", "two@away.example", "test2@" + DOMAIN], body) == {}
    m = sink.wait(1)[0]
    assert m.sender == "test1@" + DOMAIN and sorted(m.rcpts) == ["one@away.example", "two@away.example"]
    assert body_of(m) == body.encode()
    head = m.content.split(b"\r\n\r\n", 1)[0]
    assert head.startswith(b"Received: from ") and head.count(b"Received:") == 1 and b"Return-Path" not in head
    assert b"one@away" not in head  # several recipients: none is told to the others
    wait_empty(p)
    assert len(sink.messages) == 1 and len(wait_inbox(p, 1, "test2")) == 1
    assert "SIZE=" in m.mail


def test_large_content_through_a_side_file(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    body = "".join("." * (i % 70) + "\r\n" for i in range(100000))
    submit(p, "big@away.example", body)
    assert body_of(sink.wait(1)[0]) == body.encode()


def test_tried_again(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "451 4.7.1 greylisted" if verb == "RCPT" and sink.count("RCPT") < 3 else None
    submit(p, "one@away.example")
    sink.wait(1)
    wait_empty(p)
    assert sink.count("RCPT") == 3 and len(sink.messages) == 1 and inbox(p) == []


def test_a_slow_peer_gets_it_once_and_holds_nothing(make_pabal, sink):
    """A first attempt of more than two seconds has a file in the spool while it goes on."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    go_on = threading.Event()

    def answer(verb, _):
        if verb == "END":
            go_on.wait(30)
        return None
    sink.answer = answer
    submit(p, ["one@away.example", "two@away.example"])
    submit(p, "three@elsewhere.example")
    spool = p.demo / "data" / "spool"
    wait_until(lambda: len(list((spool / "deferred").iterdir())) == 2, 20, "no files")
    wait_until(lambda: p.role("queue")["detail"]["journal_watermark"] > p.role("queue")["detail"]["journal_committed"],
               20, "its plan holds the journal")
    go_on.set()
    sink.wait(2)
    wait_empty(p)
    wait_until(lambda: not list((spool / "deferred").iterdir()) and not list((spool / "done").iterdir()), 20,
               "files are left")
    assert len(sink.messages) == 2 and inbox(p) == []


def test_only_those_that_failed_are_tried_again(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))

    def answer(verb, s):
        if verb != "RCPT":
            return None
        if "bad@" in s.line:
            return "550 5.1.1 no such user"
        return "452 4.2.2 full" if "later@" in s.line and sink.count("RCPT TO:<LATER") < 2 else None

    sink.answer = answer
    submit(p, ["good@away.example", "bad@away.example", "later@away.example"])
    sink.wait(2)
    wait_empty(p)
    assert [m.rcpts for m in sink.messages] == [["good@away.example"], ["later@away.example"]]
    assert sink.count("RCPT TO:<BAD") == 1
    _, groups = machine_part(wait_inbox(p, 1)[0])
    assert [g["Final-Recipient"] for g in groups] == ["rfc822; bad@away.example"]


def test_bounce(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "550 5.1.1 no such user here" if verb == "RCPT" else None
    submit(p, "nobody@away.example", subject="lost")
    bounce = wait_inbox(p, 1)[0]
    assert bounce["From"] and "MAILER-DAEMON" in bounce["From"] and bounce["Return-Path"] == "<>"
    assert bounce["Auto-Submitted"] == "auto-replied"
    message, groups = machine_part(bounce)
    assert message["Reporting-MTA"].startswith("dns;")
    assert len(groups) == 1
    g = groups[0]
    assert g["Final-Recipient"] == "rfc822; nobody@away.example"
    assert g["Action"] == "failed" and g["Status"] == "5.1.1"
    assert g["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user here"
    text = next(part for part in bounce.walk() if part.get_content_type() == "text/plain").get_content()
    assert "nobody@away.example" in text and any("\uac00" <= c <= "\ud7a3" for c in text)
    assert b"Subject: lost" in bounce.as_bytes()
    wait_empty(p)
    assert len(inbox(p)) == 1


def test_no_bounce_to_a_bounce(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "550 5.1.1 no" if verb == "RCPT" else None
    p.send("someone@away.example", sender="")
    p.wait_log("queue.bounced", "someone@away.example")
    wait_empty(p)
    assert sink.count("MAIL FROM:<>") == 1 and inbox(p) == []


def test_given_up_when_too_old(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + "queue { bounce_after = 2s\nretry_min = 1s }\n")
    sink.answer = lambda verb, s: "450 4.2.0 never" if verb == "RCPT" else None
    submit(p, "never@away.example")
    _, groups = machine_part(wait_inbox(p, 1)[0])
    assert groups[0]["Action"] == "failed" and groups[0]["Status"] in ("4.4.7", "5.4.7")
    assert "450 4.2.0 never" in groups[0]["Diagnostic-Code"]


@pytest.mark.parametrize("what", ["close", "hang"])
def test_a_dead_destination_delays_nobody(make_pabal, sink, what):
    held, dead = dead_port()
    with held, Sink() as bad:
        bad.answer = lambda verb, s: what if verb == "CONNECT" else None
        p = make_pabal(settings=routes("dead.example [127.0.0.1]:%d" % dead, "bad.example [127.0.0.1]:%d" % bad.port,
                                       "* [127.0.0.1]:%d" % sink.port))
        for i in range(5):
            submit(p, ["x%d@dead.example" % i, "x%d@bad.example" % i], subject="d%d" % i)
        began = time.monotonic()
        for i in range(10):
            submit(p, ["x%d@good.example" % i, "test2@" + DOMAIN], subject="g%d" % i)
        sink.wait(10)
        p.wait_messages("test2", 10)
        assert time.monotonic() - began < 10
        rows = waiting(p)
        assert len(rows) == 10 and inbox(p) == []
        p.wait_log("queue.deferred", "@dead.example")
    assert len({m.content for m in sink.messages}) == 10


@pytest.mark.parametrize("role", ["queue", "relay", "dns", "smtp-0"])
def test_killed_between(make_pabal, sink, role):
    """Nothing is lost; with the relay or queue killed after the final dot it may come twice (RFC 1047)."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    names = {r["name"] for r in p.status()["roles"]}
    role = role if role in names else role.split("-")[0]
    sink.answer = lambda verb, s: "451 4.3.0 later" if verb == "RCPT" and sink.count("RCPT") < 8 else None
    for i in range(5):
        submit(p, "x%d@away.example" % i, subject="k%d" % i)
    p.kill_role(role)
    for i in range(5, 10):
        submit(p, "x%d@away.example" % i, subject="k%d" % i)
    wait_until(lambda: len({m.rcpts[0] for m in sink.messages}) == 10, 40, "mail is lost")
    wait_empty(p)
    assert len(sink.messages) <= 11 and inbox(p) == []


def test_power_off_between(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    p.expected_crashes = True
    sink.answer = lambda verb, s: "451 4.3.0 later" if verb == "RCPT" else None
    for i in range(6):
        submit(p, ["x%d@away.example" % i, "test2@" + DOMAIN], subject="p%d" % i)
    p.wait_log("queue.deferred")
    p.kill_all()
    sink.answer = lambda verb, s: None
    p.start()
    wait_until(lambda: len({m.rcpts[0] for m in sink.messages}) == 6, 40, "mail is lost")
    wait_empty(p)
    assert len(sink.messages) == 6 and len(wait_inbox(p, 6, "test2")) == 6


def test_lost_before_the_reply_is_sent_again_and_after_refusal_not(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "close" if verb == "END" and s.number == 1 else None
    submit(p, "one@away.example")
    sink.wait(1, 60)
    wait_empty(p)
    assert len(sink.messages) == 1 and sink.count("DATA") == 2


def test_alias_to_outside(make_pabal, sink):
    p = make_pabal(aliases=("out=someone@away.example", "both=test2"), settings=routes("* [127.0.0.1]:%d" % sink.port))
    p.send("out", "Subject: fwd\r\n\r\nthrough\r\n")
    m = sink.wait(1)[0]
    assert m.rcpts == ["someone@away.example"] and body_of(m) == b"through\r\n"


def test_submission_relays_and_strangers_do_not(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + 'mynetworks = {"192.0.2.0/24"}\n')
    with p.smtp() as s:
        s.ehlo()
        assert s.mail("spam@example.net")[0] == 250
        assert s.rcpt("victim@away.example")[0] in (550, 554)
        assert s.rcpt(p.address("test1"))[0] == 250
        s.rset()
        assert s.mail(p.address("test1"))[0] == 250
        assert s.rcpt("victim@away.example")[0] in (550, 554)
    with p.smtp("submission") as s:
        s.ehlo()
        assert s.mail(p.address("test1"))[0] == 530
    submit(p, "friend@away.example")
    assert sink.wait(1)[0].rcpts == ["friend@away.example"]


def test_default_is_off(make_pabal):
    p = make_pabal()
    with p.smtp("submission", "test1") as s:
        s.mail(p.address("test1"))
        assert s.rcpt("someone@example.net")[0] == 451


def test_reuses_the_connection(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    for i in range(5):
        submit(p, "x%d@away.example" % i, subject="r%d" % i)
        sink.wait(i + 1)
    assert sink.connections < 5


def test_many_recipients(make_pabal, sink):
    """The peer takes only so many at once (RFC 5321 4.5.3.1.10)."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "452 4.5.3 too many recipients" if verb == "RCPT" and len(s.rcpts) >= 30 else None
    rcpts = ["x%d@away.example" % i for i in range(100)]
    submit(p, rcpts)
    sink.wait(4)
    wait_empty(p)
    assert sorted(r for m in sink.messages for r in m.rcpts) == sorted(rcpts) and len(sink.messages) == 4


# ---- TLS

@pytest.mark.parametrize("tls,offered,comes,secure", [
    ("none", True, True, False), ("may", True, True, True), ("may", False, True, False),
    ("encrypt", True, True, True), ("encrypt", False, False, None), ("verify", True, False, None)])
def test_tls(make_pabal, tmp_path, tls, offered, comes, secure):
    with Sink(tls=certificate(tmp_path, "sink.example") if offered else None) as sink:
        p = make_pabal(settings=routes("* [127.0.0.1]:%d tls=%s" % (sink.port, tls)))
        submit(p, "one@away.example")
        if comes:
            assert sink.wait(1)[0].tls == secure
            wait_empty(p)
        else:
            p.wait_log("queue.deferred", "one@away.example")
            assert sink.messages == [] and len(waiting(p)) == 1 and inbox(p) == []
            assert "TLS" in waiting(p)[0]["reason"]


def test_tls_broken_is_sent_without(make_pabal, tmp_path):
    with Sink(tls=certificate(tmp_path, "sink.example")) as sink:
        sink.answer = lambda verb, s: "break" if verb == "STARTTLS" else None
        p = make_pabal(settings=routes("* [127.0.0.1]:%d tls=may" % sink.port))
        submit(p, "one@away.example")
        assert sink.wait(1, 60)[0].tls is False


# ---- DSN

@pytest.mark.parametrize("notify,dsn,notices", [
    ("SUCCESS", False, 1), ("SUCCESS", True, 0), ("NEVER", False, 0), ("FAILURE", False, 0)])
def test_notify_when_relayed(make_pabal, sink, notify, dsn, notices):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    if dsn:
        sink.extensions.append("DSN")
    submit(p, "one@away.example", mail_options=["RET=HDRS", "ENVID=e1"],
           rcpt_options=["NOTIFY=" + notify, "ORCPT=rfc822;orig@away.example"])
    m = sink.wait(1)[0]
    wait_empty(p)
    assert ("NOTIFY=" + notify in m.rcpt_lines[0]) == dsn and ("RET=HDRS ENVID=e1" in m.mail) == dsn
    if notices:
        message, groups = machine_part(wait_inbox(p, 1)[0])
        assert groups[0]["Action"] == "relayed" and message["Original-Envelope-Id"] == "e1"
        assert groups[0]["Original-Recipient"] == "rfc822; orig@away.example"
    assert len(inbox(p)) == notices


@pytest.mark.parametrize("notify,notices", [("NEVER", 0), ("SUCCESS", 0), ("FAILURE", 1)])
def test_notify_when_refused(make_pabal, sink, notify, notices):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "550 5.1.1 no" if verb == "RCPT" else None
    submit(p, "one@away.example", rcpt_options=["NOTIFY=" + notify])
    p.wait_log("queue.bounced", "one@away.example")
    wait_empty(p)
    assert len(wait_inbox(p, notices) if notices else inbox(p)) == notices


# ---- by MX

def test_by_mx(make_pabal):
    """The hosts are addresses of loopback; skipped where port 25 of them cannot be had."""
    zone = {
        "two.example": {"MX": [(20, "worse.two.example"), (10, "better.two.example")]},
        "better.two.example": {"A": ["127.0.0.2"]}, "worse.two.example": {"A": ["127.0.0.3"]},
        "null.example": {"MX": [(0, ".")]}, "aonly.example": {"A": ["127.0.0.4"]},
        "broken.example": "SERVFAIL", "silent.example": "SILENT",
        "cname.example": {"CNAME": ["two.example"]},
        "nowhere.example": {"MX": [(10, "missing.example")]},
    }
    sinks, stack = {}, []
    try:
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            sinks[host] = Sink(address=host, port=25)
            stack.append(sinks[host])
    except OSError:
        pytest.skip("port 25 of loopback addresses cannot be had")
    try:
        with Dns(zone) as dns:
            p = make_pabal(settings=RELAY + 'dns { servers = {"127.0.0.1:%d"} }\n' % dns.port)
            submit(p, ["a@two.example", "a@aonly.example", "a@null.example", "a@gone.test.invalid", "a@broken.example",
                       "a@nowhere.example"])
            assert sinks["127.0.0.2"].wait(1)[0].rcpts == ["a@two.example"]
            assert sinks["127.0.0.4"].wait(1)[0].rcpts == ["a@aonly.example"]
            bounces = wait_inbox(p, 2)
            got = sorted((g["Final-Recipient"].split(";")[1].strip(), g["Status"]) for b in bounces
                         for g in machine_part(b)[1])
            assert got == [("a@gone.test.invalid", "5.1.2"), ("a@null.example", "5.1.10")]
            wait_until(lambda: {r["recipient"] for r in waiting(p)} == {"a@broken.example", "a@nowhere.example"})
            wait_until(lambda: all(r["state"] == "deferred" for r in waiting(p)), 40, "not deferred", 0.2)
            assert sinks["127.0.0.3"].messages == []
            # The better one says no to the session: the next one gets it.
            sinks["127.0.0.2"].answer = lambda verb, s: "421 4.3.2 busy" if verb == "CONNECT" else None
            time.sleep(6)  # until the connection that was kept has gone
            submit(p, "b@two.example", subject="b")
            assert sinks["127.0.0.3"].wait(1)[0].rcpts == ["b@two.example"]
            assert len(inbox(p)) == 2
    finally:
        for s in stack:
            s.__exit__()


# ---- pabal queue

def status(p):
    return {d["destination"]: d for d in json.loads(p.cli("queue", "status", "--json").stdout)["destinations"]}


def test_queue_verbs(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + "queue { retry_min = 1h }\n")
    sink.answer = lambda verb, s: "451 4.3.0 later" if verb == "RCPT" else None
    for name in "abcdef":
        submit(p, "%s@%s.example" % (name, name), subject=name)
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["deferred"] * 6, 20, "not deferred", 0.1)
    here = status(p)["*"]
    assert here["waiting"] == 6 and here["next_try"] > time.time() and "451 4.3.0 later" in p.cli("queue", "list").stdout
    assert "*" in p.cli("queue", "status").stdout

    assert p.cli("queue", "remove", check=False).returncode != 0            # names nothing
    assert p.cli("queue", "remove", "--all", check=False).returncode != 0   # not confirmed
    assert p.cli("queue", "remove", "--recipient", "x@x.example", "--yes", check=False).returncode != 0
    assert len(waiting(p)) == 6

    def listed(*words):
        return sorted(r["recipient"][0] for r in json.loads(p.cli("queue", "list", *words, "--json").stdout)["messages"])
    assert listed("--domain", "b.example") == ["b"] and listed("--recipient", "@c.example") == ["c"]
    assert listed("--older", "1h") == [] and listed("--newer", "1h", "--sender", p.address("test1")) == list("abcdef")
    assert listed("--state", "held") == [] and listed("--reply", "451 4.3.0") == list("abcdef") and listed("--reply", "no") == []
    assert len(listed("--limit", "2")) == 2
    top = json.loads(p.cli("queue", "top", "--json").stdout)
    assert (top["senders"][0]["name"], top["senders"][0]["waiting"], len(top["domains"])) == (p.address("test1"), 6, 6)
    assert "f.example" in p.cli("queue", "top").stdout

    p.cli("queue", "remove", "--recipient", "a@a.example", "--yes")
    p.cli("queue", "bounce", "--domain", "b.example", "--yes")
    p.cli("queue", "hold", "--recipient", "c@c.example", "--yes")
    assert {r["recipient"]: r["state"] for r in waiting(p)}["c@c.example"] == "held"
    _, groups = machine_part(wait_inbox(p, 1)[0])
    assert groups[0]["Final-Recipient"] == "rfc822; b@b.example" and groups[0]["Action"] == "failed"

    sink.answer = lambda verb, s: None
    d = next(r["id"] for r in waiting(p) if r["recipient"] == "d@d.example")
    p.cli("queue", "retry", d, "--yes")
    assert sink.wait(1)[0].rcpts == ["d@d.example"]
    e = next(r for r in waiting(p) if r["recipient"] == "e@e.example")
    before = json.loads(p.cli("queue", "show", e["id"], "--json").stdout)["history"]
    assert [(h["attempt"], h["reply"], h["server"]) for h in before] == [(1, "451 4.3.0 later", "[127.0.0.1]")]
    p.restart()  # held mail stays held, the rest waits for its time
    assert next(r for r in waiting(p) if r["recipient"] == "e@e.example") == e
    assert json.loads(p.cli("queue", "show", e["id"], "--json").stdout)["history"] == before
    assert "451 4.3.0 later" in p.cli("queue", "show", e["id"]).stdout.split("\n\n")[1]
    p.cli("queue", "retry", "--all", "--yes")
    sink.wait(3)
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["held"], 20, "the held one is not alone", 0.1)
    assert status(p)["*"]["held"] == 1
    p.cli("queue", "release", "--sender", p.address("test1"), "--yes")
    sink.wait(4)
    wait_empty(p)
    assert sorted(m.rcpts[0][0] for m in sink.messages) == ["c", "d", "e", "f"] and len(inbox(p)) == 1
    assert p.restart() and waiting(p) == [] and len(sink.messages) == 4


def test_a_host_of_our_own_is_a_loop(make_pabal):
    """RFC 5321 5.1: we and those that are no better are dropped; a server that greets with our name is us."""
    zone = {
        "ours.example": {"MX": [(10, "mail." + DOMAIN)]},
        "backup.example": {"MX": [(5, "better.example"), (10, "mail." + DOMAIN), (20, "worse.example")]},
        "better.example": {"A": ["127.0.0.2"]}, "worse.example": {"A": ["127.0.0.3"]},
    }
    with Dns(zone) as dns, Sink() as sink:
        sink.name = "mail." + DOMAIN
        p = make_pabal(settings=RELAY + 'dns { servers = {"127.0.0.1:%d"} }\nroutes = {"named.example [127.0.0.1]:%d"}\n'
                       % (dns.port, sink.port))
        submit(p, ["a@ours.example", "a@named.example", "a@backup.example"])
        bounces = wait_inbox(p, 2)
        got = sorted((g["Final-Recipient"].split(";")[1].strip(), g["Status"]) for b in bounces
                     for g in machine_part(b)[1])
        assert got == [("a@named.example", "5.4.6"), ("a@ours.example", "5.4.6")]
        wait_until(lambda: [r["state"] for r in waiting(p)] == ["deferred"], 40, "not deferred", 0.2)
        assert not sink.messages and ("worse.example", 1) not in dns.asked


def test_bounce_to_a_sender_elsewhere(make_pabal, sink):
    """A recipient that an alias leads to refuses: its sender, on another server, is told, from nobody."""
    p = make_pabal(aliases=("out=no@away.example",), settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "550 5.1.1 no such user" if verb == "RCPT" and "no@" in s.line else None
    p.send("out", "Subject: fwd\r\n\r\nthrough\r\n", sender="far@elsewhere.example")
    m = sink.wait(1)[0]
    assert (m.sender, m.rcpts) == ("", ["far@elsewhere.example"]) and b"5.1.1" in m.content
    wait_empty(p)


def test_source_address(make_pabal, sink):
    p = make_pabal(settings=RELAY.replace("yes }", 'yes  source_address = "127.0.0.9" }')
                   + 'routes = {"* [127.0.0.1]:%d"}\n' % sink.port)
    submit(p, "a@a.example")
    sink.wait(1)
    assert sink.peers == {"127.0.0.9"}


def test_retry_wakes_a_dead_destination(make_pabal):
    held, port = dead_port()
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % port))
    submit(p, "a@a.example")
    wait_until(lambda: "connect" in status(p)["*"]["reason"] if status(p) else False, 20, "not paused", 0.1)
    assert status(p)["*"]["paused_until"] > time.time() + 20
    held.close()
    with Sink(port=port) as sink:
        p.cli("queue", "retry", "--all", "--yes")
        sink.wait(1)
        wait_empty(p)


def test_mailq(make_pabal, tmp_path):
    p = make_pabal()
    (tmp_path / "mailq").symlink_to(PROGRAM)
    done = subprocess.run([tmp_path / "mailq", "--config", p.config], capture_output=True, text=True, timeout=30,
                          env=p.env, check=False)
    assert done.returncode == 0 and done.stdout == p.cli("queue", "list").stdout


def test_habits_of_postfix(make_pabal, sink, tmp_path):
    """postqueue and postsuper, by name."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + "queue { retry_min = 1h }\n")
    sink.answer = lambda verb, s: "451 4.3.0 later" if verb == "RCPT" else None

    def call(name, *words, stdin=None):
        (tmp_path / name).exists() or (tmp_path / name).symlink_to(PROGRAM)
        return subprocess.run([tmp_path / name, "--config", p.config, *words], capture_output=True, text=True, timeout=30,
                              env=p.env, check=False, input=stdin)
    assert call("postqueue", "-p").stdout == "Mail queue is empty\n"
    for name in "abc":
        submit(p, "%s@%s.example" % (name, name), subject=name)
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["deferred"] * 3, 20, "not deferred", 0.1)
    ids = {r["recipient"][0]: r["id"] for r in waiting(p)}
    shown = call("postqueue", "-p").stdout.splitlines()
    assert shown[0].startswith("-Queue ID-") and shown[-1] == "-- 1 Kbytes in 3 Requests."
    assert any(s.startswith(ids["a"] + " ") and s.endswith(p.address("test1")) for s in shown)
    assert any(s.strip() == "(451 4.3.0 later)" for s in shown) and any(s.strip() == "a@a.example" for s in shown)
    rows = [json.loads(s) for s in call("postqueue", "-j").stdout.splitlines()]
    assert {r["queue_id"] for r in rows} == set(ids.values()) and rows[0]["queue_name"] == "deferred"
    assert rows[0]["recipients"][0]["delay_reason"] == "451 4.3.0 later"

    assert call("postsuper", "-h", ids["a"]).stderr == "postsuper: Placed on hold: 1 message\n"
    assert call("postsuper", "-h", "-", stdin=ids["b"] + "\n").stderr == "postsuper: Placed on hold: 1 message\n"
    assert ids["a"] + "!" in call("postqueue", "-p").stdout
    assert call("postsuper", "-d", ids["b"]).stderr == "postsuper: Deleted: 1 message\n"
    assert call("postsuper", "-x", "ALL").returncode == 64
    sink.answer = lambda verb, s: None
    assert call("postqueue", "-f").returncode == 0
    sink.wait(1)
    assert call("postsuper", "-H", "ALL").stderr.startswith("postsuper: Released from hold: ")
    sink.wait(2)
    wait_empty(p)


def test_pauses_survive_a_restart(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    sink.answer = lambda verb, s: "421 4.7.0 go away for now" if verb == "CONNECT" else None
    submit(p, "a@a.example")
    until = wait_until(lambda: status(p).get("*", {}).get("paused_until"), 20, "not paused", 0.1)
    p.restart()
    submit(p, "b@a.example")
    wait_until(lambda: len(waiting(p)) == 2)
    assert status(p)["*"]["paused_until"] == until and sink.count("EHLO") == 0


# ---- rules, the brake, limits

def test_hold_rules(make_pabal, sink):
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port))
    p.cli("queue", "hold-rule", "add", "domain", "a.example")
    assert p.cli("queue", "hold-rule", "add", "colour", "red", check=False).returncode != 0
    submit(p, ["a@a.example", "b@b.example"])
    assert sink.wait(1)[0].rcpts == ["b@b.example"]
    wait_until(lambda: [(r["recipient"], r["state"]) for r in waiting(p)] == [("a@a.example", "held")], 20, "not held", 0.1)
    p.restart()
    submit(p, "c@a.example", subject="c")
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["held"] * 2, 20, "not held", 0.1)
    assert "a.example" in p.cli("queue", "hold-rule", "list").stdout
    p.cli("queue", "hold-rule", "remove", "domain", "a.example")
    p.cli("queue", "release", "--state", "held", "--yes")
    sink.wait(3)
    wait_empty(p)


@pytest.mark.parametrize("verb", ["release", "revoke"])
def test_brake(make_pabal, sink, verb):
    """An account that suddenly sends to many: held, its owner and postmaster told, ended by one command."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + "queue { brake_recipients = 20 }\n",
                   aliases=("postmaster=test2",))
    for i in range(3):
        submit(p, ["r%d@a.example" % k for k in range(10)], subject="s%d" % i)
        sink.wait(min(i + 1, 2))
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["held"], 20, "not held", 0.1)
    assert len(sink.messages) == 2
    owner, admin = wait_inbox(p, 1)[0], wait_inbox(p, 1, "test2")[0]
    assert "암호" in owner.get_content() and "password" in owner.get_content()
    assert "pabal queue brake release " + p.address("test1") in admin.get_content()
    submit(p, "x@b.example", subject="t")
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["held"] * 2, 20, "not held", 0.1)
    p.cli("queue", "brake", verb, p.address("test1"), "--yes")
    wait_empty(p)
    if verb == "release":
        sink.wait(4)
        submit(p, "x@b.example", subject="u")
    assert len(sink.wait(5 if verb == "release" else 2)) == (5 if verb == "release" else 2)
    if verb == "revoke":
        submit(p, "x@b.example", subject="u")
        wait_until(lambda: [r["state"] for r in waiting(p)] == ["held"], 20, "not held", 0.1)


def test_queue_limit(make_pabal, sink):
    """R88: at the limit 452 4.3.1, and what was accepted is not lost."""
    p = make_pabal(settings=routes("* [127.0.0.1]:%d" % sink.port) + "queue { max_messages = 2  retry_min = 1h }\n")
    sink.answer = lambda verb, s: "451 4.3.0 later" if verb == "RCPT" else None
    for i in range(2):
        submit(p, "a%d@a.example" % i, subject="l%d" % i)
    wait_until(lambda: [r["state"] for r in waiting(p)] == ["deferred"] * 2, 20, "not deferred", 0.1)

    def refused():
        try:
            submit(p, "z@a.example", subject="z")
        except smtplib.SMTPException as e:
            return "452" in str(e) and "4.3.1" in str(e)
        return False
    wait_until(refused, 20, "not refused", 0.2)
    before = len(waiting(p))
    sink.answer = lambda verb, s: None
    p.cli("queue", "retry", "--all", "--yes")
    sink.wait(before)
    wait_empty(p)
    wait_until(lambda: not refused(), 20, "still refused", 0.2)
