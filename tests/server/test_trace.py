# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""`pabal trace`: the life of a message out of the logs, from the socket to the mailbox or the other server's reply."""
import gzip
import json
import os
import signal

import pytest

from conftest import wait_until
from sending_peers import Sink


def trace(p, key, *args):
    return json.loads(p.cli("trace", key, "--json", *args).stdout)["messages"]


def events(message):
    return [line["event"] for line in message["lines"]]


def submit(p, number, rcpts):
    with p.smtp("submission", "test1") as s:
        s.sendmail(p.address("test1"), rcpts,
                   "From: test1@%s\r\nMessage-ID: <%s@x.example>\r\n\r\nx\r\n" % (p.domain, number))


@pytest.mark.parametrize("form", ["text", "json", "ecs"])
def test_one_id_from_socket_to_mailbox_and_remote_reply(make_pabal, form):
    with Sink() as sink:
        p = make_pabal(settings='relay { enabled = yes }\nqueue { retry_min = 1s }\nlog { format = %s }\n'
                                'routes = {"* [127.0.0.1]:%d"}\n' % (form, sink.port))
        sink.answer = lambda verb, s: "451 4.7.1 later" if verb == "RCPT" and sink.count("RCPT") < 2 else None
        submit(p, "one", ["test2@" + p.domain, "kim@away.example"])
        sink.wait(1)

        def told():
            found = trace(p, "<one@x.example>")
            wanted = {"queue.placed", "queue.relayed", "smtp.session"}
            return found if found and wanted <= set(events(found[0])) else None
        message, = wait_until(told, 15, "the life is not whole", 0.2)
        assert {"smtp.login", "smtp.accept", "queue.attempt", "queue.deferred", "smtp.session"} <= set(events(message))
        qid = message["qid"]
        assert {line["qid"] for line in message["lines"] if "qid" in line or "queue" in line["event"]} == {qid}
        accept = message["lines"][events(message).index("smtp.accept")]
        assert accept["sid"] == message["lines"][events(message).index("smtp.login")]["sid"]
        attempt = message["lines"][events(message).index("queue.attempt")]
        assert int(attempt["code"]) == 451 and "later" in attempt["why"]
        for key in (qid, "kim@away.example", "one@x.example"):
            assert [m["qid"] for m in trace(p, key)] == [qid], key
        assert p.cli("trace", "im@away.example", check=False).returncode == 1  # part of an address is none
        text = p.cli("trace", qid).stdout
        assert "451 4.7.1 later" in text and "mailbox INBOX" in text and qid in text
        if form == "json":
            p.env = {**p.env, "LC_ALL": "ko_KR.UTF-8"}
            assert "메일함 INBOX에 넣음" in p.cli("trace", qid).stdout


def test_rotated_logs(make_pabal):
    p = make_pabal()
    log = p.demo / "log" / "pabal.log"
    for i in range(3):
        submit(p, "r%d" % i, ["test2@" + p.domain])
        p.wait_messages("test2", i + 1)
        if i < 2:
            log.rename(log.parent / ("pabal.log.%d" % (2 - i)))
            os.kill(p.process.pid, signal.SIGUSR1)
            wait_until(log.exists, 15, "not opened again")
    old = log.parent / "pabal.log.2"
    (log.parent / "pabal.log.2.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    for i in range(3):
        message, = trace(p, "r%d@x.example" % i)
        assert "queue.placed" in events(message)
    assert len(trace(p, "test2@" + p.domain)) == 3
    last, = trace(p, "test2@" + p.domain, "--limit", "1")
    assert last["qid"] == message["qid"]


def test_a_message_cannot_forge_its_trace(make_pabal):
    """What a stranger writes in a header is one value, in the log and on the terminal."""
    p = make_pabal()
    p.send("test1", "Message-ID: <evil\x1b[31m\" qid=660000000000000000 x=\"@x>\r\n\r\nx\r\n")
    p.wait_messages("test1", 1)
    line = p.wait_log(" smtp.accept ", "evil")
    qid = line.split(" qid=")[1].split(" ")[0]
    text = p.cli("trace", qid).stdout
    assert "\x1b" not in text and "evil" in text
    assert p.cli("trace", "660000000000000000", check=False).returncode in (0, 1)
    assert trace(p, qid)[0]["qid"] == qid
