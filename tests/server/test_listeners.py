# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""`pabal reload` opens, closes and changes listeners; nobody else notices."""
import contextlib
import json
import os
import re
import smtplib
import socket

import pytest

from conftest import free_port_base, tls_context, wait_until


def greeting(host, port):
    with socket.create_connection((host, port), timeout=10) as s:
        return s.makefile("rb").readline()


def refused(host, port):
    try:
        socket.create_connection((host, port), timeout=10).close()
        return False
    except ConnectionRefusedError:
        return True


def processes(p):
    return {r["name"]: (r["pid"], r["restarts"]) for r in p.status()["roles"]}


@pytest.mark.parametrize("doors", [1, 2])
def test_opened_and_closed(make_pabal, doors):
    p = make_pabal(settings="process { smtp = %d login = %d }" % (doors, doors))
    before = processes(p)
    good = p.config.read_text()
    extra = free_port_base()
    path = str(p.dir / "extra.sock")
    p.configure('listener second { service = smtp port = %d }\nlistener more { service = imap port = %d unix_path = "%s" }'
                % (extra + 25, extra + 143, path))
    p.cli("reload")
    for i in range(4 * doors):
        with socket.create_connection((p.host, extra + 25), timeout=10, source_address=("127.0.0.%d" % (i + 1), 0)) as s:
            assert s.makefile("rb").readline().startswith(b"220 ")
    assert greeting(p.host, extra + 143).startswith(b"* OK")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        assert s.makefile("rb").readline().startswith(b"* OK")
    with smtplib.SMTP(p.host, extra + 25, timeout=20) as s:
        s.sendmail("a@example.net", [p.address("test1")], "Subject: by the new one\r\n\r\nx\r\n")
    p.wait_messages("test1", 1)
    assert {"second", "more"} <= {x["name"] for x in p.status()["listeners"]}

    stays, stays_lines = p.connect("smtp")
    ends = socket.create_connection((p.host, extra + 25), timeout=10)
    ends_lines = ends.makefile("rb")
    assert stays_lines.readline().startswith(b"220 ") and ends_lines.readline().startswith(b"220 ")
    p.config.write_text(good)
    p.cli("reload")
    assert ends_lines.readline().startswith(b"421 ")  # at a command boundary
    wait_until(lambda: refused(p.host, extra + 25), 10)
    wait_until(lambda: refused(p.host, extra + 143), 10)
    assert not os.path.exists(path)
    stays.sendall(b"NOOP\r\n")
    assert stays_lines.readline().startswith(b"250 ")
    stays.close()
    ends.close()
    assert processes(p) == before


def test_other_ports_for_all(make_pabal):
    p = make_pabal()
    old = p.base
    p.config.write_text(p.config.read_text().replace("port_base = %d" % old, "port_base = %d" % free_port_base()))
    base = int(re.search(r"port_base = (\d+)", p.config.read_text()).group(1))
    with p.imap("test1") as kept:
        p.cli("reload")
        ready = json.loads((p.demo / "ready.json").read_text())
        assert ready["ports"]["smtp"] == base + 25 and ready["accounts"]
        assert kept.noop()[0] == "OK"
    p.ready = ready
    p.send("test1")
    p.wait_messages("test1", 1)
    for offset in (25, 143, 993, 110):
        wait_until(lambda o=offset: refused(p.host, old + o), 10)


def test_tls_mode_changes(make_pabal):
    p = make_pabal()
    good = p.config.read_text()
    p.configure("listener smtp { tls = none }\nlistener imap { tls = implicit }")
    kept, lines = p.connect("imap")
    assert lines.readline().startswith(b"* OK")
    p.cli("reload")

    def no_tls():
        with p.smtp() as s:
            s.ehlo()
            return not s.has_extn("starttls")
    wait_until(no_tls, 10)

    def implicit():
        with contextlib.suppress(OSError):
            with socket.create_connection((p.host, p.port("imap")), timeout=10) as s:
                with tls_context().wrap_socket(s) as t:
                    return t.makefile("rb").readline().startswith(b"* OK")
    wait_until(implicit, 10)
    kept.sendall(b"a NOOP\r\n")  # goes on as it began
    assert lines.readline().startswith(b"a OK")
    kept.close()
    p.config.write_text(good)
    p.cli("reload")
    wait_until(lambda: not no_tls(), 10)


def test_all_or_nothing(make_pabal):
    p = make_pabal()
    good = p.config.read_text()
    extra = free_port_base()
    with socket.socket() as s:
        s.bind(("127.0.0.1", extra + 1))
        s.listen()
        p.configure("listener one { service = smtp port = %d }\nlistener two { service = smtp port = %d }"
                    % (extra, extra + 1))
        failed = p.cli("reload", check=False)
    assert failed.returncode == 78
    assert "two" in failed.stderr and str(extra + 1) in failed.stderr and "ss -ltnp" in failed.stderr
    assert refused(p.host, extra)
    assert p.status()["generation"] == 1
    p.config.write_text(good + "\nlistener one { service = smtp port = %d }\nlistener two { service = imap port = %d }"
                        % (extra, extra))
    failed = p.cli("reload", check=False)
    assert failed.returncode == 78 and "both want port" in failed.stderr
    p.config.write_text(good + "\nlistener imap { port = %d }\nlistener smtp { port = %d }"
                        % (p.base + 25, p.base + 143))
    failed = p.cli("reload", check=False)
    assert failed.returncode == 78 and "another kind of service" in failed.stderr
    p.config.write_text(good)
    p.cli("reload")
    assert greeting(p.host, p.port("smtp")).startswith(b"220 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_port_that_is_not_for_us(make_pabal):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as f:
        if int(f.read()) < 1000:
            pytest.skip("all ports are for all")
    p = make_pabal(uid=65534)
    p.configure("listener low { service = smtp port = 999 }")
    failed = p.cli("reload", check=False)
    assert failed.returncode == 78 and "ports below 1024" in failed.stderr
    assert greeting(p.host, p.port("smtp")).startswith(b"220 ")


def test_from_one_address_to_all(make_pabal):
    """The new socket and the old one have the same port for a moment."""
    p = make_pabal()
    p.configure('listener smtp { address = "*" }')
    p.cli("reload")
    assert greeting("127.0.0.9", p.port("smtp")).startswith(b"220 ")
    wait_until(lambda: greeting(p.host, p.port("smtp")).startswith(b"220 "), 10)
