# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""What clients were told, and what may therefore be in the mailboxes.

For each account and message the ledger holds the possible worlds: in which mailboxes its copies can
be (a sorted tuple of names). An operation that was answered OK leads from each world to the next; one
without an answer leaves both possible. A check finds one world: it must be among the possible ones.
UIDs are held too: one of them never has two contents, whatever happens.
"""
import collections
import hashlib
import threading


def with_copy(mailbox):
    return lambda world: tuple(sorted(world + (mailbox,)))


def without_copy(mailbox):
    def change(world):
        if mailbox not in world:
            return None  # it cannot have been so
        left = list(world)
        left.remove(mailbox)
        return tuple(left)
    return change


def moved(source, target):
    def change(world):
        rest = without_copy(source)(world)
        return None if rest is None else with_copy(target)(rest)
    return change


class Ledger:
    def __init__(self):
        self.lock = threading.RLock()
        self.sent = {}  # token: (length, hash)
        self.worlds = {}  # (account, token): set of worlds
        self.changed = collections.Counter()  # (account, token): stamp of the last operation on it
        self.stamp = 0
        self.claimed = set()
        self.uids = {}  # (account, mailbox, uidvalidity, uid): token
        self.flags = {}  # the same: flags that must be there
        self.uidvalidity = {}  # (account, mailbox)
        self.uidnext = {}
        self.modseq = {}
        self.counts = collections.Counter()
        self.problems = []

    # ---- what happened

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    def new_message(self, token, content):
        with self.lock:
            self.sent[token] = (len(content), hashlib.sha256(content).digest())

    def happened(self, account, token, change, certain):
        """change: world -> world, or None where it is impossible."""
        key = (account, token)
        with self.lock:
            before = self.worlds.get(key, {()})
            after = {w for w in map(change, before) if w is not None}
            if certain and not after:
                self.problem("%s %s: what was answered OK is impossible after %s" % (account, token, before))
            self.worlds[key] = after if certain and after else before | after
            self.stamp += 1
            self.changed[key] = self.stamp
            self.counts["certain" if certain else "open"] += 1

    def saw_uid(self, account, mailbox, uidvalidity, uid, token):
        with self.lock:
            known = self.uids.setdefault((account, mailbox, uidvalidity, uid), token)
            if known != token:
                self.problem("%s %s: UID %d was %s and is now %s" % (account, mailbox, uid, known, token))

    def saw_mailbox(self, account, mailbox, uidvalidity, uidnext, modseq):
        """At rest, or from one session: none of the three falls back."""
        key = (account, mailbox)
        with self.lock:
            if self.uidvalidity.setdefault(key, uidvalidity) != uidvalidity:
                self.problem("%s %s: UIDVALIDITY %d was %d" % (*key, uidvalidity, self.uidvalidity[key]))
            for name, value, now in (("UIDNEXT", self.uidnext, uidnext), ("HIGHESTMODSEQ", self.modseq, modseq)):
                if now is None:
                    continue
                if now < value.get(key, 0):
                    self.problem("%s %s: %s fell from %d to %d" % (*key, name, value[key], now))
                value[key] = now

    def has_flags(self, account, mailbox, uidvalidity, uid, flags):
        with self.lock:
            self.flags.setdefault((account, mailbox, uidvalidity, uid), set()).update(flags)

    def forget_flags(self):
        with self.lock:
            self.flags.clear()

    # ---- choosing what to work on

    def now(self):
        with self.lock:
            return self.stamp

    def claim(self, account, mailbox, token, seen_at):
        """True: the caller alone works on it, and it is surely where the caller saw it."""
        key = (account, token)
        with self.lock:
            worlds = self.worlds.get(key, set())
            if key in self.claimed or len(worlds) != 1 or self.changed[key] > seen_at:
                return False
            if mailbox not in next(iter(worlds)):
                return False
            self.claimed.add(key)
            return True

    def release(self, account, token):
        with self.lock:
            self.claimed.discard((account, token))

    # ---- checking

    def good_content(self, token, content):
        length, digest = self.sent[token]
        return len(content) >= length and hashlib.sha256(content[len(content) - length:]).digest() == digest

    def check_account(self, account, found):
        """found: {mailbox: [(uid, token, flags)]}, at rest. What was open is decided by it."""
        with self.lock:
            have = collections.defaultdict(list)
            for mailbox, messages in found.items():
                for _, token, _ in messages:
                    have[token].append(mailbox)
            for token in have:
                if (account, token) not in self.worlds:
                    self.problem("%s: %s in %s was never sent" % (account, token, have[token]))
            for (owner, token), worlds in self.worlds.items():
                if owner != account:
                    continue
                world = tuple(sorted(have.get(token, [])))
                if world not in worlds:
                    self.problem("%s: %s is in %s and should be in %s" % (
                        account, token, list(world) or "no mailbox",
                        " or ".join(str(list(w) or "no mailbox") for w in sorted(worlds))))
                self.worlds[(owner, token)] = {world}
                self.counts["checked"] += 1

    def check_flags(self, account, mailbox, uidvalidity, messages):
        with self.lock:
            for uid, token, flags in messages:
                wanted = self.flags.get((account, mailbox, uidvalidity, uid), set())
                if not wanted <= flags:
                    self.problem("%s %s: UID %d (%s) lost the flags %s" % (account, mailbox, uid, token, wanted - flags))
