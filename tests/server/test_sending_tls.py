# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Who the other server is: DANE (RFC 7672) with a signed zone, MTA-STS (RFC 8461) with a policy server."""
import hashlib
import pathlib
import ssl
import sys

import pytest

from conftest import wait_until
from sending_peers import Sink, certificate
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
