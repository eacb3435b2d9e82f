# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Disks that fail: a file system in a file that loses power, and one that is full. Both need root."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)


def must(*command):
    done = run(*command)
    if done.returncode != 0:
        raise OSError("%s: %s" % (" ".join(map(str, command)), done.stderr.strip()))


def unmount(where, seconds=20):
    """Processes that were killed a moment ago may still hold it."""
    end = time.monotonic() + seconds
    while True:
        done = run("umount", where)
        if done.returncode == 0 or not os.path.ismount(where):
            return
        if time.monotonic() > end:
            run("umount", "-l", where)
            raise OSError("umount %s: %s" % (where, done.stderr.strip()))
        time.sleep(0.05)


class PowerDisk:
    """ext4 in a file. cut(): what was not written through is gone, as when power is lost."""

    def __init__(self, megabytes=768):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pabal-power-"))
        self.dir.chmod(0o755)
        self.image = self.dir / "image"
        self.path = self.dir / "disk"
        self.path.mkdir()
        try:
            with open(self.image, "wb") as f:
                f.truncate(megabytes << 20)
            must("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", self.image)
            self.mount()
        except OSError:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise

    def mount(self):
        must("mount", "-o", "loop", self.image, self.path)
        self.path.chmod(0o755)

    def sync_foreign(self):
        """Another program's fsync: commits the names of all, but not their data."""
        with open(self.path / "foreign", "ab") as f:
            f.write(b"x" * 4096)
            f.flush()
            os.fsync(f.fileno())

    def sync(self):
        """What the test itself wrote, like a configuration, is to stay."""
        must("sync", "-f", self.path)

    def off(self):
        """From now on nothing reaches the disk."""
        d = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(d, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(d)

    def on(self):
        """After off() and the end of all processes that used it."""
        unmount(self.path)
        self.mount()

    def remove(self):
        with contextlib.suppress(OSError):
            unmount(self.path)
        shutil.rmtree(self.dir, ignore_errors=True)


def why_no_power_disk():
    """None, or why this machine cannot lose power."""
    if os.geteuid() != 0:
        return "power loss needs root (a loop device and FS_IOC_SHUTDOWN)"
    if not shutil.which("mkfs.ext4"):
        return "power loss needs mkfs.ext4"
    try:
        disk = PowerDisk(16)
    except OSError as e:
        return "no loop mounts here: %s" % e
    try:
        disk.off()
        disk.on()
    except OSError as e:
        return "FS_IOC_SHUTDOWN does not work here: %s" % e
    finally:
        disk.remove()
    return None


class SmallDisk:
    """A tmpfs of limited size."""

    def __init__(self, megabytes):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="pabal-small-"))
        must("mount", "-t", "tmpfs", "-o", "size=%dm,mode=755" % megabytes, "tmpfs", self.path)

    def sync(self):
        """As PowerDisk has it; there is nothing to sync."""

    def fill(self):
        """Takes all room but the last block or two; returns the file to be removed for room."""
        ballast = self.path / "ballast"
        with open(ballast, "ab", buffering=0) as f:
            for size in (1 << 20, 1 << 12):
                try:
                    while f.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue
        return ballast

    def remove(self):
        with contextlib.suppress(OSError):
            unmount(self.path)
        shutil.rmtree(self.path, ignore_errors=True)


def new_boot(demo):
    """The next start of the server in that directory takes this for another boot: what was not
    ended cleanly has lost power (proc/boot.c, store/store.c)."""
    boot = demo / "data" / "boot"
    if boot.exists():
        words = boot.read_text().split()
        boot.write_text("another-boot %s\n" % " ".join(words[1:]))
    run_file = demo / "data" / "mail" / "pabal-run"
    if run_file.exists():
        lines = [line for line in run_file.read_text().splitlines() if not line.startswith("boot ")]
        run_file.write_text("\n".join(lines + ["boot another-boot", ""]))
