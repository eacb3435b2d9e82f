# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""A zone signed with DNSSEC (RFC 4034, ECDSA P-256) as it is asked for; for answers, not denials."""
import hashlib
import struct
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from dnsserver import TYPES, DnsServer, encode_data, encode_name

ALGORITHM, TTL, OPT, RRSIG, DNSKEY = 13, 60, 41, 46, 48


class SignedServer(DnsServer):
    def __init__(self, zone, apex, forged=()):
        """forged: names whose addresses are changed after they were signed."""
        super().__init__(zone)
        self.apex = apex
        self.forged = forged
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.dnskey = struct.pack('!HBB', 257, 3, ALGORITHM) + numbers.x.to_bytes(32, 'big') + \
            numbers.y.to_bytes(32, 'big')
        total = sum(octet << 8 if i % 2 == 0 else octet for i, octet in enumerate(self.dnskey))
        self.tag = (total + (total >> 16)) & 0xffff  # RFC 4034 appendix B

    def anchor(self):
        digest = hashlib.sha256(encode_name(self.apex) + self.dnskey).hexdigest()
        return f'{self.apex}. IN DS {self.tag} {ALGORITHM} 2 {digest}\n'

    def signature(self, name, kind, datas):
        now = int(time.time())
        head = struct.pack('!HBBIIIH', kind, ALGORITHM, len(name.split('.')), TTL, now + 3600, now - 3600,
                           self.tag) + encode_name(self.apex)
        records = b''.join(encode_name(name) + struct.pack('!HHIH', kind, 1, TTL, len(d)) + d for d in sorted(datas))
        r, s = decode_dss_signature(self.key.sign(head + records, ec.ECDSA(hashes.SHA256())))
        return head + r.to_bytes(32, 'big') + s.to_bytes(32, 'big')

    def answer(self, query, limit):
        at = 12
        while query[at]:
            at += 1 + query[at]
        question, kind = query[12:at + 5], struct.unpack('!H', query[at + 1:at + 3])[0]
        name = self.name_of(query)
        if kind == DNSKEY and name == self.apex:
            datas = [self.dnskey]
        else:
            datas = [encode_data(*r) for r in self.zone.get(name, []) if TYPES.get(r[0]) == kind]
        records = [(kind, d) for d in datas]
        if records:
            records.append((RRSIG, self.signature(name, kind, datas)))
        if name in self.forged:
            records = [(k, bytes([d[0] ^ 1]) + d[1:] if k == kind else d) for k, d in records]
        body = b''.join(encode_name(name) + struct.pack('!HHIH', k, 1, TTL, len(d)) + d for k, d in records)
        opt = b'\0' + struct.pack('!HHIH', OPT, 1232, 0x8000, 0)
        code = 0 if name in self.zone or name == self.apex else 3
        return query[:2] + struct.pack('!HHHHH', 0x8180 | code, 1, len(records), 0, 1) + question + body + opt

    @staticmethod
    def name_of(query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode('latin-1').lower())
            at += 1 + query[at]
        return '.'.join(labels)
