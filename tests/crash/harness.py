#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Kills a server under load and looks whether it kept its word.

    tests/crash/harness.py --minutes 10 --seed 1            roles killed at random, and all of it
    tests/crash/harness.py --minutes 10 --power             power lost too (root; ext4 in a file)
    tests/crash/harness.py --steps queue --minutes 10       killed at each durable step of a role in
                                                            turn (a build with -Dfaults=true)

Clients in threads send by SMTP, APPEND, COPY, MOVE, STORE, EXPUNGE and delete by POP3, and note in a
ledger what they were told. After each round the server is let come to rest, then everything is
read: each message that was acknowledged is exactly once where it belongs, nothing that was removed
is back, no UID has two contents, every index equals its directory and, now and then, a rebuild.
The last line tells the counts; the exit status is 1 if anything was wrong. PABAL names the program.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "server"))

from clients import Imap, Lost, Pop3, Refused, Smtp, make_message, token_of  # noqa: E402
from conftest import Pabal, alive, wait_until  # noqa: E402
from ledger import Ledger, moved, with_copy, without_copy  # noqa: E402
import disk  # noqa: E402

USERS = ("u1", "u2", "u3")
POP_USERS = ("u3",)  # whose INBOX is read by POP3 as well
MAILBOXES = ("INBOX", "Box1", "Box2")
BUSY = 120  # messages in a mailbox, from where workers remove more than they add
REST_S = 90
# Small segments, so that they are filled and recycled all the time; no limit that a load test meets.
SETTINGS = """
journal { segment_size = 1M  segments = 6  side_file_size = 48k  checkpoint = 500ms }
process { smtp = 2  mailbox = 2 }
smtp { rate_connections = 0  rate_messages = 0  rate_recipients = 0  max_connections_per_source = 1000
       reserve_disk = 1M }
auth { plaintext_networks = 127.0.0.0/8  lockout_failures = 0 }
queue { retry_min = 1s }
"""


class Instance:
    """A server and the ledger of what it promised."""

    def __init__(self, seed=0, power=None, settings="", users=USERS, **options):
        self.rng = random.Random(seed)
        self.users = users
        self.pabal = Pabal(accounts=users, aliases=(), settings=SETTINGS + settings,
                           parent=power.path if power else None, start=False, **options)
        if power:
            power.sync()
        self.pabal.expected_crashes = True
        # A process that ends because its master was killed does not tidy up.
        self.pabal.env["ASAN_OPTIONS"] = self.pabal.env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.pabal.start()
        self.ledger = Ledger()
        self.passwords = self.pabal.accounts
        self.token_lock = threading.Lock()
        self.tokens = 0
        self.kills = 0
        self.rounds = 0

    def remove(self):
        if self.pabal.process is not None:
            self.pabal.kill_all()
        self.pabal.remove()

    # ---- clients

    def token(self):
        with self.token_lock:
            self.tokens += 1
            return "t%06d" % self.tokens

    def message(self, rng, size=None):
        token = self.token()
        content = make_message(token, rng, size)
        self.ledger.new_message(token, content)
        return token, content

    def address(self, user):
        return self.pabal.address(user)

    def imap(self, user, tls=False):
        return Imap(self.pabal.host, self.pabal.port("imaps" if tls else "imap"), self.address(user),
                    self.passwords[self.address(user)], tls=tls)

    def pop3(self, user):
        return Pop3(self.pabal.host, self.pabal.port("pop3"), self.address(user), self.passwords[self.address(user)])

    def smtp(self, source=None):
        return Smtp(self.pabal.host, self.pabal.port("smtp"), source=source)

    def make_mailboxes(self):
        for user in self.users:
            with self.imap(user) as m:
                for name in MAILBOXES[1:]:
                    m.command(b"CREATE " + name.encode())

    # ---- operations, each noted

    def send(self, client, rng, users, size=None):
        """One message; its token when it was taken."""
        token, content = self.message(rng, size)
        taken = client.begin("sender@example.net", [self.address(u) for u in users])
        if not taken:
            return None
        try:
            client.content(content)
        except Lost:
            for a in taken:
                self.ledger.happened(a, token, with_copy("INBOX"), False)
            raise
        for a in taken:
            self.ledger.happened(a, token, with_copy("INBOX"), True)
        return token

    def append(self, client, rng, user, mailbox, flags="", size=None):
        token, content = self.message(rng, size)
        account = self.address(user)
        try:
            uidvalidity, uid = client.append(mailbox, content, flags)
        except (Lost, Refused):
            self.ledger.happened(account, token, with_copy(mailbox), False)
            raise
        self.ledger.happened(account, token, with_copy(mailbox), True)
        self.ledger.saw_uid(account, mailbox, uidvalidity, uid, token)
        self.ledger.has_flags(account, mailbox, uidvalidity, uid, flags.split())
        return token, uidvalidity, uid

    def transfer(self, client, user, verb, token, uid, source, target, uidvalidity):
        """The message must be claimed; verb b"MOVE" or b"COPY"."""
        account = self.address(user)
        change = moved(source, target) if verb == b"MOVE" else with_copy(target)
        try:
            made = client.transfer(verb, uid, target)
        except (Lost, Refused):
            self.ledger.happened(account, token, change, False)
            raise
        if not made:
            self.ledger.problem("%s %s: UID %d (%s) was there and cannot be %s" % (account, source, uid, token, verb))
            return None
        self.ledger.happened(account, token, change, True)
        self.ledger.saw_uid(account, target, *made, token)
        kept = self.ledger.flags.get((account, source, uidvalidity, uid))
        if kept:
            self.ledger.has_flags(account, target, *made, kept)
        return made

    def expunge(self, client, user, token, uid, mailbox):
        account = self.address(user)
        try:
            client.command(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
            client.command(b"UID EXPUNGE %d" % uid)
        except (Lost, Refused):
            self.ledger.happened(account, token, without_copy(mailbox), False)
            raise
        self.ledger.happened(account, token, without_copy(mailbox), True)

    def store(self, client, user, mailbox, uidvalidity, uid, flag):
        client.command(b"UID STORE %d +FLAGS.SILENT (%s)" % (uid, flag.encode()))
        self.ledger.has_flags(self.address(user), mailbox, uidvalidity, uid, [flag])

    def pop_delete(self, client, user, tokens):
        """tokens: {message number: token}, all claimed."""
        account = self.address(user)
        try:
            for n in tokens:
                client.ask("DELE %d" % n)
            client.ask("QUIT")
        except (Lost, Refused):
            for token in tokens.values():
                self.ledger.happened(account, token, without_copy("INBOX"), False)
            raise
        for token in tokens.values():
            self.ledger.happened(account, token, without_copy("INBOX"), True)

    # ---- rest and check

    def unsettled(self):
        """Why the server is not at rest; None when it is."""
        done = self.pabal.cli("status", "--json", check=False)
        if done.returncode != 0:
            return "no status: " + done.stderr.strip()
        status = json.loads(done.stdout)
        for r in status["roles"]:
            d = r.get("detail") or {}
            if r["state"] != "ready" or not d:
                return "%s is %s" % (r["name"], r["state"])
            if r["role"] == "queue" and (d["waiting"] or d["deferred"]):
                return "queue: %d waiting, %d deferred" % (d["waiting"], d["deferred"])
            if "journal_watermark" in d and d["journal_watermark"] <= d["journal_committed"]:
                return "%s: %d is committed, all below %d settled" % (r["name"], d["journal_committed"],
                                                                       d["journal_watermark"])
        return None

    def come_to_rest(self, seconds=REST_S):
        why = ["?"]

        def at_rest():
            why[0] = self.unsettled()
            return why[0] is None
        try:
            wait_until(at_rest, seconds, "", 0.1)
        except AssertionError:
            self.ledger.problem("not at rest after %d s: %s" % (seconds, why[0]))

    def read_account(self, user, flags=True):
        """{mailbox: [(uid, token, flags)]}; contents and UIDs are checked on the way."""
        account, found = self.address(user), {}
        with self.imap(user) as m:
            for mailbox in MAILBOXES:
                try:
                    uidvalidity, uidnext, modseq = m.select(mailbox)
                except Refused:
                    continue  # none was made
                found[mailbox] = []
                last = 0
                for uid, names, content in m.messages(b"BODY.PEEK[]"):
                    token = token_of(content)
                    if not last < uid < uidnext:
                        self.ledger.problem("%s %s: UID %d after %d, UIDNEXT %d" % (account, mailbox, uid, last, uidnext))
                    last = uid
                    if token not in self.ledger.sent:
                        self.ledger.problem("%s %s: UID %d is nothing that was sent: %r" % (
                            account, mailbox, uid, content[:60]))
                        continue
                    if not self.ledger.good_content(token, content):
                        self.ledger.problem("%s %s: UID %d (%s) has other content" % (account, mailbox, uid, token))
                    self.ledger.saw_uid(account, mailbox, uidvalidity, uid, token)
                    found[mailbox].append((uid, token, names))
                self.ledger.saw_mailbox(account, mailbox, uidvalidity, uidnext, modseq)
                if flags:
                    self.ledger.check_flags(account, mailbox, uidvalidity, found[mailbox])
        return found

    def check_index(self, user):
        done = self.pabal.cli("mailbox", "check", self.address(user), "--json", check=False)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            self.ledger.problem("mailbox check %s: %s" % (user, done.stderr.strip()))
            return
        if answer["differences"]:
            self.ledger.problem("%s: the index differs: %s" % (user, answer["report"]))

    def check_rebuild(self, user):
        before = self.read_account(user)
        self.pabal.cli("mailbox", "reindex", self.address(user))
        if self.read_account(user) != before:
            self.ledger.problem("%s: a rebuilt index shows something else" % user)

    def orphans(self):
        """Files that nothing needs at rest."""
        data = self.pabal.demo / "data"
        names = [p for p in (data / "journal").glob("*/side-*")]
        names += [p for part in ("tmp", "done", "deferred") for p in (data / "spool" / part).iterdir()]
        names += [p for p in (data / "journal").glob("*/damaged-*")]
        return [str(p.relative_to(data)) for p in names]

    def tmp_files(self):
        return len(list((self.pabal.demo / "data" / "mail").glob("**/tmp/*")))

    def check(self, flags=True, rebuild=False):
        """The whole server, at rest."""
        self.come_to_rest()
        for user in self.users:
            try:
                self.ledger.check_account(self.address(user), self.read_account(user, flags))
                self.check_index(user)
                if rebuild:
                    self.check_rebuild(user)
            except (Lost, Refused) as e:
                self.ledger.problem("%s cannot be read: %s" % (user, e))
        left = self.orphans()
        if left:
            self.ledger.problem("left over: %s" % left)
        output = self.pabal.text("output") + self.pabal.log()
        for sign in ("AddressSanitizer", "runtime error:", "Assertion", "role.crashed"):
            if sign in output:
                where = output.index(sign)
                self.ledger.problem(output[max(0, where - 200):where + 3000])
        return not self.ledger.problems

    def must_be_good(self, **options):
        self.check(**options)
        assert not self.ledger.problems, "\n".join(self.ledger.problems[:20])


# ---- load ------------------------------------------------------------------------------------


class Load:
    """Clients in threads; each comes back when it is thrown out."""

    def __init__(self, instance, seed, senders=2):
        self.i = instance
        self.stop = threading.Event()
        self.failures = []
        jobs = [(self.sender, None)] * senders
        jobs += [(self.reader, u) for u in instance.users]
        jobs += [(self.reader, instance.users[0])]
        jobs += [(self.pop_reader, u) for u in POP_USERS if u in instance.users]
        self.threads = [threading.Thread(target=self.run, args=(job, user, "%s-%d" % (seed, n)), daemon=True)
                        for n, (job, user) in enumerate(jobs)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(60)
        stuck = sum(t.is_alive() for t in self.threads)
        if stuck:
            self.i.ledger.problem("%d clients hang" % stuck)
        for f in self.failures:
            self.i.ledger.problem(f)

    def run(self, job, user, seed):
        rng = random.Random(seed)
        while not self.stop.is_set():
            try:
                job(rng, user)
            except Lost:
                self.i.ledger.counts["lost"] += 1
                self.stop.wait(0.05)
            except Refused:
                self.i.ledger.counts["refused"] += 1
                self.stop.wait(0.05)
            except Exception as e:  # a client must not die unseen
                self.failures.append("%s: %r" % (job.__name__, e))
                return

    def sender(self, rng, _):
        with self.i.smtp(source="127.0.0.%d" % rng.randrange(1, 9)) as client:
            for _ in range(rng.randrange(1, 12)):
                if self.stop.is_set():
                    return
                users = rng.sample(self.i.users, rng.choice((1, 1, 1, 2, len(self.i.users))))
                self.i.send(client, rng, users)
                self.stop.wait(rng.random() * 0.02)

    def reader(self, rng, user):
        i, account = self.i, self.i.address(user)
        with i.imap(user, tls=rng.random() < 0.2) as m:
            for _ in range(rng.randrange(1, 6)):
                mailbox = rng.choice(MAILBOXES)
                seen_at = i.ledger.now()
                uidvalidity, _, _ = m.select(mailbox)
                rows = [(uid, flags, token_of(head)) for uid, flags, head in m.messages()]
                for uid, _, token in rows:
                    i.ledger.saw_uid(account, mailbox, uidvalidity, uid, token)
                for _ in range(rng.randrange(1, 8)):
                    if self.stop.is_set():
                        return
                    self.operation(m, rng, user, mailbox, uidvalidity, rows, seen_at)

    def operation(self, m, rng, user, mailbox, uidvalidity, rows, seen_at):
        i, account = self.i, self.i.address(user)
        what = rng.choices(("append", "move", "copy", "store", "expunge"), (5, 6, 2, 4, 5 if len(rows) < BUSY else 40))[0]
        target = rng.choice([b for b in MAILBOXES if b != mailbox])
        if what == "append":
            size = (1 << 20) + 5000 if rng.random() < 0.01 else None
            i.append(m, rng, user, target, rng.choice(("", "\\Seen", "\\Flagged $Crash")), size)
            return
        # The youngest most of all: they are not settled.
        some = rows[-3:] if rng.random() < 0.6 else rows
        if not some:
            return
        uid, _, token = rng.choice(some)
        if not i.ledger.claim(account, mailbox, token, seen_at):
            return
        try:
            if what == "store":
                i.store(m, user, mailbox, uidvalidity, uid, rng.choice(("\\Seen", "\\Answered", "\\Flagged", "$Crash")))
            elif what == "expunge":
                i.expunge(m, user, token, uid, mailbox)
            else:
                i.transfer(m, user, what.upper().encode(), token, uid, mailbox, target, uidvalidity)
        finally:
            i.ledger.release(account, token)
        if what in ("expunge", "move"):
            rows[:] = [r for r in rows if r[0] != uid]

    def pop_reader(self, rng, user):
        i, account = self.i, self.i.address(user)
        seen_at = i.ledger.now()
        claimed = {}
        with i.pop3(user) as p:
            numbers = list(p.uids())
            for n in rng.sample(numbers, min(len(numbers), 6)):
                token = token_of(b"\r\n".join(p.lines("TOP %d 0" % n)))
                if token and i.ledger.claim(account, "INBOX", token, seen_at):
                    claimed[n] = token
            try:
                i.pop_delete(p, user, claimed)
            finally:
                for token in claimed.values():
                    i.ledger.release(account, token)
        self.stop.wait(0.2)


# ---- kills -----------------------------------------------------------------------------------


class Killer:
    def __init__(self, instance, rng, power=None):
        self.i, self.rng, self.power = instance, rng, power
        self.counts = {"role": 0, "all": 0, "stop": 0, "power": 0}

    def pids(self):
        done = self.i.pabal.cli("status", "--json", check=False)
        if done.returncode != 0:
            return {}
        return {r["name"]: r["pid"] for r in json.loads(done.stdout)["roles"] if r["pid"]}

    def roles(self, seconds):
        """One role now and then; they come back by themselves."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pids = self.pids()
            time.sleep(self.rng.random() * 0.6)
            if not pids:
                continue
            names = sorted(pids)
            weights = [4 if n.startswith(("queue", "mailbox", "smtp")) else 1 for n in names]
            for name in set(self.rng.choices(names, weights, k=self.rng.choice((1, 1, 2)))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[name], signal.SIGKILL)
                    self.counts["role"] += 1

    def all(self):
        self.i.pabal.kill_all()
        self.counts["all"] += 1

    def stop(self):
        self.i.pabal.stop()
        self.counts["stop"] += 1

    def power_off(self):
        """The disk stops first: whatever was said after that was not durable, so nothing is said."""
        self.power.off()
        self.i.pabal.kill_all()
        self.power.on()
        disk.new_boot(self.i.pabal.demo)
        self.counts["power"] += 1


def one_round(i, rng, killer, power):
    """Load, kills, an end of some kind, a new start, the check. True: flags must have held."""
    flags = True
    with Load(i, rng.random()):
        time.sleep(0.3 + rng.random())
        if rng.random() < 0.7:
            killer.roles(rng.random() * 4)
        how = rng.choices(("nothing", "all", "stop", "power"), (3, 5, 1, 6 if power else 0))[0]
        if how == "all":
            killer.all()
        elif how == "stop":
            killer.stop()
        elif how == "power":
            killer.power_off()
            flags = False
            i.ledger.forget_flags()
        if i.pabal.process is None:
            i.pabal.start()
            time.sleep(rng.random())
    return flags


def random_run(options):
    rng = random.Random(options.seed)
    power = disk.PowerDisk() if options.power else None
    i = Instance(options.seed, power)
    end = time.monotonic() + options.minutes * 60
    killer = Killer(i, rng, power)
    try:
        i.make_mailboxes()
        while time.monotonic() < end and not i.ledger.problems:
            flags = one_round(i, rng, killer, power)
            i.check(flags=flags, rebuild=rng.random() < 0.2)
            i.rounds += 1
            if options.verbose:
                print("round %d: %s %s, %d tmp files" % (i.rounds, killer.counts, dict(i.ledger.counts), i.tmp_files()),
                      flush=True)
        return finish(i, options, "kills %(role)d of roles, %(all)d of all, %(stop)d stops, %(power)d power losses" %
                      killer.counts)
    finally:
        end_of(i, power, options)


# ---- each durable step -----------------------------------------------------------------------


def scenario(i, rng):
    """A little of everything, one after the other; ends early when the server does not answer."""
    user, other = i.users[0], i.users[1]
    with contextlib.suppress(Lost, Refused):
        with i.smtp() as s:
            i.send(s, rng, i.users)
            i.send(s, rng, [user], size=100000)
    with contextlib.suppress(Lost, Refused):
        with i.imap(user) as m:
            i.append(m, rng, user, "INBOX", "\\Seen")
            seen_at = i.ledger.now()
            uidvalidity, _, _ = m.select("INBOX")
            rows = [(uid, token_of(head)) for uid, _, head in m.messages()]
            acts = [b"MOVE", b"COPY", b"EXPUNGE", b"MOVE"]
            for uid, token in rows[-4:]:
                act = acts.pop(0)
                if not i.ledger.claim(i.address(user), "INBOX", token, seen_at):
                    continue
                try:
                    if act == b"EXPUNGE":
                        i.expunge(m, user, token, uid, "INBOX")
                    else:
                        i.transfer(m, user, act, token, uid, "INBOX", "Box1", uidvalidity)
                finally:
                    i.ledger.release(i.address(user), token)
    with contextlib.suppress(Lost, Refused):
        with i.smtp() as s:
            i.send(s, rng, [user, other])
    with contextlib.suppress(Lost, Refused):
        with i.imap(other) as m:
            i.append(m, rng, other, "Box2", size=(1 << 20) + 4096)


def wait_calm(i, role, seconds=20):
    """Until the server is at rest or the role was killed; True: killed."""
    def over():
        return i.pabal.log().count(" role.killed ") > 0 or i.unsettled() is None
    with contextlib.suppress(AssertionError):
        wait_until(over, seconds, "", 0.05)
    return " role.killed " in i.pabal.log()


def forget_log(i):
    log = i.pabal.demo / "log" / "pabal.log"
    if log.exists():
        log.unlink()


def step(i, rng, role, n, effect="kill"):
    """The role is killed before its n-th operation, then everything; False: it did not get that far."""
    forget_log(i)
    i.pabal.env["PABAL_FAULT"] = "%s:%d@@%s" % (effect, n, role)
    with contextlib.suppress(AssertionError):
        i.pabal.start()
    if i.pabal.ready is not None and i.pabal.process.poll() is None:
        scenario(i, rng)
    killed = wait_calm(i, role)
    i.pabal.kill_all()
    del i.pabal.env["PABAL_FAULT"]
    i.pabal.start()
    i.check()
    i.pabal.stop()
    return killed


def steps_run(options):
    rng = random.Random(options.seed)
    i = Instance(options.seed)
    end = time.monotonic() + options.minutes * 60
    i.make_mailboxes()
    i.pabal.stop()
    n, reached = options.first - 1, 0
    try:
        while time.monotonic() < end and not i.ledger.problems:
            n += options.stride if reached else 1
            if not step(i, rng, options.steps, n):
                break
            reached = n
            i.rounds += 1
            if options.verbose:
                print("step %d: %s" % (n, dict(i.ledger.counts)), flush=True)
        return finish(i, options, "%s killed at %d steps, up to its %dth" % (options.steps, i.rounds, reached))
    finally:
        end_of(i, None, options)


# ---- the end ---------------------------------------------------------------------------------


def finish(i, options, what):
    c = i.ledger.counts
    for p in i.ledger.problems[:50]:
        print("WRONG: " + p)
    print("%s: seed %d, %d rounds, %s; %d messages made, %d operations acknowledged, %d open, %d connections lost, "
          "%d answers of no, %d checked, %d tmp files; %d wrong" % (
              "FAILED" if i.ledger.problems else "good", options.seed, i.rounds, what, i.tokens, c["certain"], c["open"],
              c["lost"], c["refused"], c["checked"], i.tmp_files(), len(i.ledger.problems)), flush=True)
    return 1 if i.ledger.problems else 0


def end_of(i, power, options):
    if i.pabal.process is not None:
        i.pabal.kill_all()
    if i.ledger.problems and options.keep:
        print("kept: %s" % i.pabal.dir)
        return
    i.remove()
    if power:
        power.remove()


def main():
    parser = argparse.ArgumentParser(description="Kills a server under load, checks what it kept.")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--power", action="store_true", help="lose power too; needs root")
    parser.add_argument("--steps", metavar="ROLE", help="kill that role at each durable step in turn")
    parser.add_argument("--stride", type=int, default=1, help="with --steps: every so many")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="with --steps: begin with the N-th")
    parser.add_argument("--keep", action="store_true", help="keep the directory when something is wrong")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.power:
        why = disk.why_no_power_disk()
        if why:
            print("cannot lose power: " + why)
            return 2
    return steps_run(options) if options.steps else random_run(options)


if __name__ == "__main__":
    sys.exit(main())
