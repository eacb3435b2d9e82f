# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Programs that people read mail with, as Debian has them."""
import os
import shutil
import subprocess

import pytest

KOREAN = ("From: =?utf-8?B?7ZmN6ri464+Z?= <hong@example.net>\r\nSubject: =?utf-8?B?7JWI64WV?= %d\r\n"
          "Message-ID: <m%d@example.net>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n")


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason="%s is not installed" % program)


def run(args, home, **options):
    env = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(args, env=env, capture_output=True, text=True, timeout=60, cwd=home, check=False, **options)
    return done


def deliver(pabal, user, n):
    for i in range(n):
        pabal.send(user, (KOREAN % (i, i, "본문 %d" % i)).encode())
    pabal.wait_messages(user, n)


def files_of(maildir):
    return sorted(p for d in ("cur", "new") for p in (maildir / d).glob("*"))


@needs("mbsync")
def test_mbsync(make_pabal, tmp_path):
    pabal = make_pabal()
    deliver(pabal, "test1", 5)
    (tmp_path / "mail").mkdir()
    (tmp_path / "rc").write_text("""
IMAPAccount a
Host 127.0.0.1
Port %d
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

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
Create Both
Expunge Both
SyncState *
""" % (pabal.port("imaps"), pabal.address("test1"), pabal.password("test1"), certificate(pabal)))
    mbsync = ["mbsync", "-c", "rc", "all"]
    done = run(mbsync, tmp_path)
    assert done.returncode == 0, done.stderr
    files = files_of(tmp_path / "mail/INBOX")
    assert len(files) == 5
    assert "본문" in "".join(f.read_text() for f in files)
    # flags, a new message and a removal go the other way
    inbox = tmp_path / "mail/INBOX"
    files[0].rename(inbox / "cur" / (files[0].name.split(":")[0] + ":2,FS"))
    files[1].rename(inbox / "cur" / (files[1].name.split(":")[0] + ":2,ST"))
    (inbox / "new" / "1.mine.host").write_text("Subject: mine\n\nmine\n")
    done = run(mbsync, tmp_path)
    assert done.returncode == 0, done.stderr
    with pabal.imap("test1") as m:
        m.select()
        assert len(m.search(None, "ALL")[1][0].split()) == 5
        assert len(m.search(None, "FLAGGED SEEN")[1][0].split()) == 1
        assert len(m.search(None, "SUBJECT mine")[1][0].split()) == 1
    done = run(mbsync, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(files_of(inbox)) == 5


def certificate(pabal):
    for path in pabal.demo.rglob("*.pem"):
        if "BEGIN CERTIFICATE" in path.read_text(errors="replace"):
            return path
    raise FileNotFoundError("certificate")


@needs("fetchmail")
@pytest.mark.parametrize("protocol, service", [("IMAP", "imaps"), ("POP3", "pop3s")])
def test_fetchmail(make_pabal, tmp_path, protocol, service):
    pabal = make_pabal()
    deliver(pabal, "test1", 3)
    rc = tmp_path / "rc"
    rc.write_text('poll 127.0.0.1 protocol %s port %d user "%s" password "%s" ssl no sslcertck keep '
                  'mda "/bin/sh -c \'cat >> got\'"\n'
                  % (protocol, pabal.port(service), pabal.address("test1"), pabal.password("test1")))
    rc.chmod(0o600)
    done = run(["fetchmail", "-f", "rc", "--nosyslog", "-a", "--pidfile", str(tmp_path / "pid")], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "got").read_text().count("Message-ID: <m") == 3
    assert pabal.imap("test1").select()[1] == [b"3"]


@needs("getmail")
@pytest.mark.parametrize("kind, service", [("SimpleIMAPSSLRetriever", "imaps"), ("SimplePOP3SSLRetriever", "pop3s")])
def test_getmail(make_pabal, tmp_path, kind, service):
    pabal = make_pabal()
    deliver(pabal, "test1", 3)
    (tmp_path / "rc").write_text("""
[retriever]
type = %s
server = 127.0.0.1
port = %d
username = %s
password = %s
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> got; echo >> got")
allow_root_commands = true
[options]
delete = true
""" % (kind, pabal.port(service), pabal.address("test1"), pabal.password("test1")))
    (tmp_path / "rc").chmod(0o600)
    for _ in range(2):
        done = run(["getmail", "--getmaildir", str(tmp_path), "--rcfile", "rc"], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "got").read_text().count("Message-ID: <m") == 3
    assert pabal.imap("test1").select()[1] == [b"0"]


@needs("curl")
def test_curl(make_pabal, tmp_path):
    pabal = make_pabal()
    deliver(pabal, "test1", 2)
    user = "%s:%s" % (pabal.address("test1"), pabal.password("test1"))

    def curl(*args):
        done = run(["curl", "-sS", "-k", "--user", user, *args], tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    imaps = "imaps://127.0.0.1:%d" % pabal.port("imaps")
    assert "INBOX" in curl(imaps)
    assert "<m0@example.net>" in curl(imaps + "/INBOX;UID=1")
    assert "* SEARCH 1 2" in curl(imaps + "/INBOX?ALL")
    pop3s = "pop3s://127.0.0.1:%d" % pabal.port("pop3s")
    assert curl(pop3s + "/").split()[0::2] == ["1", "2"]
    assert "본문 1" in curl(pop3s + "/2")
    assert "INBOX" in curl("imap://127.0.0.1:%d" % pabal.port("imap"), "--ssl-reqd")
    assert "<m0@example.net>" in curl("pop3://127.0.0.1:%d/1" % pabal.port("pop3"), "--ssl-reqd")


@needs("mutt")
def test_mutt(make_pabal, tmp_path):
    """Reads INBOX, saves a message into another mailbox and deletes it."""
    pabal = make_pabal()
    deliver(pabal, "test1", 2)
    url = "imaps://%s@127.0.0.1:%d/" % (pabal.address("test1").replace("@", "%40"), pabal.port("imaps"))
    (tmp_path / "rc").write_text("""
set folder="%s" spoolfile="+INBOX" imap_pass="%s"
set ssl_verify_host=no ssl_verify_dates=no certificate_file=%s ssl_ca_certificates_file=%s
set confirmcreate=no confirmappend=no delete=yes header_cache="" mail_check=0 sleep_time=0
push "<delete-message><sync-mailbox><quit>"
""" % (url, pabal.password("test1"), certificate(pabal), certificate(pabal)))
    script = shutil.which("script")
    if not script:
        pytest.skip("script is not installed")
    done = run([script, "-qec", "mutt -F rc", "/dev/null"], tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    with pabal.imap("test1") as m:
        assert m.select()[1] == [b"1"], done.stdout[-2000:]
