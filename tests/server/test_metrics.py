# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Figures over HTTP (R87), read with the parser of the Prometheus project."""
import http.client
import socket

import pytest

from conftest import server as a_server
from conftest import wait_until

parser = pytest.importorskip("prometheus_client.openmetrics.parser")


def offer(p_base):
    return "listener metrics { port = %d }" % (p_base + 90)


@pytest.fixture(scope="module", name="server")
def metrics_server():
    with a_server(start=False) as p:
        p.configure(offer(p.base))
        p.start()
        yield p


def get(p, path="/metrics", method="GET"):
    c = http.client.HTTPConnection("127.0.0.1", p.base + 90, timeout=20)
    c.request(method, path)
    r = c.getresponse()
    return r, r.read().decode()


def samples(p):
    """{(name, labels without process): sum over processes}"""
    r, text = get(p)
    assert r.status == 200 and r.getheader("Content-Type").startswith("application/openmetrics-text; version=1.0.0")
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.name.startswith("pabal") and family.documentation
        for s in family.samples:
            labels = tuple(sorted((k, v) for k, v in s.labels.items() if k != "process"))
            found[s.name, labels] = found.get((s.name, labels), 0) + s.value
    return found


def test_what_happened_is_counted(server):
    p = server
    p.send("test1")
    with p.smtp() as s:
        s.helo("x")
        s.mail("a@b.example")
        assert s.rcpt("nosuch@" + p.domain)[0] == 550
        assert s.rcpt("a@away.example")[0] == 451
    p.wait_messages("test1", 1)
    m = p.imap()
    with pytest.raises(Exception):
        m.login(p.address("test1"), "wrong")

    def there():
        now = samples(p)
        delivered = now.get(("pabal_deliveries_total", (("by", ""), ("to", "mailbox"))), 0)
        ended = now.get(("pabal_sessions_total", (("by", "smtp"), ("protocol", "smtp"))), 0)
        return now if delivered >= 1 and ended >= 2 else None
    now = wait_until(there, 20, "not counted", 0.3)
    assert now["pabal_messages_accepted_total", (("service", "smtp"),)] == 1
    assert now["pabal_recipients_refused_total", (("reason", "unlisted"),)] == 1
    assert now["pabal_recipients_refused_total", (("reason", "mynetworks"),)] == 1
    assert now["pabal_logins_total", (("by", "imaps"), ("result", "ok"))] >= 1
    assert now["pabal_logins_total", (("by", "imaps"), ("result", "fail"))] >= 1
    assert now["pabal_role_up", ()] == len(p.status()["roles"]) and now["pabal_role_restarts_total", ()] == 0
    assert now["pabal_role_memory_bytes", ()] > 8 << 20
    assert now["pabal_journal_sync_seconds_count", ()] >= 2
    assert now["pabal_queue_deferred", ()] == 0 and now["pabal_disk_free_bytes", ()] > 0


def test_restarts_and_no_reset_by_scraping(server):
    before = samples(server)
    server.kill_role("smtp")

    def again():
        now = samples(server)
        return now if now["pabal_role_restarts_total", ()] == 1 else None
    after = wait_until(again, 15)
    assert before["pabal_role_up", ()] == len(server.status()["roles"]) and after["pabal_audit_lines_total", ()] >= 1


def test_requests(server):
    assert get(server, "/")[0].status == 404
    assert get(server, method="POST")[0].status == 405
    r, text = get(server, method="HEAD")
    assert r.status == 200 and text == ""
    with socket.create_connection(("127.0.0.1", server.base + 90), timeout=20) as s:
        s.sendall(b"EHLO x\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 400 ")
    with socket.create_connection(("127.0.0.1", server.base + 90), timeout=20) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 2000)
        assert s.recv(100).startswith(b"HTTP/1.1 431 ")
    assert "OK    metrics, 127.0.0.1 port %d" % (server.base + 90) in server.cli("check", "ports").stdout


def test_off_unless_asked_for(pabal):
    assert all(row["service"] != "metrics" for row in pabal.status()["listeners"])
