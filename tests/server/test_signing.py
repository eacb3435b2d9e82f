# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Outgoing mail is signed in keys, verified here by others: python3-dkim and opendkim-testmsg."""
import email
import json
import subprocess

import dkim
import pytest

from conftest import DOMAIN, PROGRAM, wait_until
from sending_peers import Dns, Sink

PASSPHRASE = "test.com_as#SDFGeDqqfdsa@234sadf@!safdSA#"  # R127
QUICK = 'relay { enabled = yes }\nqueue { retry_min = 1s }\ndkim { check_interval = 200ms }\n'


def submit(p, rcpt="one@away.example", user="test1", sender=None, head="", body="hello\r\n", **login):
    sender = sender or p.address(user)
    with p.smtp("submission", user, **login) as s:
        s.sendmail(sender, [rcpt], "From: T <%s>\r\nTo: %s\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 22:00:00 +0900\r\n"
                   "Message-ID: <1@x>\r\n%s\r\n%s" % (sender, rcpt, head, body))


def keys_of(p, *args):
    return json.loads(p.cli("dkim", "list", *args, "--json").stdout)


def state_of(p, selector):
    return {k["selector"]: k["state"] for k in keys_of(p)}.get(selector)


def wait_state(p, selector, state):
    wait_until(lambda: state_of(p, selector) == state, 20, "%s does not become %s" % (selector, state), 0.1)


def publish(dns, records):
    for r in records:
        dns.zone[r["name"]] = {"TXT": [r["value"]]}


def records_of(p, *args):
    """The JSON objects that a verb prints, one per key."""
    text, found = p.cli("dkim", *args, "--json").stdout, []
    while text.strip():
        value, end = json.JSONDecoder().raw_decode(text.lstrip())
        found.append(value)
        text = text.lstrip()[end:]
    return found


def tags(field):
    return {k.strip(): "".join(v.split()) for k, v in (t.split("=", 1) for t in field.split(";") if "=" in t)}


def signatures(content):
    return [tags(v) for v in email.message_from_bytes(content).get_all("DKIM-Signature", [])]


def verify(dns, content, index=0):
    def txt(name, timeout=5):
        here = dns.zone.get(name.decode().rstrip("."))
        return here["TXT"][0].encode() if here else None
    try:
        return dkim.DKIM(content).verify(idx=index, dnsfunc=txt)
    except dkim.ValidationError:
        return False


@pytest.fixture
def world(make_pabal):
    """A server that sends everything to a sink, and a name server that it asks."""
    with Sink() as sink, Dns({}, ttl=0) as dns:
        def start(settings="", **options):
            p = make_pabal(settings=QUICK + 'routes = {"* [127.0.0.1]:%d"}\ndns { servers = {"127.0.0.1:%d"} }\n%s'
                           % (sink.port, dns.port, settings), **options)
            return p, sink, dns
        yield start


def test_signed_with_both_keys_once_the_dns_has_them(world):
    """R129, R130, R133; unsigned before, never after."""
    p, sink, dns = world()
    records = records_of(p, "generate", "--domain", DOMAIN)
    assert [r["key_type"] for r in records] == ["rsa", "ed25519"] and records[0]["bits"] == 2048
    submit(p)
    assert signatures(sink.wait(1)[0].content) == []
    assert {k["state"] for k in keys_of(p)} == {"pending"}
    publish(dns, records)
    for r in records:
        wait_state(p, r["selector"], "active")
    p.cli("dkim", "check", "--dns", "127.0.0.1:%d" % dns.port)
    body = "dots\r\n.\r\n..\r\n \t x \r\n\r\n\r\n"
    submit(p, body=body, head="Cc: Y <y@z.example>,\r\n\tZ <z@z.example>\r\n")
    content = sink.wait(2)[1].content
    made = signatures(content)
    assert [m["a"] for m in made] == ["rsa-sha256", "ed25519-sha256"]
    assert {m["d"] for m in made} == {DOMAIN} and [m["s"] for m in made] == [r["selector"] for r in records]
    assert int(made[0]["x"]) - int(made[0]["t"]) == 7 * 86400 and "l" not in made[0]
    names = made[0]["h"].lower().split(":")
    assert names.count("from") == 2 and names.count("subject") == 2 and names.count("reply-to") == 1
    assert verify(dns, content, 0) and verify(dns, content, 1)
    assert not verify(dns, content.replace(b"hello", b"hallo").replace(b"dots", b"lots"), 0)
    assert not verify(dns, b"From: evil@x.example\r\n" + content, 0)
    assert p.role("keys")["detail"]["dkim_signed"] == 2 and p.role("keys")["detail"]["dkim_refused"] == 0


def test_large_mail_from_a_side_file(world):
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "ed25519", "--selector", "big"))
    wait_state(p, "big", "active")
    submit(p, body="".join("." * (i % 70) + "\r\n" for i in range(60000)), head="Cc: %s\r\n" % ",\r\n ".join(
        "n%d@%s.example" % (i, "c" * 60) for i in range(1000)))
    content = sink.wait(1)[0].content
    assert len(content) > 2000000 and verify(dns, content)


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_the_keys_of_the_guide(world, tmp_path, form):
    """R127-R129, R131, R134: openssl genrsa -des3 with its passphrase, 1024 bits, old and new PEM; i=."""
    p, sink, dns = world()
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    subprocess.run(["openssl", "genrsa", "-des3", *(["-traditional"] if form == "traditional" else []), "-passout",
                    "file:%s" % secret, "-out", tmp_path / "private.key", "1024"], check=True, capture_output=True)
    text = (tmp_path / "private.key").read_text()
    assert ("Proc-Type: 4,ENCRYPTED" in text and "DES-EDE3-CBC" in text) == (form == "traditional")
    wrong = p.cli("dkim", "import", tmp_path / "private.key", "--domain", DOMAIN, "--selector", "email",
                  "--passphrase-stdin", stdin="wrong\n", check=False)
    assert wrong.returncode != 0 and "passphrase" in wrong.stderr and keys_of(p) == []
    keep = ["--keep"] if form == "traditional" else []
    records = records_of(p, "import", tmp_path / "private.key", "--domain", DOMAIN, "--selector", "email",
                         "--passphrase-file", secret, "--identity", "from", *keep)
    assert p.cli("dkim", "txt", "email").stdout == records[0]["value"] + "\n"
    assert records[0]["value"].startswith("v=DKIM1; k=rsa; p=")
    assert keys_of(p)[0]["weak"] and keys_of(p)[0]["encrypted"] == bool(keep)
    publish(dns, records)
    wait_state(p, "email", "active")
    theirs = "DKIM-Signature: v=1; a=rsa-sha256; d=phpmailer.example; s=x; h=from; bh=YQ==;\r\n b=YQ==\r\n"
    submit(p, head=theirs)
    content = sink.wait(1)[0].content
    assert theirs.encode() in content  # R134
    ours = signatures(content)[0]
    assert (ours["d"], ours["s"], ours["i"]) == (DOMAIN, "email", "test1@" + DOMAIN) and verify(dns, content)
    if keep:  # R128: a wrong passphrase is an error that is seen, and mail does not go out unsigned
        secret.write_text("wrong\n")
        assert "passphrase" in p.cli("reload", check=False).stderr
        submit(p)
        assert verify(dns, sink.wait(2)[1].content)
        p.stop()
        p.start(wait=False)
        assert p.process.wait(20) != 0 and "passphrase" in p.text("output")


def test_opendkim_agrees(world, tmp_path):
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "o"))
    wait_state(p, "o", "active")
    submit(p, head="List-Unsubscribe: <mailto:x@%s>\r\nMIME-Version: 1.0\r\n" % DOMAIN, body="a  b\t\r\n\r\n")
    (tmp_path / "keys").write_text("".join("%s %s\n" % (n, v["TXT"][0]) for n, v in dns.zone.items()))
    conf = tmp_path / "opendkim.conf"
    conf.write_text("TestPublicKeys %s/keys\nSocket local:%s/s\nMode v\n" % (tmp_path, tmp_path))
    message = tmp_path / "message"
    message.write_bytes(sink.wait(1)[0].content)
    good = subprocess.run(["/usr/sbin/opendkim", "-x", conf, "-t", message], capture_output=True, timeout=30, check=False)
    assert good.returncode == 0 and b"s=o, d=%s, 2048-bit key) succeeded" % DOMAIN.encode() in good.stdout, good


def test_rotation(world):
    """The old key signs until the DNS has the new one."""
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "old"))
    wait_state(p, "old", "active")
    fresh = records_of(p, "rotate", "--domain", DOMAIN, "--selector", "new")
    assert [r["selector"] for r in fresh] == ["new"]
    submit(p)
    assert [m["s"] for m in signatures(sink.wait(1)[0].content)] == ["old"]
    publish(dns, fresh)
    wait_state(p, "new", "active")
    assert state_of(p, "old") == "standby"
    submit(p)
    assert [m["s"] for m in signatures(sink.wait(2)[1].content)] == ["new"]
    dns.zone.pop("new._domainkey." + DOMAIN)  # gone again: said, and still signed with what is left
    p.cli("dkim", "check", "--dns", "127.0.0.1:%d" % dns.port, check=False)
    wait_state(p, "new", "lost")
    submit(p)
    assert [m["s"] for m in signatures(sink.wait(3)[2].content)] == ["old"]
    p.cli("dkim", "remove", "--domain", DOMAIN, "--selector", "new", "--yes")
    assert state_of(p, "new") is None


def test_what_was_seen_survives_a_restart_without_dns(world):
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "ed25519", "--selector", "s"))
    wait_state(p, "s", "active")
    content = dns.zone["s._domainkey." + DOMAIN]
    dns.zone["s._domainkey." + DOMAIN] = "SERVFAIL"
    wait_until(lambda: (p.demo / "data" / "spool" / "dkim").exists(), 10, "not written")
    p.restart()
    submit(p)
    m = sink.wait(1)[0].content
    dns.zone["s._domainkey." + DOMAIN] = content
    assert verify(dns, m)


def test_always_and_never(world):
    p, sink, dns = world()
    records_of(p, "generate", "--domain", DOMAIN, "--type", "ed25519", "--selector", "s")
    p.cli("dkim", "set", "--domain", DOMAIN, "--selector", "s", "--sign", "always")
    submit(p)
    assert len(signatures(sink.wait(1)[0].content)) == 1
    p.cli("dkim", "set", "--domain", DOMAIN, "--selector", "s", "--sign", "never")
    assert state_of(p, "s") == "retired"
    submit(p)
    assert signatures(sink.wait(2)[1].content) == []


def test_whose_mail_is_signed(world):
    """Only that of a login that may use the author's domain; d= is the author's domain."""
    p, sink, dns = world()
    p.cli("domain", "add", "second.example")
    p.cli("alias", "add", "boss@second.example", p.address("test1"))
    for d in (DOMAIN, "second.example"):
        publish(dns, records_of(p, "generate", "--domain", d, "--type", "ed25519", "--selector", "s"))
    wait_until(lambda: {k["state"] for k in keys_of(p)} == {"active"}, 20, "not active", 0.1)
    submit(p, sender="boss@second.example")
    first = sink.wait(1)[0].content
    assert [m["d"] for m in signatures(first)] == ["second.example"] and verify(dns, first)
    # where a login may write what it wants, its own domain signs, and others only for whom they belong to
    p.configure("smtp { check_sender = no }")
    p.cli("reload")
    for i, (sender, d) in enumerate([("boss@second.example", ["second.example"]), ("other@second.example", []),
                                     (p.address("test2"), [DOMAIN])]):
        submit(p, sender=sender)
        assert [m["d"] for m in signatures(sink.wait(2 + i)[1 + i].content)] == d
    # mynetworks, without a login: somebody else's ticket is not to be had
    with p.smtp() as s:
        s.sendmail(p.address("test1"), ["x@away.example"], "From: %s\r\nSubject: y\r\n\r\nz\r\n" % p.address("test1"))
    assert signatures(sink.wait(5)[4].content) == []
    p.wait_log("queue.dkim.unsigned", "without a login")
    p.configure('dkim { sign_networks = {"127.0.0.0/8"} }')
    p.cli("reload")
    with p.smtp() as s:
        s.sendmail(p.address("test1"), ["x@away.example"], "From: %s\r\nSubject: y\r\n\r\nz\r\n" % p.address("test1"))
    assert verify(dns, sink.wait(6)[5].content)


def test_one_signature_for_many_destinations(world):
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "s"))
    wait_state(p, "s", "active")
    with p.smtp("submission", "test1") as s:
        s.sendmail(p.address("test1"), ["x@d%d.example" % i for i in range(40)], "From: %s\r\nSubject: y\r\n\r\nz\r\n"
                   % p.address("test1"))
    assert all(verify(dns, m.content) for m in sink.wait(40))
    assert p.role("keys")["detail"]["dkim_signed"] == 1


def test_notices_of_our_own(world):
    """A bounce to elsewhere is signed by the key of this host's domain, where there is one."""
    p, sink, dns = world("hostname = mx.%s\nmydomain = %s\n" % (DOMAIN, DOMAIN), aliases=("out=no@away.example",))
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "s"))
    wait_state(p, "s", "active")
    sink.answer = lambda verb, s: "550 5.1.1 no such user" if verb == "RCPT" and "no@" in s.line else None
    p.send("out", "From: MAILER-DAEMON@mx.%s\r\nSubject: not ours\r\n\r\nx\r\n" % DOMAIN, sender="far@elsewhere.example")
    m = sink.wait(1)[0]
    assert m.sender == "" and verify(dns, m.content) and signatures(m.content)[0]["d"] == DOMAIN
    sink.answer = lambda verb, s: None  # what only says so is not signed
    p.send("out", "From: MAILER-DAEMON@mx.%s\r\nSubject: not ours\r\n\r\nx\r\n" % DOMAIN, sender="far@elsewhere.example")
    assert signatures(sink.wait(2)[1].content) == []


def test_what_is_handed_on_is_sealed(world):
    """ARC (RFC 8617), where a domain for it is named; checked by dkimpy, which also makes the first set."""
    p, sink, dns = world("dkim { seal_domain = %s }\nsender_auth { check = yes }\n"
                         "mynetworks = {\"192.0.2.0/24\"}\n" % DOMAIN,
                         aliases=("out=far@away.example",))
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "s"))
    wait_state(p, "s", "active")
    raw = b"From: a@good.example\r\nTo: x\r\nSubject: y\r\nDate: Tue, 24 Nov 2026 22:00:00 +0900\r\n\r\nz  z\r\n\r\n"
    txt = lambda name, timeout=5: dns.zone[name.decode().rstrip(".")]["TXT"][0].encode()
    p.send("out", raw, sender="a@good.example")
    one = sink.wait(1)[0].content
    cv, found, why = dkim.arc_verify(one, dnsfunc=txt)
    assert cv == dkim.CV_Pass and len(found) == 1, why
    assert signatures(one) == [] and b"i=1; %s; spf=none" % p_host(one) in one.replace(b"\r\n", b"")
    p.send("out", one, sender="list@other.example")  # a chain that is there goes on
    cv, found, why = dkim.arc_verify(sink.wait(2)[1].content, dnsfunc=txt)
    assert cv == dkim.CV_Pass and [f["instance"] for f in found] == [2, 1], why
    p.send("out", one.replace(b"z  z", b"changed"), sender="list@other.example")
    cv, found, why = dkim.arc_verify(sink.wait(3)[2].content, dnsfunc=txt)
    assert cv != dkim.CV_Pass and "ARC-Seal[2] reported failure" in why  # and is not made good again
    submit(p)  # one's own mail is signed as ever, and not sealed
    mine = sink.wait(4)[3].content
    assert len(signatures(mine)) == 1 and b"ARC-" not in mine


def p_host(content):
    return str(email.message_from_bytes(content)["Authentication-Results"]).split(";", maxsplit=1)[0].strip().encode()


def test_keys_dies_while_it_is_asked(world):
    """Mail waits, is signed, and is sent once."""
    p, sink, dns = world()
    publish(dns, records_of(p, "generate", "--domain", DOMAIN, "--type", "rsa", "--selector", "s"))
    wait_state(p, "s", "active")
    p.expected_crashes = True
    with p.smtp("submission", "test1") as s:
        for i in range(12):
            s.sendmail(p.address("test1"), ["x%d@away.example" % i], "From: %s\r\nSubject: %d\r\n\r\nz\r\n"
                       % (p.address("test1"), i))
            if i % 5 == 2:
                p.kill_role("keys", wait=False)
    wait_until(lambda: len(sink.messages) >= 12, 40, "mail is lost")
    wait_until(lambda: not json.loads(p.cli("queue", "list", "--json").stdout)["messages"], 30, "mail is left", 0.1)
    assert len(sink.messages) == 12 and len({m.rcpts[0] for m in sink.messages}) == 12
    assert all(verify(dns, m.content) for m in sink.messages)


def test_key_files_are_closed(world):
    """R128: 0600 in 0700, and no role reads them."""
    p, _, _ = world()
    records_of(p, "generate", "--domain", DOMAIN, "--type", "ed25519", "--selector", "s")
    path = p.demo / "data" / "dkim" / DOMAIN / "s.pem"
    assert path.stat().st_mode & 0o777 == 0o600 and (p.demo / "data" / "dkim").stat().st_mode & 0o777 == 0o700
    p.stop()
    for role in ("keys", "queue", "relay", "dns", "smtp", "auth", "login", "mailbox", "log"):
        acts = json.loads(p.cli("probe", role).stdout)
        assert acts["read dkim key"] != "allowed", role


def test_verbs_say_what_is_wrong(make_pabal, tmp_path):
    p = make_pabal(start=False)
    for args in (["generate", "--domain", "no such"], ["rotate", "--domain", DOMAIN], ["txt", "nothing"],
                 ["set", "--domain", DOMAIN, "--selector", "x", "--sign", "always"],
                 ["remove", "--domain", DOMAIN, "--selector", "x", "--yes"],
                 ["import", "/dev/null", "--domain", DOMAIN, "--selector", "x"]):
        done = p.cli("dkim", *args, check=False)
        assert done.returncode != 0 and done.stderr, args
    p.cli("dkim", "generate", "--domain", DOMAIN, "--selector", "a", "--type", "ed25519")
    again = p.cli("dkim", "generate", "--domain", DOMAIN, "--selector", "a", "--type", "ed25519", check=False)
    assert again.returncode != 0 and "--force" in again.stderr
    bad = p.cli("dkim", "set", "--domain", DOMAIN, "--selector", "a", "--identity", "x@elsewhere.example", check=False)
    assert bad.returncode != 0
    acts = [r for r in p.cli("audit", "list").stdout.splitlines() if "dkim.generate" in r]
    assert len(acts) == 1 and DOMAIN in acts[0]  # without a server too
    ko = subprocess.run([PROGRAM, "dkim", "list", "--config", p.config], capture_output=True, text=True, timeout=30,
                        env={**p.env, "LANG": "ko_KR.UTF-8", "LC_ALL": "ko_KR.UTF-8"}, check=True).stdout
    assert "상태" in ko


@pytest.mark.parametrize("how", ["in the row", "file of the row", "for all", "file for all"])
def test_keys_in_the_configuration(make_pabal, tmp_path, how):
    """R127, R133: domain, path, selector, passphrase and identity stand in the file; the passphrase is never shown."""
    key, secret = tmp_path / "email.pem", tmp_path / "secret"
    secret.write_text(PASSPHRASE + "\n")
    subprocess.run(["openssl", "genrsa", "-des3", "-passout", "file:%s" % secret, "-out", key, "2048"], check=True,
                   capture_output=True)
    row, more = {"in the row": ("passphrase=" + PASSPHRASE, ""),
                 "file of the row": ("passphrase_file=%s" % secret, ""),
                 "for all": ("", "passphrase = '%s'" % PASSPHRASE),
                 "file for all": ("", "passphrase_file = '%s'" % secret)}[how]
    p = make_pabal(start=False, settings="dkim { keys = {'%s email %s identity=from %s'}\n%s }\n"
                   % (DOMAIN, key, row, more))
    listed = keys_of(p)
    assert [(k["domain"], k["selector"], k["identity"], k["bits"]) for k in listed] == [(DOMAIN, "email", "from", 2048)]
    assert listed[0]["encrypted"] and listed[0]["state"] == "unknown"
    assert "DKIM" in p.cli("check", "config", check=False).stdout
    p.start()
    assert p.role("keys")["detail"]["dkim_keys"] == 1
    assert PASSPHRASE not in p.log() + p.text("output") + p.cli("dkim", "list").stdout
    bad = p.cli("dkim", "remove", "--domain", DOMAIN, "--selector", "email", "--yes", check=False)
    assert bad.returncode != 0 and "dkim.keys" in bad.stderr and key.exists()
    p.configure("dkim { passphrase = 'quite another secret' }")
    p.cli("reload", check=False)
    assert "another secret" not in p.log() + p.cli("audit", "list").stdout
    p.configure("dkim { passphrase = '%s' }" % PASSPHRASE)
    key.write_text("nonsense")
    refused = p.cli("reload", check=False)
    assert refused.returncode != 0 and "email" in refused.stderr and PASSPHRASE not in refused.stderr
    assert "email" in p.cli("check", "config", check=False).stdout
