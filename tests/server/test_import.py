# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""pabal import classic: the literal guide's host, taken over in place and by copy."""
import imaplib
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import PROGRAM, Pabal, wait_until
from mariadb import Guide

PASSWORD = "test123"
USERS = ("test1@demologthink.com", "test2@demologthink.com")


def run(*args, check=True, lang="C.UTF-8"):
    done = subprocess.run([PROGRAM, "import", "classic", *args], env={**os.environ, "LC_ALL": lang, "LANG": lang},
                          capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def guide(mariadb, tmp_path):
    tmp_path.chmod(0o755)
    g = Guide(mariadb, tmp_path)
    g.host_files()
    for user in ("test1", "old"):
        for part in ("cur", "new", "tmp"):
            (g.vmail / "demologthink.com" / user / "Maildir" / part).mkdir(parents=True)
    (g.vmail / "demologthink.com" / "test1" / "Maildir" / "cur" / "1400000000.M1P2.old,S=24,W=26:2,S").write_bytes(
        b"Subject: from before\n\nx\n")
    g.args = ["--postfix", str(g.postfix), "--dovecot", str(g.dovecot)]
    return g


def lines_of(done):
    return {line["what"].split(" = ")[0]: line for line in json.loads(done.stdout)["lines"]}


def test_dry_run(guide, tmp_path):
    """What it understood, what it maps to, what it cannot: of every line."""
    done = run(*guide.args, "--dry-run", "--json", "--output", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    report = json.loads(done.stdout)
    lines = lines_of(done)
    assert (report["domains"], report["accounts"], report["aliases"], report["weak"]) == (1, 2, 3, 1)
    # every setting of the files is told
    names = re.findall(r"(?m)^(\w+) *=", (guide.postfix / "main.cf").read_text())
    assert set(names) <= set(lines) and len(names) > 25
    want = {"myhostname": "taken", "mydestination": "taken", "mynetworks": "taken", "inet_interfaces": "builtin",
            "virtual_mailbox_domains": "taken", "home_mailbox": "cannot", "some_new_thing": "cannot",
            "smtpd_recipient_restrictions": "cannot", "message_size_limit": "taken", "virtual_transport": "builtin",
            "disable_plaintext_auth": "builtin", "mail_location": "taken", "passdb/args": "taken", "ssl": "warning",
            "protocols": "taken", "submission inet smtpd": "taken", "dovecot unix pipe": "builtin",
            "127.0.0.1:10025 inet smtpd": "warning", "testfc@demologthink.com": "warning"}
    assert {name: lines[name]["kind"] for name in want} == want
    assert lines["smtpd_recipient_restrictions"]["becomes"] == "reject_rbl_client zen.spamhaus.org"
    assert lines["testfc@demologthink.com"]["becomes"] == "testsc@demologthink.com"
    number = [n for n, text in enumerate((guide.postfix / "main.cf").read_text().split("\n"), 1)
              if text.startswith("myhostname")]
    assert [lines["myhostname"]["line"]] == number and lines["myhostname"]["file"].endswith("/main.cf")
    assert lines["mail_location"]["file"].endswith("/conf.d/10-mail.conf")
    for line in report["lines"]:
        assert line["kind"] in ("taken", "builtin", "cannot", "warning") and line["file"]
        assert bool(line["ko"]) == bool(line["en"])
    assert "mail_home = \"%d/%n\"" in report["config"] and "10.1.0.0/16" in report["config"]
    # for people, in both languages; the dump says the same as the server
    assert "-> hostname = \"mail.demologthink.com\"" in run(*guide.args, "--dry-run").stdout
    korean = run(*guide.args, "--dry-run", lang="ko_KR.UTF-8").stdout
    assert "가져옴" in korean and "받는 사람이 없는 별칭" in korean
    (tmp_path / "dump.sql").write_bytes(guide.dump())
    with guide.server.away():
        done = run(*guide.args, "--dry-run", "--json", "--dump", str(tmp_path / "dump.sql"))
        assert [json.loads(done.stdout)[k] for k in ("domains", "accounts", "aliases", "weak")] == [1, 2, 3, 1]
        assert run(*guide.args, "--dry-run", check=False).returncode == 75


def check_logins(p):
    for user in (*USERS, "Test1@DemoLogThink.com"):
        with p.imap() as m:
            m.login(user, PASSWORD)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        p.imap().login(USERS[0], "test1234")
    with p.smtp("submissions") as s:
        s.login(USERS[1], PASSWORD)
        s.sendmail(USERS[1], [USERS[0]], "Subject: new\r\nFrom: %s\r\n\r\nx\r\n" % USERS[1])

    def there():
        with p.imap() as m:
            m.login(USERS[0], PASSWORD)
            m.select()
            found = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] FLAGS)")[1]
            return found and len([f for f in found if isinstance(f, tuple)]) == 2 and found
    found = wait_until(there)
    subjects = [f[1].strip() for f in found if isinstance(f, tuple)]
    assert b"Subject: from before" in subjects and b"Subject: new" in subjects


def taken_over(guide, tmp_path, *more):
    """A server with the written file: only ports, directories and users are the test's."""
    p = Pabal(accounts=(), aliases=(), start=False)
    shutil.rmtree(p.demo / "data" / "directory")
    written = tmp_path / "pabal.conf"
    run(*guide.args, "--output", str(written), "--data-dir", str(p.demo / "data"), *more)
    made = p.config.read_text()
    theirs = re.sub(r"(?m)^(data_dir|hostname|mydomain|mynetworks) = .*\n", "", written.read_text())
    theirs = re.sub(r"(?ms)^(process|listener [^\n]*) \{\n.*?^\}\n", "", theirs)
    p.config.write_text(made + "\nauth {\n failure_delay = 0\n}\n" + theirs)
    return p


@pytest.mark.parametrize("how", ["in place", "copy", "dump"])
def test_taken_over(guide, tmp_path, how):
    more = {"in place": [], "copy": ["--copy"], "dump": ["--copy", "--dump", str(tmp_path / "dump.sql")]}[how]
    (tmp_path / "dump.sql").write_bytes(guide.dump())
    p = taken_over(guide, tmp_path, *more)
    try:
        p.start()
        check_logins(p)
        accounts = p.cli("lookup", "alias", "testfc@demologthink.com").stdout
        assert accounts == "testsc@demologthink.com\n"
        if how == "in place":  # R21: told, and left alone
            assert "DES-CRYPT" in p.wait_log("auth.password.weak", USERS[1])
            assert "rehashed" not in p.log()
        else:
            p.wait_log("auth.password.rehashed", USERS[1])
            p.imap().authenticate("PLAIN", lambda x: b"\0" + USERS[1].encode() + b"\0" + PASSWORD.encode())
            assert p.log().count("auth.password.rehashed") == 1
            assert len(json.loads(p.cli("account", "list", "--json").stdout)["accounts"]) == 2
        assert run(*guide.args, "--output", str(tmp_path / "pabal.conf"), check=False).returncode == 65
    finally:
        p.remove()
