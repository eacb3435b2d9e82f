# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""A MariaDB of Debian's for tests, with a data directory and a socket of its own; and the classic setup's database
and files as the guide has them."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import textwrap
import time

SMALL = ["--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:8M:autoextend",
         "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--performance-schema=OFF"]


class MariaDb:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pabal-mariadb-"))
        self.dir.chmod(0o755)  # clients of other users reach the socket
        self.socket = self.dir / "s"
        self.process = None
        me = ["--user=root"] if os.geteuid() == 0 else []
        self.options = ["--no-defaults", "--datadir=%s" % (self.dir / "data"), *me, *SMALL]
        subprocess.run(["mariadb-install-db", *self.options, "--auth-root-authentication-method=normal",
                        "--skip-test-db"], check=True, capture_output=True, timeout=60)
        self.start()

    def start(self):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/mariadbd", *self.options, "--socket=%s" % self.socket,
                                             "--skip-networking", "--skip-log-bin", "--pid-file=%s" % (self.dir / "pid")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while self.client("SELECT 1", check=False).returncode:
            assert self.process.poll() is None and time.monotonic() < end, (self.dir / "log").read_text()
            time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(30)
        self.process = None

    @contextlib.contextmanager
    def away(self):
        self.stop()
        try:
            yield
        finally:
            self.start()

    def client(self, sql, check=True):
        done = subprocess.run(["mariadb", "--no-defaults", "-u", "root", "-S", str(self.socket), "-N", "-B"], input=sql,
                              capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done if not check else done.stdout

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- the classic setup, as the guide has it (R19-R22, R36, R37, R59)

DOMAIN = "demologthink.com"
DATABASE_PASSWORD = "postfix_pass#1"
SCHEMA = """
DROP DATABASE IF EXISTS postfix_accounts;
CREATE DATABASE postfix_accounts;
USE postfix_accounts;
CREATE TABLE `domains_table` ( `DomainId` INT NOT NULL AUTO_INCREMENT, `DomainName` VARCHAR(50) NOT NULL,
  PRIMARY KEY (`DomainId`)) ENGINE=InnoDB;
CREATE TABLE `accounts_table` ( `AccountId` INT NOT NULL AUTO_INCREMENT, `DomainId` INT NOT NULL,
  `password` VARCHAR(300) NOT NULL, `Email` VARCHAR(100) NOT NULL, PRIMARY KEY (`AccountId`),
  UNIQUE KEY `Email` (`Email`),
  FOREIGN KEY (DomainId) REFERENCES domains_table(DomainId) ON DELETE CASCADE) ENGINE=InnoDB;
CREATE TABLE `alias_table` ( `AliasId` INT NOT NULL AUTO_INCREMENT, `DomainId` INT NOT NULL,
  `Source` VARCHAR(100) NOT NULL, `Destination` VARCHAR(100) NOT NULL, PRIMARY KEY (`AliasId`),
  FOREIGN KEY (DomainId) REFERENCES domains_table(DomainId) ON DELETE CASCADE) ENGINE=InnoDB;
"""
# The first as it was meant, the second as it is pasted where "$...$" was eaten: a DES hash (R21).
ROWS = """
INSERT INTO domains_table (DomainId, DomainName) VALUES (1, 'demologthink.com');
INSERT INTO accounts_table (DomainId, password, Email) VALUES
  (1, ENCRYPT('test123', CONCAT('$6$', SUBSTRING(SHA(RAND()), -16))), 'test1@demologthink.com');
INSERT INTO accounts_table (DomainId, password, Email) VALUES
  (1, ENCRYPT('test123', CONCAT('66', SUBSTRING(SHA(RAND()), -16))), 'test2@demologthink.com');
INSERT INTO alias_table (DomainId, Source, Destination) VALUES
  (1, 'testfc@demologthink.com', 'testsc@demologthink.com'),
  (1, 'both@demologthink.com', 'test1@demologthink.com'), (1, 'both@demologthink.com', 'test2@demologthink.com');
"""
GRANTS = """
CREATE OR REPLACE USER postfix_admin@localhost IDENTIFIED BY '%s';
GRANT SELECT ON postfix_accounts.* TO postfix_admin@localhost;
FLUSH PRIVILEGES;
""" % DATABASE_PASSWORD
QUERIES = {
    "database-domains.cf": "SELECT 1 FROM domains_table WHERE DomainName='%s'",
    "database-users.cf": "SELECT 1 FROM accounts_table WHERE Email='%s'",
    "database-alias.cf": "SELECT Destination FROM alias_table WHERE Source='%s'",
}


class Guide:
    """The files below a directory, the database in a MariaDB."""

    def __init__(self, server, directory):
        self.server = server
        self.postfix, self.dovecot = directory / "postfix", directory / "dovecot"
        self.vmail = directory / "vmail"
        server.client(SCHEMA + ROWS + GRANTS)
        for d in (self.postfix, self.dovecot, self.dovecot / "conf.d", self.vmail):
            d.mkdir()
        for name, query in QUERIES.items():
            self.write(self.postfix / name, "user = postfix_admin\npassword = %s\nhosts = unix:%s\n"
                       "dbname = postfix_accounts\nquery = %s\n" % (DATABASE_PASSWORD, server.socket, query), 0o640)
        self.write(self.dovecot / "dovecot-sql.conf.ext", """
            # Database driver: mysql, pgsql, sqlite
            driver = mysql
            connect = "host=%s dbname=postfix_accounts user=postfix_admin password=%s"
            default_pass_scheme = SHA512-CRYPT
            password_query = \\
              SELECT Email as User, password FROM accounts_table WHERE Email='%%u';
            """ % (server.socket, DATABASE_PASSWORD), 0o640)

    @staticmethod
    def write(path, text, mode=0o644):
        path.write_text(textwrap.dedent(text).lstrip())
        path.chmod(mode)

    def settings(self):
        """The classic backend, by hand."""
        file = "mysql:%s/database-%%s.cf" % self.postfix
        return ('directory {\n backend = classic\n classic_domains = "%s"\n classic_accounts = "%s"\n'
                ' classic_aliases = "%s"\n classic_dovecot = "%s/dovecot-sql.conf.ext"\n}\n'
                % (file % "domains", file % "users", file % "alias", self.dovecot))
