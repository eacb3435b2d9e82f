# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The directory in a MariaDB: pabal's own tables, and the classic setup's read as they stand."""
import imaplib
import smtplib
import time

import pytest

from conftest import DOMAIN, wait_until
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


def test_classic_tables(make_pabal, mariadb, tmp_path):
    """R19-R22, R25, R37, R59: SELECT rights, both kinds of hashes, names in any case."""
    guide = Guide(mariadb, tmp_path)
    p = make_pabal(start=False, settings=guide.settings() + "auth { failure_delay = 0 }")
    p.start()
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
