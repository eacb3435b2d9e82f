# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Alarms (R85): one mail when it begins, one when it is over, also over a crash of the queue."""
import email
import email.policy

from conftest import wait_until


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
