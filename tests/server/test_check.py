# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""`pabal check ports|perms|config` and `pabal firewall print` (R10, R14-R16, R18, R38, R71)."""
import json
import re
import socket
import threading

import pytest

NINE = {80, 443, 25, 587, 465, 110, 143, 993, 995}


def check(pabal, *args, code=0):
    done = pabal.cli("check", *args, "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {c["what"]: c for c in json.loads(done.stdout)["checks"]}


def test_ports_of_a_running_server(pabal):
    found = check(pabal, "ports")
    assert len(found) >= 10 and {c["state"] for c in found.values()} == {"ok"}


def test_perms(pabal):
    """R71: found, named, put right; R38: a key that others may read."""
    assert {c["state"] for c in check(pabal, "perms").values()} <= {"ok"}
    pabal.send("test1")
    pabal.wait_messages("test1", 1)
    mail = next((pabal.demo / "data" / "mail").rglob("cur/*"))
    key = pabal.demo / "tls" / "key.pem"
    mail.chmod(0o644)
    key.chmod(0o644)
    wrong = [c for c in check(pabal, "perms", code=1).values() if c["state"] == "fail"]
    assert {c["what"].split(",")[0] for c in wrong} == {"mail_dir", "tls.key_files"}
    assert mail.name in json.dumps(wrong) and {c["next"] for c in wrong} == {"pabal check perms --repair"}
    check(pabal, "perms", "--repair")
    assert mail.stat().st_mode & 0o777 == key.stat().st_mode & 0o777 == 0o640
    assert {c["state"] for c in check(pabal, "perms").values()} <= {"ok"}


def test_links_are_not_followed(pabal):
    outside = pabal.dir / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    link = pabal.demo / "data" / "mail" / "link"
    link.symlink_to(outside)
    check(pabal, "perms", "--repair")
    assert outside.stat().st_mode & 0o777 == 0o644
    link.unlink()


def test_config(make_pabal):
    p = make_pabal(settings='mynetworks = {"0.0.0.0/0"}\nhostname = "localhost"', start=False)
    found = check(p, "config", code=1)
    assert found["mynetworks"]["state"] == "fail" and "127.0.0.0/8" in found["mynetworks"]["next"]
    assert found["hostname"]["state"] == "fail"
    assert any(w.startswith("certificate ") for w in found)
    p.config.write_text(p.config.read_text().replace("0.0.0.0/0", "2001:db8::/96"))
    assert check(p, "config", code=1)["mynetworks"]["state"] == "ok"
    p.configure("nonsense = 1")
    assert check(p, "config", code=78)["file"]["state"] == "fail"


def test_ports_without_a_server_and_with_another_one(make_pabal):
    """R16: closed; another service."""
    p = make_pabal(start=False)
    found = check(p, "ports", code=1)
    assert {c["state"] for c in found.values()} == {"fail"}
    with socket.create_server(("127.0.0.1", p.base + 25)) as other:
        def answer():
            connection, _ = other.accept()
            connection.sendall(b"SSH-2.0-other\r\n")
            connection.close()
        thread = threading.Thread(target=answer)
        thread.start()
        smtp = check(p, "ports", code=1)["smtp, 127.0.0.1 port %d" % (p.base + 25)]
        thread.join(10)
    assert "SSH-2.0-other" in smtp["text"] and smtp["next"].startswith("ss -ltnp")


@pytest.fixture(scope="module", name="classic")
def standard_ports(pabal):
    """The ports of an installed server."""
    path = pabal.dir / "standard.conf"
    path.write_text('inet_interfaces = {"*", "::"}\nhostname = "mail.example.com"\ndata_dir = "%s"\n' % pabal.dir)
    return str(path)


def test_firewall(pabal, classic):
    """R15: the nine ports and nothing else; R18: for Windows too."""
    def rules(*options):
        return pabal.cli("firewall", "print", *options, "--config", classic).stdout
    text = [line for line in rules("--iptables").splitlines() if line.startswith("iptables ")]
    assert {int(re.search(r"-m state --state NEW -m tcp -p tcp --dport (\d+) -j ACCEPT$", t)[1]) for t in text} == NINE
    assert len(text) == 9
    for option in ("--nft", "--ufw", "--netsh"):
        line = rules(option).splitlines()[-1]
        assert {int(n) for n in re.findall(r"\b\d+\b", line)} == NINE, option
    assert {int(n) for n in re.findall(r"--add-port=(\d+)/tcp", rules("--firewalld"))} == NINE
    told = json.loads(rules("--nft", "--json"))
    assert {p["port"] for p in told["ports"]} == NINE and len(told["rules"]) == 1
    assert {p["port"] for p in json.loads(rules("--json", "--no-web"))["ports"]} == NINE - {80, 443}
    assert pabal.cli("firewall", "print", check=False).returncode == 1  # all on loopback
