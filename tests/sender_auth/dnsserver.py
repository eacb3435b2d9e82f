# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""A name server on loopback for tests, UDP and TCP, from a table.

    with DnsServer({'example.com': [['TXT', 'v=spf1 -all'], ['MX', [10, 'mx.example.com']]]}) as dns:
        run('pabal', 'spf', 'check', '--dns', dns.address, ...)

Values as in the zones of the published suites: a TXT may be a list of strings; ["TIMEOUT"] is no
answer, ["SERVFAIL"] and ["NXDOMAIN"] are answers. A name above one that exists exists. Answers that
do not fit are truncated over UDP. With edns=False it is a server that does not know EDNS.
"""
import ipaddress
import socket
import struct
import threading

TYPES = {'A': 1, 'NS': 2, 'CNAME': 5, 'SOA': 6, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'SRV': 33,
         'TLSA': 52}
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def encode_name(name):
    out = b''
    for label in name.rstrip('.').split('.'):
        octets = label.encode('utf-8', 'surrogateescape')
        if octets:
            out += bytes([len(octets)]) + octets
    return out + b'\0'


def encode_data(kind, value):
    if kind == 'A':
        return ipaddress.IPv4Address(value).packed
    if kind == 'AAAA':
        return ipaddress.IPv6Address(value).packed
    if kind == 'MX':
        preference, host = value if isinstance(value, list) else value.split()
        return struct.pack('!H', int(preference)) + encode_name(host)
    if kind == 'TLSA':
        usage, selector, matching, data = value.split()
        return bytes([int(usage), int(selector), int(matching)]) + bytes.fromhex(data)
    if kind == 'TXT':
        out = b''
        for string in value if isinstance(value, list) else [value]:
            octets = string.encode('utf-8', 'surrogateescape')
            # what one string cannot hold goes into several, as zone tools do
            for at in range(0, max(len(octets), 1), 255):
                out += bytes([len(octets[at:at + 255])]) + octets[at:at + 255]
        return out or b'\0'
    return encode_name(value)


class DnsServer:
    def __init__(self, zone, ad=False, recursive=True, edns=True, bind=('127.0.0.1', 0)):
        self.zone = {name.rstrip('.').lower(): records for name, records in zone.items()}
        self.ad = ad
        self.recursive = recursive
        self.edns = edns
        self.questions = []
        self.stopping = False
        self.bind = bind

    def __enter__(self):
        for _ in range(50):
            self.tcp = socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.tcp.bind(self.bind)
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:  # the port may be another's for UDP
                self.udp.bind(self.tcp.getsockname())
                break
            except OSError:
                self.tcp.close()
                self.udp.close()
        self.tcp.listen()
        self.port = self.tcp.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.serve_udp, self.serve_tcp)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.udp.sendto(b'', ('127.0.0.1', self.port))
        for thread in self.threads:
            thread.join(5)
        self.tcp.close()
        self.udp.close()

    def serve_udp(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            if self.stopping:
                return
            answer = self.answer(query, 1232)
            if answer:
                self.udp.sendto(answer, peer)

    def serve_tcp(self):
        while True:
            try:
                peer, _ = self.tcp.accept()
            except OSError:
                return
            with peer:
                head = peer.recv(2, socket.MSG_WAITALL)
                if len(head) == 2:
                    answer = self.answer(peer.recv(struct.unpack('!H', head)[0], socket.MSG_WAITALL), 65535)
                    if answer:
                        peer.sendall(struct.pack('!H', len(answer)) + answer)

    def answer(self, query, limit):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode('utf-8', 'surrogateescape').lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = struct.unpack('!H', query[at + 1:at + 3])[0]
        name = '.'.join(labels)
        if not self.edns and query[10:12] != b'\0\0':  # a server older than RFC 2671
            return query[:2] + struct.pack('!HHHHH', 0x8101, 1, 0, 0, 0) + question
        self.questions.append((name, kind))
        found = self.look_up(name, kind)
        if found is None:
            return None
        code, records = found
        flags = 0x8100 | code | (0x80 if self.recursive else 0x400) | (0x20 if self.ad else 0)
        body = b''
        for owner, record_kind, value in records:
            data = encode_data(record_kind, value)
            body += encode_name(owner) + struct.pack('!HHIH', TYPES[record_kind], 1, 60, len(data)) + data
        if 12 + len(question) + len(body) > limit:
            flags, body, records = flags | 0x200, b'', []
        return query[:2] + struct.pack('!HHHHH', flags, 1, len(records), 0, 0) + question + body

    def look_up(self, name, kind):
        """(code, records), or None for no answer."""
        chain = []
        for _ in range(10):
            records = self.zone.get(name)
            if records is None:
                above = any(n.endswith('.' + name) for n in self.zone)
                return NOERROR if above else NXDOMAIN, chain
            wanted = [r for r in records if TYPES.get(r[0]) == kind]
            if wanted:
                return NOERROR, chain + [(name, *r) for r in wanted]
            words = {r[0] for r in records}
            if 'TIMEOUT' in words:
                return None
            if 'SERVFAIL' in words:
                return SERVFAIL, []
            if 'NXDOMAIN' in words:
                return NXDOMAIN, chain
            alias = [r for r in records if r[0] == 'CNAME']
            if not alias:
                return NOERROR, chain
            chain.append((name, 'CNAME', alias[0][1]))
            name = alias[0][1].rstrip('.').lower()
        return SERVFAIL, []
