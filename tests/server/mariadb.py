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

    def host_files(self):
        """main.cf, master.cf, dovecot.conf and conf.d, as the guide has them on CentOS 7."""
        maps = "mysql:%s/database-" % self.postfix
        self.write(self.postfix / "main.cf", MAIN_CF.format(maps=maps))
        self.write(self.postfix / "master.cf", MASTER_CF)
        self.write(self.dovecot / "dovecot.conf", DOVECOT_CONF)
        for name, text in CONF_D.items():
            self.write(self.dovecot / "conf.d" / name, text.replace("/home/vmail", str(self.vmail))
                       .replace("/etc/dovecot/dovecot-sql.conf.ext", "%s/dovecot-sql.conf.ext" % self.dovecot))

    def dump(self):
        """As mysqldump writes it."""
        return subprocess.run(["mariadb-dump", "--no-defaults", "-u", "root", "-S", str(self.server.socket),
                               "postfix_accounts"], check=True, capture_output=True, timeout=60).stdout

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


MAIN_CF = """
    # See /usr/share/doc/postfix for samples
    queue_directory = /var/spool/postfix
    command_directory = /usr/sbin
    daemon_directory = /usr/libexec/postfix
    data_directory = /var/lib/postfix
    mail_owner = postfix
    myhostname = mail.demologthink.com
    mydomain = demologthink.com
    myorigin = $mydomain
    inet_interfaces = all
    inet_protocols = all
    mydestination = $myhostname, localhost.$mydomain, localhost
    unknown_local_recipient_reject_code = 550
    mynetworks = 127.0.0.0/8, [::1]/128, 10.1.0.0/16
    alias_maps = hash:/etc/aliases
    alias_database = hash:/etc/aliases
    home_mailbox = Maildir/
    debug_peer_level = 2
    sendmail_path = /usr/sbin/sendmail.postfix
    message_size_limit = 20480000
    smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated,
        reject_unauth_destination, reject_rbl_client zen.spamhaus.org
    #smtpd_tls_cert_file = /etc/pki/dovecot/certs/dovecot.pem
    smtpd_tls_security_level = may
    smtp_tls_security_level = may
    smtpd_sasl_type = dovecot
    smtpd_sasl_path = private/auth
    virtual_transport = lmtp:unix:private/dovecot-lmtp
    virtual_mailbox_domains = {maps}domains.cf
    virtual_mailbox_maps = {maps}users.cf
    virtual_alias_maps = {maps}alias.cf
    some_new_thing = 1
"""
MASTER_CF = """
    smtp      inet  n       -       n       -       -       smtpd
    submission inet n       -       n       -       -       smtpd
      -o syslog_name=postfix/submission
      -o smtpd_sasl_auth_enable=yes
      -o smtpd_reject_unlisted_recipient=no
      -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
      -o milter_macro_daemon_name=ORIGINATING
    pickup    unix  n       -       n       60      1       pickup
    dovecot   unix  -       n       n       -       -       pipe
      flags=DRhu user=vmail:vmail argv=/usr/libexec/dovecot/deliver -f ${sender} -d ${recipient}
    127.0.0.1:10025 inet n - n - - smtpd
"""
DOVECOT_CONF = """
    protocols = imap pop3 lmtp
    listen = *, ::
    dict {
      #quota = mysql:/etc/dovecot/dovecot-dict-sql.conf.ext
    }
    !include conf.d/*.conf
    !include_try local.conf
"""
CONF_D = {
    "10-auth.conf": """
        disable_plaintext_auth = yes
        auth_mechanisms = plain login
        !include auth-sql.conf.ext
        """,
    "auth-sql.conf.ext": """
        passdb {
          driver = sql
          args = /etc/dovecot/dovecot-sql.conf.ext
        }
        userdb {
          driver = static
          args = uid=vmail gid=vmail home=/home/vmail/%d/%n/Maildir
        }
        """,
    "10-mail.conf": """
        mail_location = maildir:/home/vmail/%d/%n/Maildir
        namespace inbox {
          inbox = yes
        }
        mail_privileged_group = mail
        mbox_write_locks = fcntl
        """,
    "10-master.conf": """
        service lmtp {
          unix_listener /var/spool/postfix/private/dovecot-lmtp {
            mode = 0600
            user = postfix
            group = postfix
          }
        }
        service auth {
          unix_listener /var/spool/postfix/private/auth {
            mode = 0666
            user = postfix
            group = postfix
          }
        }
        """,
    "10-ssl.conf": "ssl = no\n",
}
