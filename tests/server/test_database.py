# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The directory in a MariaDB: pabal's own tables, and the classic setup's read as they stand."""
import imaplib
import smtplib
import subprocess
import time

import pytest

from conftest import DOMAIN, PROGRAM, wait_until
from mariadb import Guide

OWN = """directory {
 backend = mariadb
 socket = "%s"
 user = pabal
 password_file = db-password
 database = pabal
 stale_time = %s
}
"""


def own(p, mariadb, stale="1h"):
    """The server's directory in a new database."""
    mariadb.client("DROP DATABASE IF EXISTS pabal; CREATE DATABASE pabal; CREATE OR REPLACE USER pabal@localhost "
                   "IDENTIFIED BY 'p w'; GRANT ALL ON pabal.* TO pabal@localhost")
    password = p.demo / "db-password"
    password.write_text("p w\n")
    password.chmod(0o600)
    p.configure(OWN % (mariadb.socket, stale))
    p.cli("domain", "add", DOMAIN)
    for name in ("test1", "test2"):
        p.cli("account", "add", p.address(name), "--password-stdin", stdin=p.password(name) + "\n")
    p.cli("alias", "add", p.address("testfc"), p.address("test2"))
    return p.start()


def rcpt(p, address):
    with p.smtp() as s:
        s.ehlo()
        s.mail("a@example.net")
        return s.rcpt(address)[0]


def test_own_tables(make_pabal, mariadb):
    """Mail and logins; the server away and back; what others change."""
    p = own(make_pabal(start=False), mariadb)
    p.send("testfc")
    p.wait_messages("test2", 1)
    assert rcpt(p, p.address("nobody")) == 550
    with p.smtp("submission", "test1") as s:
        s.sendmail(p.address("test1"), [p.address("test1")], "Subject: x\r\n\r\nx\r\n")
    p.wait_messages("test1", 1)
    p.cli("account", "add", p.address("third"), "--no-password")  # through auth: known at once
    assert rcpt(p, p.address("third")) == 250
    assert p.role("auth")["detail"]["database_away"] is False
    time.sleep(2.2)  # of the answers remembered nothing is fresh
    with mariadb.away():
        assert rcpt(p, p.address("test1")) == 250
        assert rcpt(p, p.address("never-asked-for")) == 451
        assert rcpt(p, "x@elsewhere.example") == 451
        p.imap("test1").logout()
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            p.imap().login("never@" + DOMAIN, "x")
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            p.smtp("submissions").login("never@" + DOMAIN, "x")
        assert caught.value.smtp_code == 454
        p.send("test1")  # taken, and delivered by what is known
        p.wait_messages("test1", 2)
        assert p.cli("account", "list", check=False).returncode == 75
    wait_until(lambda: rcpt(p, p.address("never-asked-for")) == 550, 10)
    mariadb.client("UPDATE pabal.accounts SET enabled = 0 WHERE address = 'third@%s'" % DOMAIN)
    wait_until(lambda: rcpt(p, p.address("third")) == 550, 10)


def test_nothing_old(make_pabal, mariadb):
    """stale_time = 0: away is away; a start without the server, and its coming."""
    p = make_pabal(start=False)
    own(p, mariadb, "0")
    p.stop()
    with mariadb.away():
        p.start()
        assert rcpt(p, p.address("test1")) == 451
    wait_until(lambda: rcpt(p, p.address("test1")) == 250, 10)


def test_slow_look_ups_hold_up_no_login(make_pabal, mariadb):
    """Another client has the aliases locked: look-ups of recipients wait for it, logins do not."""
    p = make_pabal(start=False, settings="directory { timeout = 1m }")
    own(p, mariadb)
    mysql = ["mariadb", "--no-defaults", "-u", "root", "-S", str(mariadb.socket), "-N", "-B", "--unbuffered"]
    with subprocess.Popen(mysql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lock:
        lock.stdin.write("LOCK TABLES pabal.aliases WRITE; SELECT 'locked';\n")
        lock.stdin.flush()
        assert lock.stdout.readline() == "locked\n"
        with p.smtp() as s:
            s.ehlo()
            s.mail("a@example.net")
            s.putcmd("RCPT TO:<%s>" % p.address("test1"))
            wait_until(lambda: p.role("auth")["detail"]["lookups"] > 0)
            p.imap("test1").logout()
            p.imap("test2").logout()
            lock.stdin.close()  # the lock ends
            assert s.getreply()[0] in (250, 451)
    assert rcpt(p, p.address("test2")) == 250


def test_classic_tables(make_pabal, mariadb, tmp_path):
    """R19-R22, R25, R37, R59: SELECT rights, both kinds of hashes, names in any case."""
    guide = Guide(mariadb, tmp_path)
    (guide.postfix / "database-alias.cf").chmod(0o644)
    p = make_pabal(start=False, settings=guide.settings() + "auth { failure_delay = 0 }")
    p.start()
    assert "database-alias.cf" in p.wait_log("auth.secret.readable")  # R38
    assert p.log().count("auth.secret.readable") == 1
    for user in ("test1@demologthink.com", "test2@demologthink.com", "Test1@DemoLogThink.com"):
        p.imap().login(user, "test123")
    for user, password in (("test1@demologthink.com", "test1234"), ("x' OR '1'='1", "test123"),
                           ("test1@demologthink.com' -- ", "test123")):
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            p.imap().login('"%s"' % user, password)
    assert rcpt(p, "testfc@demologthink.com") == 550  # leads to testsc, who does not exist (R22)
    assert rcpt(p, "o'brien@demologthink.com") == 550
    with p.smtp() as s:
        s.sendmail("a@example.net", ["both@demologthink.com"], "Subject: x\r\n\r\nx\r\n")
    for user in ("test1", "test2"):
        def there(user=user):
            with p.imap() as m:
                m.login("%s@demologthink.com" % user, "test123")
                return int(m.select()[1][0]) == 1
        wait_until(there)
    refused = p.cli("account", "add", "x@demologthink.com", "--no-password", check=False)
    assert refused.returncode == 77 and "only read" in refused.stderr
    mariadb.client("INSERT INTO postfix_accounts.accounts_table (DomainId, password, Email) "
                   "VALUES (1, '', 'new@demologthink.com')")
    wait_until(lambda: rcpt(p, "new@demologthink.com") == 250, 10)


def postmap(program, *args, stdin=None):
    done = subprocess.run([*program, "-q", *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.returncode


def test_postmap(mariadb, tmp_path):
    """R36, R38-R42, and Postfix's own answers to the same questions."""
    guide = Guide(mariadb, tmp_path)
    ours = [PROGRAM, "postmap"]
    theirs = ["/usr/sbin/postmap", "-c", str(tmp_path / "postfix")]
    guide.write(guide.postfix / "main.cf", "compatibility_level = 3.6\n")
    guide.write(guide.postfix / "hash", "One\tvalue one\n# note\ntwo value\n  two\n")
    file = "mysql:%s/database-%%s.cf" % guide.postfix
    text = "texthash:%s/hash" % guide.postfix
    cases = [  # key, table, output, exit code
        ("demologthink.com", file % "domains", "1\n", 0), ("DemoLogThink.com", file % "domains", "1\n", 0),
        ("test1@demologthink.com", file % "users", "1\n", 0), ("test2@demologthink.com", file % "users", "1\n", 0),
        ("testfc@demologthink.com", file % "alias", "testsc@demologthink.com\n", 0),
        ("both@demologthink.com", file % "alias", "test1@demologthink.com,test2@demologthink.com\n", 0),
        ("nobody@demologthink.com", file % "users", "", 1), ("other.example", file % "domains", "", 1),
        ("x' OR '1'='1", file % "users", "", 1), ("x\\", file % "users", "", 1),
        ("one", text, "value one\n", 0), ("two", text, "value  two\n", 0), ("three", text, "", 1),
    ]
    for key, table, output, code in cases:
        assert postmap(ours, key, table) == (output, code), (key, table)
        assert postmap(theirs, key, table) == (output, code), (key, table)
    keys = "test1@demologthink.com\nnobody@demologthink.com\ntest2@demologthink.com\n"
    found = ("test1@demologthink.com\t1\ntest2@demologthink.com\t1\n", 0)
    assert postmap(ours, "-", file % "users", stdin=keys) == found == postmap(theirs, "-", file % "users", stdin=keys)
    with mariadb.away():
        assert postmap(ours, "test1@demologthink.com", file % "users") == ("", 75)
    assert postmap(ours, "k", "mysql:%s/none" % tmp_path) == ("", 74)
    assert postmap(ours, "k", "ldap:x") == ("", 78)
