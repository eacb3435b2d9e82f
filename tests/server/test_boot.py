# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Same boot or power loss: which recovery a start makes (DESIGN 3). The boot id is a test's to choose
in builds with -Dfaults=true only."""
import subprocess

import pytest

from conftest import PROGRAM


def has_faults():
    done = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, check=False)
    return "fault injection" in done.stdout


pytestmark = pytest.mark.skipif(not has_faults(), reason="needs a build with -Dfaults=true")


def test_kill_in_the_same_boot_is_warm(make_pabal):
    p = make_pabal(env={"PABAL_BOOT_ID": "a"})
    p.send("test1")
    p.kill_all()
    p.start()
    assert "master.cold_start" not in p.log()
    p.wait_messages("test1", 1)


def test_another_boot_after_a_kill_is_cold(make_pabal):
    p = make_pabal(env={"PABAL_BOOT_ID": "a"})
    for i in range(5):
        p.send(["test1", "test2"], "Subject: %d\r\n\r\n%d\r\n" % (i, i))
    p.kill_all()
    p.env["PABAL_BOOT_ID"] = "b"
    p.start()
    p.wait_log("master.cold_start")
    p.wait_log("master.recovered")
    p.wait_messages("test1", 5)
    p.wait_messages("test2", 5)
    with p.imap("test1") as m:
        m.select()
        assert m.search(None, "ALL")[1][0].split() == [b"1", b"2", b"3", b"4", b"5"]
    p.kill_all()  # the new boot id is in the mark now
    p.start()
    assert p.log().count("master.cold_start") == 1


def test_another_boot_after_a_stop_is_warm(make_pabal):
    p = make_pabal(env={"PABAL_BOOT_ID": "a"})
    p.send("test1")
    p.stop()
    p.env["PABAL_BOOT_ID"] = "b"
    p.start()
    assert "master.cold_start" not in p.log()
    p.wait_messages("test1", 1)
