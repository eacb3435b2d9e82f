# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Extensions of IMAP that depend on doors and on more than one process: COMPRESS, NOTIFY, MULTIAPPEND."""
import zlib

from test_imap import Raw

MAIL = b"Subject: %s\r\n\r\ntext\r\n"


class Packed:
    """A session after COMPRESS (RFC 4978): lines in and out."""

    def __init__(self, raw):
        assert b" OK" in raw.command(b"COMPRESS DEFLATE")[-1]
        self.raw, self.left = raw, b""
        self.pack = zlib.compressobj(wbits=-15)
        self.unpack = zlib.decompressobj(wbits=-15)

    def send(self, octets):
        self.raw.send(self.pack.compress(octets) + self.pack.flush(zlib.Z_SYNC_FLUSH))

    def until(self, *words):
        """Lines up to one that holds all words."""
        got = []
        while True:
            while b"\r\n" not in self.left:
                octets = self.raw.reader.read1(65536)
                assert octets, got
                self.left += self.unpack.decompress(octets)
            line, self.left = self.left.split(b"\r\n", 1)
            got.append(line)
            if all(w in line for w in words):
                return got


def multiappend(raw, mailbox, *subjects):
    literals = b" ".join(b"{%d+}\r\n%s" % (len(MAIL % s), MAIL % s) for s in subjects)
    return raw.command(b"APPEND %s %s" % (mailbox, literals))[-1]


def test_packed_session_is_notified(pabal):
    first = Raw(pabal, "imaps", "test1")
    packed = Packed(first)
    packed.send(b"a CREATE other\r\nb NOTIFY SET STATUS (SUBTREE other (MessageNew MessageExpunge)) "
                b"(PERSONAL (MailboxName))\r\nc SELECT INBOX\r\n")
    assert any(b"STATUS other (MESSAGES 0" in line for line in packed.until(b"b OK"))
    packed.until(b"c OK")
    second = Raw(pabal, "imaps", "test1")
    assert b"APPENDUID" in multiappend(second, b"other", b"one", b"two", b"three")
    packed.until(b"* STATUS other", b"MESSAGES 3")
    second.command(b"RENAME other another")
    packed.until(b"* LIST", b"another", b"OLDNAME")
    packed.send(b"d NOTIFY NONE\r\ne SELECT another\r\nf UID SORT (REVERSE SUBJECT) UTF-8 ALL\r\n"
                b"g UID THREAD REFERENCES UTF-8 ALL\r\nh UID FETCH 1:* (PREVIEW)\r\ni LOGOUT\r\n")
    assert b"* SORT 2 3 1" in packed.until(b"f OK")
    assert any(line.startswith(b"* THREAD (") for line in packed.until(b"g OK"))
    assert sum(b'PREVIEW "text"' in line for line in packed.until(b"h OK")) == 3
    packed.until(b"i OK")
    second.close()
    first.close()


def test_delivery_is_notified(pabal):
    """What another process puts there (queue) is told by NOTIFY."""
    raw = Raw(pabal, "imaps", "test2")
    raw.command(b"CREATE other")
    assert b"OK" in raw.command(b"NOTIFY SET (INBOXES (MessageNew MessageExpunge))")[-1]
    pabal.send(to="test2")
    line = raw.line()
    assert line.startswith(b"* STATUS INBOX (MESSAGES 1 "), line
    raw.close()
