# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Servers on the other side, for tests of sending: SMTP that does as told, and DNS with a small zone.

    with Sink() as sink:                     # takes everything
        sink.answer = lambda verb, session: "451 4.7.1 later" if verb == "RCPT" else None
        ...
        message = sink.wait(1)[0]            # .sender .rcpts .content .mail (the MAIL line) .tls
"""
import contextlib
import datetime
import socket
import ssl
import struct
import threading
import time


class Message:
    def __init__(self, mail, rcpts, content, tls, connection):
        self.mail, self.rcpt_lines, self.content, self.tls, self.connection = mail, rcpts, content, tls, connection
        self.sender = mail[mail.index("<") + 1:mail.index(">")]
        self.rcpts = [r[r.index("<") + 1:r.index(">")] for r in rcpts]


class Sink:
    """An SMTP server on a thread per connection. answer(verb, session): a reply instead of the usual one, or
    None; verbs: CONNECT, EHLO, MAIL, RCPT, DATA, END ... "close" ends the connection, "hang" is silence."""

    def __init__(self, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000"), tls=None, address="127.0.0.1",
                 port=0):
        self.extensions, self.tls, self.address = list(extensions), tls, address
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.messages, self.connections, self.lines = [], 0, []
        self.name, self.peers = "sink.example", set()
        self.answer = lambda verb, session: None
        self.lock = threading.Lock()
        self.closing = False
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.closing = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, peer = self.listener.accept()
                if self.closing:
                    return
                self.connections += 1
                self.peers.add(peer[0])
                threading.Thread(target=self.session, args=(s, self.connections), daemon=True).start()

    def session(self, s, number):
        with contextlib.suppress(OSError, ValueError):
            Session(self, s, number).run()
        with contextlib.suppress(OSError):
            s.close()

    def wait(self, n, seconds=30):
        end = time.monotonic() + seconds
        while len(self.messages) < n:
            assert time.monotonic() < end, "%d of %d messages came" % (len(self.messages), n)
            time.sleep(0.02)
        return self.messages

    def count(self, verb):
        return sum(line.upper().startswith(verb) for line in self.lines)


class Session:
    def __init__(self, sink, s, number):
        self.sink, self.s, self.number, self.secure = sink, s, number, False
        self.file = s.makefile("rb")
        self.line, self.mail, self.rcpts = "", None, []

    def say(self, verb, usual):
        reply = self.sink.answer(verb, self) or usual
        if reply == "close":
            raise OSError("as told")
        if reply == "break":  # TLS that is none
            self.s.sendall(b"220 go\r\n")
            time.sleep(0.3)
            self.s.sendall(b"nonsense" * 4)
            raise OSError("as told")
        if reply == "hang":
            self.file.read()
            raise OSError("gone")
        self.s.sendall(reply.encode() + b"\r\n")
        return reply[:1] in "23"

    def run(self):
        if not self.say("CONNECT", "220 sink.example ESMTP"):
            return
        while True:
            raw = self.file.readline()
            if not raw:
                return
            self.line = raw.decode().rstrip("\r\n")
            self.sink.lines.append(self.line)
            verb = self.line.split(" ")[0].split(":")[0].upper()
            if verb in ("EHLO", "LHLO"):
                words = [self.sink.name] + self.sink.extensions
                if self.sink.tls and not self.secure:
                    words.append("STARTTLS")
                self.say("EHLO", "\r\n".join("250%s%s" % (" " if w is words[-1] else "-", w) for w in words))
            elif verb == "STARTTLS":
                if self.say("STARTTLS", "220 go"):
                    self.s = self.sink.tls.wrap_socket(self.s, server_side=True)
                    self.file = self.s.makefile("rb")
                    self.secure = True
            elif verb == "MAIL":
                if self.say("MAIL", "250 2.1.0 ok"):
                    self.mail, self.rcpts = self.line, []
            elif verb == "RCPT":
                if self.mail is None:
                    self.say("RCPT", "503 5.5.1 MAIL first")
                elif self.say("RCPT", "250 2.1.5 ok"):
                    self.rcpts.append(self.line)
            elif verb == "DATA":
                if not self.rcpts:
                    self.s.sendall(b"503 5.5.1 no recipients\r\n")
                elif self.say("DATA", "354 go"):
                    self.data()
            elif verb == "RSET":
                self.mail, self.rcpts = None, []
                self.s.sendall(b"250 2.0.0 ok\r\n")
            elif verb == "QUIT":
                self.s.sendall(b"221 2.0.0 bye\r\n")
                return
            else:
                self.s.sendall(b"500 5.5.2 what\r\n")

    def data(self):
        content = bytearray()
        while True:
            line = self.file.readline()
            if not line:
                raise OSError("broken off in the content")
            if line == b".\r\n":
                break
            content += line[1:] if line.startswith(b".") else line
        message = Message(self.mail, self.rcpts, bytes(content), self.secure, self.number)
        self.mail, self.rcpts = None, []
        if self.say("END", "250 2.0.0 taken"):
            with self.sink.lock:
                self.sink.messages.append(message)


def dead_port():
    """A port that nobody listens on (bound, so that nobody takes it); keep the socket."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]


def certificate(directory, name):
    """A self-signed certificate for an SMTP server: its context."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2020, 1, 1)
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=20000))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(key, hashes.SHA256()))
    path = directory / "sink.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption())
                     + cert.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


# ---- DNS

TYPES = {"A": 1, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28}


def encode_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.strip(".").split(".") if p) + b"\0"


class Dns:
    """A recursive name server over UDP and TCP. zone: {"name": {"MX": [(10, "mx.name")], "A": ["127.0.0.1"]}}; a
    name's value may be "SERVFAIL" or "SILENT"; what is not there is NXDOMAIN. ttl=0: nobody may cache."""

    def __init__(self, zone, ttl=60):
        self.zone, self.ttl = zone, ttl
        self.asked = []
        while True:  # a port that is free for both
            self.udp, self.tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
            self.udp.bind(("127.0.0.1", 0))
            self.port = self.udp.getsockname()[1]
            with contextlib.suppress(OSError):
                self.tcp.bind(("127.0.0.1", self.port))
                break
            self.udp.close()
            self.tcp.close()
        self.tcp.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.udp.recvfrom(4096)
                if not query:  # closing
                    return
                reply = self.reply(query)
                if reply:
                    self.udp.sendto(reply, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.tcp.accept()
                with s, contextlib.suppress(OSError, struct.error):
                    n, = struct.unpack("!H", s.recv(2))
                    reply = self.reply(s.recv(n))
                    if reply:
                        s.sendall(struct.pack("!H", len(reply)) + reply)

    def reply(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        qtype, = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        name = ".".join(labels).lower()
        self.asked.append((name, qtype))
        here = self.zone.get(name)
        if here == "SILENT":
            return None
        rcode, answers = 0, []
        if here is None:
            rcode = 0 if any(n.endswith("." + name) for n in self.zone) or not name else 3
        elif here == "SERVFAIL":
            rcode = 2
        else:
            for kind, values in here.items():
                if TYPES[kind] in (qtype, TYPES["CNAME"]):
                    answers += [(kind, v) for v in values]
        body = b""
        for kind, value in answers:
            if kind == "MX":
                data = struct.pack("!H", value[0]) + encode_name(value[1])
            elif kind == "A":
                data = socket.inet_aton(value)
            elif kind == "AAAA":
                data = socket.inet_pton(socket.AF_INET6, value)
            elif kind == "TXT":
                raw = value.encode()
                data = b"".join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255] for i in range(0, len(raw), 255))
            else:
                data = encode_name(value)
            body += b"\xc0\x0c" + struct.pack("!HHIH", TYPES[kind], 1, self.ttl, len(data)) + data
        soa = 0
        if not answers and rcode in (0, 3):  # says how long the denial holds (RFC 2308)
            data = b"\0\0" + struct.pack("!IIIII", 1, 1, 1, 1, self.ttl)
            body += b"\0" + struct.pack("!HHIH", 6, 1, self.ttl, len(data)) + data
            soa = 1
        return query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, len(answers), soa, 0) + question + body
