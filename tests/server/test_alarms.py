# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Alarms (R85): one mail when it begins, one when it is over, also over a crash of the queue."""
import email
import email.policy
import http.server
import json
import threading

from conftest import wait_until
from sending_peers import Dns, certificate


def mails(p, user="test1"):
    with p.imap(user) as m:
        m.select(readonly=True)
        numbers = m.search(None, "ALL")[1][0].split()
        return [email.message_from_bytes(m.fetch(n, "(BODY.PEEK[])")[1][0][1], policy=email.policy.SMTP)
                for n in numbers]


def wait_mails(p, n):
    p.wait_messages("test1", n, seconds=30)
    return mails(p)


def on(p):
    return [a["alarm"] for a in p.role("queue")["detail"]["alarms"]]


def test_one_alarm_one_all_clear(make_pabal):
    p = make_pabal(settings="alarm { interval = 1s disk = 1 }")  # every disk is fuller than that
    first, = wait_mails(p, 1)  # postmaster is the first administrator
    assert "경보: disk" in first["Subject"] and "(alarm: disk)" in first["Subject"]
    text = first.get_content()
    assert "디스크가" in text and "A disk is" in text and "df -h" in text and first["Auto-Submitted"] == "auto-generated"
    assert on(p) == ["disk"] and "ALARM: disk, since" in p.cli("status").stdout
    p.kill_role("queue")  # it is known after that, and not told again
    wait_until(lambda: on(p) == ["disk"], 15)
    p.configure("alarm { disk = 0 }")
    p.cli("reload")
    second = wait_mails(p, 2)[1]
    assert "경보 해제: disk" in second["Subject"] and "all clear" in second["Subject"]
    assert on(p) == [] and len(mails(p)) == 2
    raised = [line for line in p.log().splitlines() if " alarm.raised " in line and 'rule="disk"' in line]
    assert len(raised) == 1


def test_restarts(make_pabal):
    p = make_pabal(settings="alarm { interval = 1s disk = 0 restarts = 2 }")
    p.kill_role("smtp")
    p.kill_role("smtp")
    p.status()  # asks all, and tells the queue what the master knows
    mail, = wait_mails(p, 1)
    assert "started again 2 times" in mail.get_content()


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes JSON; the first time it is not ready."""
    told, answers = [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            self.told.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_webhook(make_pabal, tmp_path):
    """Told once by POST, again where the server was not ready, only to who has a certificate for the name."""
    context = certificate(tmp_path, "hooks.example")
    Hook.told, Hook.answers = [], [503]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server, \
            Dns({"hooks.example": {"A": ["127.0.0.1"]}, "wrong.example": {"A": ["127.0.0.1"]}}) as dns:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            p = make_pabal(settings='relay { enabled = yes  ca_file = "%s" }\ndns { servers = {"127.0.0.1:%d"} }\n'
                           'alarm { interval = 1s  disk = 1  webhook = "https://hooks.example:%d/x?y=z" }\n'
                           % (tmp_path / "sink.pem", dns.port, server.server_address[1]))
            (path, kind, told), = wait_until(lambda: Hook.told, 30, "the hook was not called", 0.2)
            assert path == "/x?y=z" and kind == "application/json"
            assert told["alarm"] == "disk" and told["state"] == "raised" and told["host"] == "mail." + p.domain
            assert "A disk is" in told["text"] and "디스크" in told["text_ko"] and told["limit"] == 1
            assert "503" in p.wait_log("alarm.webhook.failed")
            p.configure('alarm { disk = 0  webhook = "https://wrong.example:%d/" }' % server.server_address[1])
            p.cli("reload")
            wait_until(lambda: p.log().count("alarm.webhook.failed") >= 2, 30, "no failure was logged", 0.2)
            assert len(Hook.told) == 1
        finally:
            server.shutdown()
            thread.join(10)
