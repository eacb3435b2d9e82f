# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""A whole server for a test: `pabal quickstart` in a temporary directory, on free loopback ports.

    def test_something(pabal):            # one server per module, kept between its tests
        with pabal.imap("test1") as imap:
            imap.select()

    def test_alone(make_pabal):           # a server of its own; options below
        p = make_pabal(settings='smtp { max_recipients = 100 }')

PABAL or PABAL_BINARY names the program; default: build/pabal. Servers are stopped by the fixture, and a test fails
when one of its roles crashed without being asked to.
"""
import contextlib
import functools
import imaplib
import json
import os
import pathlib
import poplib
import random
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

from mariadb import MariaDb

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PABAL") or os.environ.get("PABAL_BINARY") or str(ROOT / "build" / "pabal")
DOMAIN = "demologthink.com"
START_S = float(os.environ.get("PABAL_START_S", "30"))
# Offsets of the standard ports that a server listens on.
OFFSETS = (24, 25, 110, 143, 465, 587, 993, 995)


def wait_until(what, seconds=15, message="waited in vain", every=0.02):
    """Calls what() until it answers something true; returns that."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, message
        time.sleep(every)


def free_port_base():
    """A base at which all ports are free now; below 32768, where the kernel takes none for clients."""
    for _ in range(200):
        base = random.randrange(11000, 31000, 100)
        try:
            with contextlib.ExitStack() as stack:
                for offset in OFFSETS:
                    s = stack.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


@functools.lru_cache(None)
def tls_context():
    """Accepts the self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loads no roots: that takes 50 ms
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Pabal:
    """A server in a directory of its own."""

    def __init__(self, accounts=("test1", "test2"), aliases=("testfc=test2",), settings="", env=None,
                 domain=DOMAIN, start=True, uid=None, parent=None, own_program=False,
                 prefix=()):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pabal-%d-" % os.getpid(), dir=parent))
        self.dir.chmod(0o755)
        self.domain = domain
        self.base = free_port_base()
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", **(env or {})}
        self.process = None
        self.expected_crashes = False
        self.ready = None
        self.host = "127.0.0.1"
        self.prefix = list(prefix)  # before the server's command: setpriv ...
        self.program = PROGRAM
        if own_program:  # a copy, for tests that replace it
            self.program = str(self.dir / "pabal")
            shutil.copy(PROGRAM, self.program)
        self.uid = uid  # start as this user; needs root
        if uid is not None:
            os.chown(self.dir, uid, uid)
        args = [self.program, "quickstart", "--dir", str(self.dir / "demo"), "--domain", domain, "--port-base",
                str(self.base), "--no-start"]
        for a in accounts:
            args += ["--account", a]
        for a in aliases:
            args += ["--alias", a]
        made = subprocess.run(args, env=self.env, capture_output=True, text=True, timeout=60, check=False,
                              user=uid, group=uid, extra_groups=[] if uid is not None else None)
        assert made.returncode == 0, made.stderr
        self.demo = self.dir / "demo"
        self.config = self.demo / "pabal.conf"
        self.configure("alarm { interval = 1h }")  # no mail to test1 because of this machine's disk, or of kills
        if settings:
            self.configure(settings)
        if start:
            self.start()

    # ---- life

    def configure(self, settings):
        """Adds lines to the configuration (later values win)."""
        with open(self.config, "a", encoding="utf-8") as f:
            f.write("\n" + settings + "\n")

    def start(self, wait=True):
        (self.demo / "ready.json").unlink(missing_ok=True)  # of a server that was killed
        self.output = open(self.dir / "output", "ab")
        self.process = subprocess.Popen([*self.prefix, self.program, "quickstart", "--dir", str(self.demo)], env=self.env,
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        user=self.uid, group=self.uid,
                                        extra_groups=[] if self.uid is not None else None)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        path = self.demo / "ready.json"

        def there():
            assert self.process.poll() is None, "the server ended:\n" + self.text("output")
            return path.exists()

        wait_until(there, START_S, "the server did not become ready:\n" + self.text("output"))
        self.ready = json.loads(path.read_text())
        assert self.ready["pid"] == self.process.pid
        return self.ready

    def stop(self, sig=signal.SIGTERM, seconds=40):
        """Ends the server; its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise
        code = self.process.returncode
        self.output.close()
        self.process = None
        return code

    def restart(self):
        self.stop()
        return self.start()

    def kill_all(self):
        """Power off, as far as processes go: kill -9 of the master takes the roles along."""
        if self.process and self.process.poll() is None:
            pids = children(self.process.pid)
            self.process.kill()
            self.process.wait(10)
            wait_until(lambda: not any(alive(p) for p in pids), 10, "roles outlived the master")
        if self.process:
            self.output.close()
        self.process = None

    def remove(self):
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- looking at it

    def text(self, name):
        path = self.dir / name
        return path.read_text(errors="replace") if path.exists() else ""

    def log(self):
        path = self.demo / "log" / "pabal.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_log(self, *words, seconds=15):
        """The first log line with all the words."""
        def found():
            for line in self.log().splitlines():
                if all(w in line for w in words):
                    return line
            return None
        return wait_until(found, seconds, "no log line with %s" % (words,))

    def cli(self, *args, check=True, stdin=None, timeout=60):
        """Runs `pabal ARGS` against this server; check=False: the result with its code."""
        config = () if "--config" in args else ("--config", str(self.config))
        done = subprocess.run([self.program, *args, *config], env=self.env, capture_output=True,
                              text=True, input=stdin, timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, "pabal %s: %d\n%s%s" % (" ".join(args), done.returncode, done.stdout, done.stderr)
        return done

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def role(self, name):
        """The role's row of `pabal status`: "auth", "mailbox-0" ..."""
        for r in self.status()["roles"]:
            if r["name"] == name:
                return r
        raise KeyError(name)

    def pids(self):
        return [r["pid"] for r in self.status()["roles"] if r["pid"]]

    def kill_role(self, name, sig=signal.SIGKILL, wait=True):
        """Kills a process of the server; waits until the master has a new one ready."""
        self.expected_crashes = True
        pid = self.wait_role(name)["pid"]  # never 0, which would be our own process group
        os.kill(pid, sig)
        if wait:
            self.wait_role(name, other_than=pid)
        return pid

    def wait_role(self, name, other_than=0, seconds=20):
        def back():
            r = self.role(name)
            return r if r["state"] == "ready" and r["pid"] not in (0, other_than) else None
        return wait_until(back, seconds, "%s did not come back" % name)

    # ---- clients

    @property
    def accounts(self):
        """Passwords by address."""
        made = json.loads((self.demo / "accounts.json").read_text())
        return {a["address"]: a["password"] for a in made["accounts"]}

    def address(self, user):
        return user if "@" in user else "%s@%s" % (user, self.domain)

    def password(self, user):
        return self.accounts[self.address(user)]

    def port(self, service):
        return self.ready["ports"][service]

    def smtp(self, service="smtp", user=None, timeout=30):
        """smtplib, after EHLO; with user: over TLS and logged in."""
        if service == "submissions":
            s = smtplib.SMTP_SSL(self.host, self.port(service), timeout=timeout, context=tls_context())
        elif service == "lmtp":
            s = smtplib.LMTP(self.host, self.port(service))
        else:
            s = smtplib.SMTP(self.host, self.port(service), timeout=timeout)
        if user and service != "submissions":
            s.starttls(context=tls_context())
        if user:
            s.login(self.address(user), self.password(user))
        return s

    def send(self, to="test1", message="Subject: hello\r\n\r\nhello\r\n", sender="somebody@example.net"):
        """One message through port 25."""
        to = [to] if isinstance(to, str) else to
        with self.smtp() as s:
            return s.sendmail(sender, [self.address(t) for t in to], message)

    def imap(self, user=None, tls=True, timeout=30):
        """imaplib, logged in when user is given."""
        if tls:
            m = imaplib.IMAP4_SSL(self.host, self.port("imaps"), ssl_context=tls_context(), timeout=timeout)
        else:
            m = imaplib.IMAP4(self.host, self.port("imap"), timeout=timeout)
        if user:
            m.login(self.address(user), self.password(user))
        return m

    def pop3(self, user=None, tls=True, timeout=30):
        if tls:
            p = poplib.POP3_SSL(self.host, self.port("pop3s"), context=tls_context(), timeout=timeout)
        else:
            p = poplib.POP3(self.host, self.port("pop3"), timeout=timeout)
        if user:
            p.user(self.address(user))
            p.pass_(self.password(user))
        return p

    def connect(self, service, timeout=30):
        """A raw connection as a file object pair: (socket, reader)."""
        s = socket.create_connection((self.host, self.port(service)), timeout=timeout)
        if service in ("imaps", "pop3s", "submissions"):
            s = tls_context().wrap_socket(s)
        return s, s.makefile("rb")

    def wait_messages(self, user, n, mailbox="INBOX", seconds=20):
        """Until the mailbox has n messages, by IMAP."""
        def there():
            with self.imap(user) as m:
                status, data = m.select(mailbox, readonly=True)
                assert status == "OK", data
                return int(data[0]) >= n
        return wait_until(there, seconds, "%s has no %d messages in %s" % (user, n, mailbox), 0.1)

    def crashes(self):
        return [line for line in self.log().splitlines()
                if " role.crashed " in line or " role.killed " in line or " role.hangs " in line]

    def sanitizer_reports(self):
        """What sanitizers wrote on standard error, which roles keep: no crash is expected there."""
        text = self.text("output")
        marks = ("AddressSanitizer", "ThreadSanitizer", "runtime error:")
        return text if any(m in text for m in marks) else ""


def children(pid):
    """Processes that it started; asked of the kernel, so that it works whatever state they are in."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError), open("/proc/%s/stat" % entry, encoding="ascii", errors="replace") as f:
            if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry))
    return found


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


@contextlib.contextmanager
def server(**options):
    p = Pabal(**options)
    try:
        yield p
        crashed = p.crashes()
        assert p.expected_crashes or not crashed, "\n".join(crashed)
        assert not p.sanitizer_reports(), p.sanitizer_reports()
    finally:
        p.remove()


@pytest.fixture(scope="module")
def pabal():
    with server() as p:
        yield p


@pytest.fixture
def make_pabal():
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(server(**options))


@pytest.fixture(scope="session")
def mariadb():
    """One MariaDB for the session; databases are the tests' own."""
    m = MariaDb()
    yield m
    m.remove()
