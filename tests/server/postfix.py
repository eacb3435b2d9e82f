# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Debian's Postfix and Dovecot with files of their own, for tests: never those of /etc. They need root."""
import pathlib
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time

SERVICES = """
    127.0.0.1:{port} inet n - n - - smtpd
    pickup unix n - n 60 1 pickup
    cleanup unix n - n - 0 cleanup
    qmgr unix n - n 300 1 qmgr
    tlsmgr unix - - n 1000? 1 tlsmgr
    rewrite unix - - n - - trivial-rewrite
    bounce unix - - n - 0 bounce
    defer unix - - n - 0 bounce
    trace unix - - n - 0 bounce
    verify unix - - n - 1 verify
    proxymap unix - - n - - proxymap
    smtp unix - - n - - smtp
    showq unix n - n - - showq
    error unix - - n - - error
    retry unix - - n - - error
    lmtp unix - - n - - lmtp
    anvil unix - - n - 1 anvil
    scache unix - - n - 1 scache
    postlog unix-dgram n - n - 1 postlogd
"""


def free_port():
    """Below 32768, where the kernel takes none for clients."""
    for port in range(21000, 32000, 7):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def answers(port, process, log, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                if s.recv(4):
                    return
        except OSError:
            pass
        assert process.poll() is None and time.monotonic() < end, log.read_text() if log.exists() else "no log"
        time.sleep(0.05)


class Foreign:
    """A directory below /tmp with a short name, for Unix sockets; a process."""

    def __init__(self, name):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pabal-%s-" % name))
        self.dir.chmod(0o755)
        self.log = self.dir / "log"
        self.port = free_port()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args):
        with open(self.dir / "output", "ab") as out:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        answers(self.port, self.process, self.log)
        return self


class Postfix(Foreign):
    def __init__(self, settings):
        super().__init__("postfix")
        self.config = self.dir / "conf"
        for name, owner in (("conf", "root"), ("spool", "root"), ("data", "postfix")):
            (self.dir / name).mkdir(mode=0o755)
            shutil.chown(self.dir / name, owner)
        (self.config / "main.cf").write_text(textwrap.dedent("""
            compatibility_level = 3.6
            queue_directory = {dir}/spool
            data_directory = {dir}/data
            daemon_directory = /usr/lib/postfix/sbin
            command_directory = /usr/sbin
            mail_owner = postfix
            setgid_group = postdrop
            maillog_file = {log}
            maillog_file_prefixes = {dir}
            myhostname = old.example.net
            mydestination =
            mynetworks =
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            alias_maps =
            alias_database =
            smtpd_sasl_auth_enable = yes
            smtpd_sasl_type = dovecot
            smtpd_relay_restrictions = permit_sasl_authenticated reject_unauth_destination
            """).format(dir=self.dir, log=self.log) + settings + "\n")
        (self.config / "master.cf").write_text(textwrap.dedent(SERVICES.format(port=self.port)))
        subprocess.run(["/usr/sbin/postfix", "-c", str(self.config), "check"], check=True, capture_output=True, timeout=60)
        self.run("/usr/lib/postfix/sbin/master", "-c", str(self.config), "-d")


class DovecotLmtp(Foreign):
    """Takes mail for every address into DIR/mail/USER@DOMAIN, as Maildir; on the port and the socket DIR/lmtp."""

    def __init__(self, unknown=()):
        super().__init__("dovecot")
        for name in ("base", "state", "mail"):
            (self.dir / name).mkdir(mode=0o755)
        shutil.chown(self.dir / "mail", "mail")
        users = self.dir / "users"
        users.write_text("".join("%s::::::\n" % u for u in unknown) or "nobody:\n")
        (self.dir / "conf").write_text(textwrap.dedent("""
            instance_name = pabal-test
            base_dir = {dir}/base
            state_dir = {dir}/state
            log_path = {log}
            protocols = lmtp
            listen = 127.0.0.1
            ssl = no
            first_valid_uid = 1
            mail_location = maildir:~/Maildir
            userdb {{
              driver = static
              args = uid=mail gid=mail home={dir}/mail/%u allow_all_users=yes
            }}
            passdb {{
              driver = static
              args = nopassword=y
            }}
            service lmtp {{
              inet_listener lmtp {{
                port = {port}
              }}
            }}
            service anvil {{
              chroot =
            }}
            """).format(dir=self.dir, log=self.log, port=self.port))
        self.run("/usr/sbin/dovecot", "-F", "-c", str(self.dir / "conf"))

    def messages(self, address):
        found = []
        for part in ("new", "cur"):
            found += (self.dir / "mail" / address / "Maildir" / part).glob("*")
        return [f.read_bytes() for f in found]
