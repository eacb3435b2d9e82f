# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""R62: Dovecot's Maildir, written by Debian's Dovecot, served by pabal where it lies. A client that was in sync
downloads nothing again."""
import imaplib
import os
import poplib
import re
import shutil
import subprocess
import textwrap

import pytest

from conftest import free_port_base, tls_context, wait_until

UID = 6000  # of the mail; need not exist
DOVECOT = "/usr/sbin/dovecot"
MESSAGE = ("From: =?utf-8?B?7ZmN6ri464+Z?= <hong@example.net>\r\nTo: test1@demologthink.com\r\nSubject: number %s\r\n"
           "Message-ID: <m%s@example.net>\r\n\r\nbody %s\r\n")
SENT = "&vPSwuA- &07jJwNVo-"  # a Korean name, in modified UTF-7

pytestmark = [
    pytest.mark.skipif(not os.path.exists(DOVECOT), reason="Dovecot is not installed"),
    pytest.mark.skipif(shutil.which("mbsync") is None, reason="mbsync is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot runs as several users")]


class Dovecot:
    """Debian's program with a configuration of its own, over the same mail directory."""

    def __init__(self, directory, mail, password):
        self.dir, self.base = directory, free_port_base()
        self.process = None
        directory.mkdir(mode=0o755)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-keyout", directory / "key.pem", "-out", directory / "cert.pem", "-days", "30",
                        "-subj", "/CN=127.0.0.1"], check=True, capture_output=True)
        services = "".join(
            "service %s-login {\n inet_listener %s {\n  port = 0\n }\n inet_listener %ss {\n  port = %d\n }\n}\n"
            % (name, name, name, self.base + port) for name, port in (("imap", 993), ("pop3", 995)))
        (directory / "dovecot.conf").write_text(textwrap.dedent(f"""
            instance_name = pabal-test
            base_dir = {directory}/run
            state_dir = {directory}/state
            log_path = {directory}/log
            protocols = imap pop3
            listen = 127.0.0.1
            ssl = required
            ssl_cert = <{directory}/cert.pem
            ssl_key = <{directory}/key.pem
            mail_location = maildir:{mail}/%d/%n/Maildir
            first_valid_uid = 1
            passdb {{
              driver = static
              args = password={password}
            }}
            userdb {{
              driver = static
              args = uid={UID} gid={UID} home={mail}/%d/%n
            }}
            namespace inbox {{
              inbox = yes
            }}
            """) + services)

    def __enter__(self):
        self.process = subprocess.Popen([DOVECOT, "-F", "-c", self.dir / "dovecot.conf"])
        wait_until(self._answers, 20, "Dovecot does not answer")
        return self

    def _answers(self):
        try:
            imaplib.IMAP4_SSL("127.0.0.1", self.base + 993, ssl_context=tls_context(), timeout=5).logout()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def imap(base, user, password):
    m = imaplib.IMAP4_SSL("127.0.0.1", base + 993, ssl_context=tls_context(), timeout=30)
    m.login(user, password)
    return m


def quoted(name):
    return '"%s"' % name


def append(m, mailbox, what, flags=""):
    status, data = m.append(quoted(mailbox), flags, None, (MESSAGE % (what, what, what)).encode())
    assert status == "OK", data


def names_of(data):
    """LIST or LSUB, without the delimiter, which may differ."""
    return {re.sub(r"[./]", "|", line.decode().rsplit('" ', 1)[-1].strip('"')) for line in data if line}


def picture(base, user, password):
    """What a client keeps of a server."""
    m = imap(base, user, password)
    boxes = {line.decode().rsplit('" ', 1)[-1].strip('"') for line in m.list()[1]}
    seen = {"subscribed": names_of(m.lsub()[1])}
    for box in boxes:
        m.select(quoted(box), readonly=True)
        validity = m.response("UIDVALIDITY")[1][0]
        following = m.response("UIDNEXT")[1][0]
        rows = {}
        for line in m.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE INTERNALDATE ENVELOPE)")[1] or []:
            if line:
                text = line.decode()
                uid = int(re.search(r"UID (\d+)", text).group(1))
                flags = set(re.search(r"FLAGS \(([^)]*)\)", text).group(1).split()) - {"\\Recent"}
                rows[uid] = (flags, re.search(r"RFC822.SIZE (\d+)", text).group(1),
                             re.search(r'INTERNALDATE "([^"]*)"', text).group(1),
                             re.search(r"ENVELOPE (.*)\)", text).group(1).rstrip(")"))
        seen[re.sub(r"[./]", "|", box)] = (validity, following, rows)
    m.logout()
    p = poplib.POP3_SSL("127.0.0.1", base + 995, context=tls_context(), timeout=30)
    p.user(user)
    p.pass_(password)
    seen["uidl"] = p.uidl()[1]
    p.quit()
    return seen


def mbsync(home, base, user, password, certificate):
    (home / "mail").mkdir(exist_ok=True)
    (home / "rc").write_text(f"""
IMAPAccount a
Host 127.0.0.1
Port {base + 993}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {certificate}

IMAPStore far
Account a

MaildirStore near
Path mail/
Inbox mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge None
SyncState *
""")
    done = subprocess.run(["mbsync", "-V", "-c", "rc", "all"], cwd=home, env={**os.environ, "HOME": str(home)},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def local_files(home):
    return {str(p): p.stat().st_mtime_ns for p in (home / "mail").rglob("*") if p.parent.name in ("cur", "new")}


def test_takeover(make_pabal, tmp_path):
    p = make_pabal(uid=UID, start=False)
    user, password = p.address("test1"), p.password("test1")
    mail = p.demo / "data" / "mail"
    with Dovecot(p.dir / "dovecot", mail, password) as d:
        m = imap(d.base, user, password)
        for box in (SENT, "work", "work.2026"):
            assert m.create(quoted(box))[0] == "OK"
        for box in ("INBOX", SENT, "work.2026"):
            m.subscribe(quoted(box))
        for i in range(12):
            append(m, "INBOX", "i%d" % i, ("", "(\\Seen)", "(\\Seen $Label1)", "(\\Flagged later)")[i % 4])
        append(m, SENT, "s", "(\\Seen)")
        append(m, "work.2026", "w", "(\\Draft)")
        m.select("INBOX")
        m.store("3:4", "+FLAGS", "(\\Deleted)")
        m.expunge()
        m.store("1", "+FLAGS", "(\\Answered)")
        m.copy("5", quoted("work"))
        m.logout()
        before = picture(d.base, user, password)
        assert len(before["INBOX"][2]) == 10 and len(before["uidl"]) == 10
        mbsync(tmp_path, d.base, user, password, d.dir / "cert.pem")
        files = local_files(tmp_path)
        assert len(files) == 13
    # comes in while no server looks
    inbox = mail / p.domain / "test1" / "Maildir"
    (inbox / "new" / "1999999999.M1P1.host").write_text("Subject: late\n\nlate\n")
    os.chown(inbox / "new" / "1999999999.M1P1.host", UID, UID)

    p.start()
    certificate = p.demo / "tls" / "cert.pem"
    after = picture(p.base, user, password)
    late = after["INBOX"][2].popitem()
    assert late[0] == int(before["INBOX"][1])  # UIDNEXT of before
    after["uidl"] = [u for u in after["uidl"] if u.split()[1] in {x.split()[1] for x in before["uidl"]}]
    for key, value in before.items():
        if key == "subscribed":
            assert after[key] >= value  # special-use mailboxes that were missing are made
        elif key == "uidl":
            assert after[key] == value
        else:
            assert after[key][0] == value[0], key
            assert after[key][2] == value[2], key
    out = mbsync(tmp_path, p.base, user, password, certificate)
    now = local_files(tmp_path)
    assert {k: v for k, v in now.items() if k in files} == files, out
    assert len(now) == len(files) + 1, out  # the late one alone
    # and nothing moves when the index is made anew
    p.stop()
    for index in inbox.glob("index.db*"):
        index.unlink()
    p.start()
    again = picture(p.base, user, password)
    again["INBOX"][2].popitem()
    assert again["INBOX"] == after["INBOX"]
    mbsync(tmp_path, p.base, user, password, certificate)
    assert local_files(tmp_path) == now
    done = p.cli("mailbox", "check", user, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    back_to_dovecot(p, tmp_path, mail, user, password)


def back_to_dovecot(p, tmp_path, mail, user, password):
    """And what pabal did meanwhile is there, too."""
    p.send("test1", "Subject: new\r\n\r\nnew\r\n")
    p.wait_messages("test1", 12)
    with p.imap("test1") as m:
        m.select("INBOX")
        m.uid("STORE", "5:6", "+FLAGS", "(\\Flagged another)")
        m.uid("COPY", "5", "work")
        m.uid("MOVE", "7", quoted(SENT))
        m.uid("STORE", "8", "+FLAGS", "(\\Deleted)")
        m.expunge()
    mbsync(tmp_path, p.base, user, password, p.demo / "tls" / "cert.pem")
    files = local_files(tmp_path)
    seen = picture(p.base, user, password)
    p.stop()
    p.cli("mailbox", "handback", user)
    with Dovecot(p.dir / "again", mail, password) as d:
        back = picture(d.base, user, password)
        for key, value in seen.items():
            assert key == "subscribed" or back[key] == value, key
        assert back["subscribed"] == seen["subscribed"]
        mbsync(tmp_path, d.base, user, password, d.dir / "cert.pem")
        assert local_files(tmp_path) == files
