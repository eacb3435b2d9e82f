# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""`pabal sendmail`: mail handed in by programs of this host (R86), also by users who may not read the configuration."""
import email
import os
import re
import shutil
import subprocess

import pytest

from conftest import PROGRAM, wait_until

NOBODY = 65534


@pytest.fixture(scope="module", name="sendmail")
def sendmail_link(pabal):
    """A link by that name, as `make install` makes it."""
    path = pabal.dir / "bin" / "sendmail"
    path.parent.mkdir()
    for name in ("sendmail", "newaliases", "mailq"):
        (path.parent / name).symlink_to(PROGRAM)
    return path


def run(pabal, program, *args, stdin="", uid=None, env=None):
    as_user = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    env = {**pabal.env, "PABAL_SENDMAIL_SOCKET": str(pabal.demo / "run" / "sendmail.sock"), **(env or {})}
    return subprocess.run([str(program), *args], env=env, capture_output=True, text=True, input=stdin, timeout=60,
                          check=False, cwd="/", **as_user)


def fetch(pabal, user, subject):
    """The message of that subject."""
    def there():
        with pabal.imap(user) as m:
            m.select("INBOX", readonly=True)
            numbers = m.search(None, "SUBJECT", subject)[1][0].split()
            return m.fetch(numbers[0], "(BODY.PEEK[])")[1][0][1] if numbers else None
    return email.message_from_bytes(wait_until(there, 20, "no message %s" % subject, 0.1))


def test_header_recipients_and_bcc(pabal, sendmail):
    """-t: recipients of To, Cc, Bcc; nobody sees Bcc; names get the domain; Date and Message-ID are added."""
    text = "To: test1\nBcc: test2\nSubject: one\n\nhello\n.\nnot this\n"
    done = run(pabal, sendmail, "-t", "-F", "Hong", stdin=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    m = fetch(pabal, "test1", "one")
    assert fetch(pabal, "test2", "one")["Subject"] == "one"
    assert m["To"] == "test1@" + pabal.domain and m["Bcc"] is None
    assert m["From"] == "Hong <root@%s>" % pabal.domain or os.getuid() != 0
    assert m["Date"] and m["Message-ID"]
    assert "(userid %d) with local" % os.getuid() in m["Received"]
    assert m.get_payload() == "hello\r\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_any_user_and_the_audit_of_it(pabal, sendmail):
    """R86: user, process, calling command, directory, sender, recipients and queue id, by the kernel's word."""
    done = run(pabal, sendmail, "-i", "-f", "robot@example.net", "test1", "test2", stdin="Subject: two\n\n.\nx\n", uid=NOBODY)
    assert done.returncode == 0, done.stderr
    m = fetch(pabal, "test1", "two")
    assert m["Return-Path"] == "<robot@example.net>" and m.get_payload() == ".\r\nx\r\n"
    line = pabal.wait_log(" smtp.local ", 'from="robot@example.net"')
    assert "user_id=%d" % NOBODY in line and 'directory="/"' in line and "pytest" in line
    assert re.search(r" qid=\w+ .* pid=\d+ .*rcpt=\"test1@%s,test2@%s\" count=2" % (pabal.domain, pabal.domain), line)


def test_exit_codes(pabal, sendmail):
    """sysexits: EX_NOUSER when nobody is there, EX_USAGE."""
    for args, stdin, code in ((["nosuch"], "x\n", 67), (["-t"], "Subject: x\n\nx\n", 64), (["-Z"], "", 64),
                              (["-bd"], "", 64)):
        done = run(pabal, sendmail, *args, stdin=stdin)
        assert done.returncode == code, (args, done)
        assert "sendmail: " in done.stderr
    done = run(pabal, sendmail, "-bv", "test1", "nosuch")
    assert done.returncode == 67 and "test1@%s... deliverable" % pabal.domain in done.stdout
    assert run(pabal, sendmail.parent / "newaliases").returncode == 0


def test_testmail_shows_the_dialogue_and_says_why(pabal):
    done = pabal.cli("testmail", "--plain", pabal.address("test1"))
    assert "S: 250 2.0.0 queued as " in done.stdout
    done = pabal.cli("testmail", "--plain", pabal.address("nosuch"), check=False)
    assert done.returncode == 69 and "the server refused: 550 5.1.1 " in done.stderr


def test_some_unknown_recipients_bounce(pabal, sendmail):
    """Nothing is sent twice: those who exist get it, the sender hears of the rest by mail."""
    done = run(pabal, sendmail, "-f", "test2@" + pabal.domain, "test1", "nosuch", stdin="Subject: three\n\nx\n")
    assert done.returncode == 0, done.stderr
    assert fetch(pabal, "test1", "three")
    pabal.wait_log(" queue.placed ", 'account="test2@')


def test_smtp_on_standard_input(pabal, sendmail):
    """-bs"""
    text = "EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<test1>\r\nDATA\r\nSubject: four\r\n\r\nx\r\n.\r\nQUIT\r\n"
    done = run(pabal, sendmail, "-bs", stdin=text)
    assert done.returncode == 0 and "250 2.0.0 queued as" in done.stdout and "221 " in done.stdout
    assert fetch(pabal, "test1", "four")


def test_queue_verbs(pabal, sendmail):
    """-bp, mailq and -q are the administrator's."""
    env = {"PABAL_CONFIG": str(pabal.config)}
    assert run(pabal, sendmail, "-bp", env=env).returncode == 0
    assert run(pabal, sendmail.parent / "mailq", env=env).returncode == 0
    assert run(pabal, sendmail, "-q", env=env).returncode == 0


@pytest.mark.skipif(not shutil.which("s-nail"), reason="no s-nail")
def test_mailx(pabal, sendmail):
    text = "hello\n.\nhello\n"
    done = run(pabal, "s-nail", "-:/", "-Ssendwait", "-Smta=" + str(sendmail), "-s", "five", "-b", "test2", "test1", stdin=text)
    assert done.returncode == 0, done.stderr
    m = fetch(pabal, "test1", "five")
    assert m["Bcc"] is None and m.get_payload() == "hello\r\n.\r\nhello\r\n"
    assert fetch(pabal, "test2", "five")


@pytest.mark.skipif(not shutil.which("mutt"), reason="no mutt")
def test_mutt(pabal, sendmail):
    attached = pabal.dir / "test.txt"
    attached.write_text("안녕하세요\n", encoding="utf-8")
    done = run(pabal, "mutt", "-n", "-F", "/dev/null", "-e", "set sendmail=%s copy=no from=kim@example.net" % sendmail,
               "-s", "six", "-a", str(attached), "--", "test1@" + pabal.domain, stdin="본문\n")
    assert done.returncode == 0, done.stderr
    m = fetch(pabal, "test1", "six")
    assert [p.get_filename() for p in m.walk()][-1] == "test.txt"
    assert m.get_payload()[0].get_payload(decode=True).decode() == "본문\r\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_users_can_be_limited(make_pabal):
    """sendmail.allow and the rate of a user."""
    p = make_pabal(settings='sendmail { allow = {"root"}\n rate_messages = 2 }')
    mail = {"stdin": "Subject: x\n\nx\n"}
    denied = run(p, PROGRAM, "sendmail", "test1", uid=NOBODY, **mail)
    assert denied.returncode == 77 and "5.7.1" in denied.stderr
    assert "user_id=%d" % NOBODY in p.wait_log(" smtp.local.refuse ")
    codes = [run(p, PROGRAM, "sendmail", "test1", **mail).returncode for _ in range(3)]
    assert codes == [0, 0, 75]
    p.stop()


def test_durable_before_it_says_so(make_pabal):
    """Exit 0, then power off: the message is there afterwards."""
    p = make_pabal()
    p.expected_crashes = True
    for i in range(3):
        assert run(p, PROGRAM, "sendmail", "test1", stdin="Subject: durable%d\n\nx\n" % i).returncode == 0
        p.kill_all()
        p.start()
    for i in range(3):
        assert fetch(p, "test1", "durable%d" % i)
    p.wait_messages("test1", 3)
