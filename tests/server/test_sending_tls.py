# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Who the other server is: DANE (RFC 7672) with a signed zone, MTA-STS (RFC 8461) with a policy server."""
import contextlib
import hashlib
import pathlib
import socket
import ssl
import sys
import threading

import pytest

from conftest import wait_until
from sending_peers import Dns, Sink, certificate
from test_sending import RELAY, submit, waiting

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sender_auth"))
import signed  # noqa: E402


def public_key_digest(path):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    cert = x509.load_pem_x509_certificate(path.read_bytes())
    return hashlib.sha256(cert.public_key().public_bytes(serialization.Encoding.DER,
                                                         serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sinks_at_25(stack, context, *addresses):
    try:
        for address in addresses:
            stack.append(Sink(address=address, port=25, tls=context))
    except OSError:
        pytest.skip("port 25 of loopback addresses cannot be had")
    return stack


@pytest.fixture
def stack():
    sinks = []
    yield sinks
    for s in sinks:
        s.__exit__()


def test_dane(make_pabal, tmp_path, stack):
    """A certificate of nobody's, but the TLSA record is its key's; one that is not; no records; no proof of them."""
    context = certificate(tmp_path, "whatever.example")
    good = public_key_digest(tmp_path / "sink.pem")
    right, wrong, none, unproven = sinks_at_25(stack, context, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
    zone = {"sec.example": [], "other.example": [["MX", [10, "mx.other.example"]]],
            "mx.other.example": [["A", "127.0.0.5"]], "_25._tcp.mx.other.example": [["TLSA", "3 1 1 " + "11" * 32]]}
    for name, address, record in (("right", "127.0.0.2", "3 1 1 " + good), ("wrong", "127.0.0.3", "3 1 1 " + "22" * 32),
                                  ("none", "127.0.0.4", None)):
        zone[name + ".sec.example"] = [["MX", [10, "mx." + name + ".sec.example"]]]
        zone["mx." + name + ".sec.example"] = [["A", address]]
        if record:
            zone["_25._tcp.mx." + name + ".sec.example"] = [["TLSA", record]]
    with signed.SignedServer(zone, "sec.example") as dns:
        (tmp_path / "anchor").write_text(dns.anchor())
        p = make_pabal(settings=RELAY.replace("yes }", "yes  tls = dane }") +
                       'dns { servers = {"127.0.0.1:%d"}  trust_anchor_file = "%s" }\n'
                       % (dns.port, tmp_path / "anchor"))
        submit(p, ["a@right.sec.example", "a@wrong.sec.example", "a@other.example"])
        assert right.wait(1)[0].tls
        p.wait_log("queue.relayed", "right.sec.example", " dane")
        assert unproven.wait(1)[0].tls  # the record says otherwise, but nobody vouches for it
        wait_until(lambda: [r["recipient"] for r in waiting(p)] == ["a@wrong.sec.example"], 30, "not deferred", 0.1)
        assert wrong.messages == [] and "TLS" in waiting(p)[0]["reason"]
        # There the denial has no proof either: the host is not used (RFC 7672 2.1.1), and nothing bounces.
        submit(p, "a@none.sec.example", subject="n")
        wait_until(lambda: any(r["recipient"] == "a@none.sec.example" and r["attempts"] for r in waiting(p)), 40,
                   "not deferred", 0.1)
        assert none.messages == []


def authority(directory, *names):
    """A root of our own, and a context with a certificate by it."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    begin, end = datetime.datetime(2020, 1, 1), datetime.datetime(2074, 1, 1)

    def make(subject, key, issuer, issuer_key, extension):
        return (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
                .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(begin).not_valid_after(end).add_extension(extension, True)
                .sign(issuer_key, hashes.SHA256()))
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = make("root", root_key, "root", root_key, x509.BasicConstraints(True, None))
    leaf = make("leaf", key, "root", root_key, x509.SubjectAlternativeName([x509.DNSName(n) for n in names]))
    pem = serialization.Encoding.PEM
    (directory / "root.pem").write_bytes(root.public_bytes(pem))
    (directory / "leaf.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf.pem")
    return context


class Policies(threading.Thread):
    """An HTTPS server on 127.0.0.6:443 that says the same to everybody; asked: request lines."""

    def __init__(self, context, text):
        super().__init__(daemon=True)
        self.context, self.text, self.asked = context, text, []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind(("127.0.0.6", 443))
        except OSError:
            pytest.skip("port 443 of loopback addresses cannot be had")
        self.listener.listen(8)
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                with contextlib.suppress(OSError):
                    s = self.context.wrap_socket(s, server_side=True)
                    self.asked.append(s.recv(4096).split(b"\r\n")[0].decode())
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
                              % (len(self.text), self.text.encode()))
                    s.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_mta_sts(make_pabal, tmp_path, stack):
    """Enforced: a host that the policy does not name is not used, a certificate must be valid; and the policy
    outlives a restart without its server."""
    context = authority(tmp_path, "mx.sts.example", "mta-sts.sts.example", "mta-sts.bad.example")
    good, bad, strange = sinks_at_25(stack, context, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    zone = {"sts.example": {"MX": [(5, "strange.example"), (10, "mx.sts.example")]},
            "_mta-sts.sts.example": {"TXT": ["v=STSv1; id=1;"]}, "mta-sts.sts.example": {"A": ["127.0.0.6"]},
            "bad.example": {"MX": [(10, "mx.bad.example")]}, "mx.bad.example": {"A": ["127.0.0.3"]},
            "_mta-sts.bad.example": {"TXT": ["v=STSv1; id=1;"]}, "mta-sts.bad.example": {"A": ["127.0.0.6"]},
            "mx.sts.example": {"A": ["127.0.0.2"]}, "strange.example": {"A": ["127.0.0.4"]}}
    policies = Policies(context, "version: STSv1\r\nmode: enforce\r\nmx: mx.sts.example\r\nmx: *.bad.example\r\n"
                        "max_age: 86400\r\n")
    try:
        with Dns(zone) as dns:
            p = make_pabal(settings=RELAY.replace("yes }", 'yes  ca_file = "%s" }' % (tmp_path / "root.pem")) +
                           'dns { servers = {"127.0.0.1:%d"} }\n' % dns.port)
            submit(p, ["a@sts.example", "a@bad.example"])
            assert good.wait(1)[0].tls
            p.wait_log("queue.relayed", "a@sts.example", " verified")
            wait_until(lambda: [r["recipient"] for r in waiting(p) if r["attempts"]] == ["a@bad.example"], 30,
                       "not deferred", 0.1)
            assert bad.messages == [] and strange.connections == 0 and "TLS" in waiting(p)[0]["reason"]
            assert policies.asked == ["GET /.well-known/mta-sts.txt HTTP/1.0"] * 2
            policies.close()
            p.restart()
            good.tls = None  # somebody takes STARTTLS away
            submit(p, "b@sts.example", subject="b")
            wait_until(lambda: any(r["recipient"] == "b@sts.example" and "TLS" in r["reason"] for r in waiting(p)), 30,
                       "not deferred", 0.1)
            assert len(good.messages) == 1
    finally:
        with contextlib.suppress(OSError):
            policies.close()
