# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Small clients that say exactly what they were told: Refused is an answer, Lost is none."""
import random
import re
import socket
import ssl


class Lost(Exception):
    """The connection ended before the answer."""


class Refused(Exception):
    """The server said no."""


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    def __init__(self, host, port, tls=False, timeout=30, source=None):
        """source: the address to come from: each belongs to one of the processes behind a port."""
        try:
            self.socket = socket.create_connection((host, port), timeout, (source, 0) if source else None)
            if tls:
                self.socket = tls_context().wrap_socket(self.socket)
        except OSError as e:
            raise Lost(str(e)) from e
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.reader.close()
            self.socket.close()
        except OSError:
            pass

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError as e:
            raise Lost(str(e)) from e

    def line(self):
        try:
            line = self.reader.readline()
        except (OSError, ValueError) as e:
            raise Lost(str(e)) from e
        if not line.endswith(b"\n"):
            raise Lost("closed")
        return line.rstrip(b"\r\n")

    def read(self, n):
        try:
            octets = self.reader.read(n)
        except (OSError, ValueError) as e:
            raise Lost(str(e)) from e
        if len(octets) != n:
            raise Lost("closed")
        return octets


class Smtp(Client):
    def __init__(self, host, port, **options):
        super().__init__(host, port, **options)
        self.expect(220)
        self.command("EHLO crash.example.net", 250)

    def reply(self):
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return int(line[:3]), line.decode("utf-8", "replace")

    def expect(self, code):
        got, text = self.reply()
        if got != code:
            raise Refused(text)
        return text

    def command(self, text, code):
        self.send(text.encode() + b"\r\n")
        return self.expect(code)

    def begin(self, sender, recipients):
        """Everything before the content; the recipients that were taken."""
        self.command("MAIL FROM:<%s>" % sender, 250)
        taken = []
        for r in recipients:
            try:
                self.command("RCPT TO:<%s>" % r, 250)
                taken.append(r)
            except Refused:
                pass
        if taken:
            self.command("DATA", 354)
        else:
            self.command("RSET", 250)
        return taken

    def content(self, octets):
        """The content and its end. Refused: not taken; Lost: who knows."""
        self.send(re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n")
        return self.expect(250)


class Imap(Client):
    """With tls=False the server must be configured to take plain logins."""

    def __init__(self, host, port, user, password, **options):
        super().__init__(host, port, **options)
        self.n = 0
        if not self.line().startswith(b"* OK"):
            raise Refused("greeting")
        self.command(b'LOGIN "%s" "%s"' % (user.encode(), password.encode()))

    def response(self):
        """One response with its literals: (line with literals cut out, [literals])."""
        whole, literals = b"", []
        while True:
            part = self.line()
            m = re.search(rb"\{(\d+)\}$", part)
            whole += part
            if not m:
                return whole, literals
            literals.append(self.read(int(m.group(1))))

    def finish(self, tag):
        untagged = []
        while True:
            line, literals = self.response()
            if line.startswith(tag + b" "):
                if not line.startswith(tag + b" OK"):
                    raise Refused(line.decode("utf-8", "replace"))
                return line, untagged
            if line.startswith(b"* BYE"):
                raise Lost(line.decode("utf-8", "replace"))
            untagged.append((line, literals))

    def command(self, text, literal=None):
        """(tagged line, [(untagged line, literals)])"""
        self.n += 1
        tag = b"c%d" % self.n
        if literal is None:
            self.send(tag + b" " + text + b"\r\n")
        else:
            self.send(tag + b" " + text + b" {%d}\r\n" % len(literal))
            line = self.line()
            while not line.startswith(b"+"):
                if line.startswith(tag) or line.startswith(b"* BYE"):
                    raise Refused(line.decode("utf-8", "replace"))
                line = self.line()
            self.send(literal + b"\r\n")
        return self.finish(tag)

    def select(self, mailbox):
        """(uidvalidity, uidnext, highestmodseq)"""
        _, untagged = self.command(b"SELECT %s" % mailbox.encode())
        text = b" ".join(line for line, _ in untagged)

        def number(name):
            m = re.search(name + rb" (\d+)", text)
            return int(m.group(1)) if m else None
        return number(b"UIDVALIDITY"), number(b"UIDNEXT"), number(b"HIGHESTMODSEQ")

    def messages(self, items=b"BODY.PEEK[HEADER.FIELDS (X-Token)]", which=b"1:*"):
        """[(uid, set of flags, literal)] of the selected mailbox."""
        _, untagged = self.command(b"UID FETCH %s (UID FLAGS %s)" % (which, items))
        got = []
        for line, literals in untagged:
            uid = re.search(rb"\bUID (\d+)", line)
            flags = re.search(rb"FLAGS \(([^)]*)\)", line)
            if b" FETCH (" not in line or not uid or not flags or not literals:
                continue
            names = {f.decode() for f in flags.group(1).split()} - {"\\Recent"}
            got.append((int(uid.group(1)), names, literals[0]))
        return got

    def append(self, mailbox, content, flags=""):
        line, _ = self.command(b"APPEND %s (%s)" % (mailbox.encode(), flags.encode()), literal=content)
        m = re.search(rb"APPENDUID (\d+) (\d+)", line)
        return int(m.group(1)), int(m.group(2))

    def transfer(self, verb, uid, mailbox):
        """COPY or MOVE: (uidvalidity, new UID), or None when there was no such message."""
        line, untagged = self.command(b"UID %s %d %s" % (verb, uid, mailbox.encode()))
        for text in [line] + [u for u, _ in untagged]:
            m = re.search(rb"COPYUID (\d+) (\d+) (\d+)", text)
            if m:
                return int(m.group(1)), int(m.group(3))
        return None


class Pop3(Client):
    def __init__(self, host, port, user, password, **options):
        super().__init__(host, port, **options)
        self.single()
        self.ask("USER " + user)
        self.ask("PASS " + password)

    def single(self):
        line = self.line()
        if not line.startswith(b"+OK"):
            raise Refused(line.decode("utf-8", "replace"))
        return line

    def ask(self, text):
        self.send(text.encode() + b"\r\n")
        return self.single()

    def lines(self, text):
        self.ask(text)
        got = []
        while True:
            line = self.line()
            if line == b".":
                return got
            got.append(line[1:] if line.startswith(b".") else line)

    def uids(self):
        """{message number: unique id}"""
        return {int(n): u.decode() for n, u in (line.split(b" ", 1) for line in self.lines("UIDL"))}


def token_of(header):
    m = re.search(rb"(?im)^X-Token:\s*(\S+)", header)
    return m.group(1).decode() if m else None


def make_message(token, rng, size=None):
    """A message that ends in what nobody may change; sizes as in real mail, some large."""
    if size is None:
        size = rng.choice((200, 200, 900, 4000, 4000, 20000)) if rng.random() > 0.02 else rng.choice((80000, 150000))
    filler = random.Random(token)
    lines = ["X-Token: %s" % token, "From: sender@example.net", "Subject: crash %s" % token, "", "begin " + token]
    length = 0
    while length < size:
        line = "%0120x" % filler.getrandbits(480)
        lines.append(line)
        length += len(line) + 2
    return ("\r\n".join(lines + ["end " + token, ""])).encode()
