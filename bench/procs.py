# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Processes of the servers under test: starting, ending, their CPU time and memory."""
import ctypes
import os
import resource
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf('SC_CLK_TCK')
_libc = ctypes.CDLL(None, use_errno=True)
_started = []  # Popen, in the order of their starts


def adopt_orphans():
    """A server's process whose parent ends becomes our child, so none can get lost."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_files():
    """As many descriptors as the machine allows: servers and load inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _die_with_us():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(argv, log, **more):
    """Starts a server in a session of its own, so that Ctrl-C reaches only us."""
    with open(log, 'ab') as out:
        child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True, preexec_fn=_die_with_us, **more)
    _started.append(child)
    return child


def _stat(pid):
    """Parent, and clock ticks of the process and of the children it has waited for."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as f:
            fields = f.read().rsplit(b')', 1)[1].split()
    except (OSError, IndexError):
        return None
    return int(fields[1]), sum(int(x) for x in fields[11:15]), fields[0]


def _table():
    table = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            stat = _stat(name)
            if stat:
                table[int(name)] = stat
    return table


def tree(roots, table=None):
    """The pids of the roots and all below them that live."""
    table = table or _table()
    children = {}
    for pid, stat in table.items():
        children.setdefault(stat[0], []).append(pid)
    found, todo = [], [pid for pid in roots if pid in table]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def cpu_seconds(roots):
    """utime + stime of the tree, with all that ended and was waited for inside it. Differences of
    this count each process once: what a process used moves to its parent when it ends."""
    table = _table()
    return sum(table[pid][1] for pid in tree(roots, table)) / TICKS


def pss_kib(roots):
    """Proportional set size of the tree: shared pages are counted once, divided by their users."""
    total = 0
    for pid in tree(roots):
        try:
            with open(f'/proc/{pid}/smaps_rollup', 'rb') as f:
                for line in f:
                    if line.startswith(b'Pss:'):
                        total += int(line.split()[1])
        except OSError:
            pass  # ended meanwhile
    return total


def count(roots):
    return len(tree(roots))


def _wait_gone(child, pids, seconds):
    """Whether all have ended; zombies that became ours are waited for."""
    end = time.monotonic() + seconds
    while True:
        child.poll()
        table = _table()
        for pid in pids:
            if pid != child.pid and pid in table and table[pid][0] == os.getpid() and table[pid][2] == b'Z':
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
        left = [pid for pid in pids if pid in table and table[pid][2] != b'Z']
        if child.poll() is not None and not left:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.02)


def stop(child, seconds=20, sig=signal.SIGTERM):
    """Ends a server and its processes: asked first, killed when it takes too long. Returns whether
    asking was enough."""
    pids = tree([child.pid]) if child.poll() is None else []
    for pid in pids[:1]:
        os.kill(pid, sig)
    gone = _wait_gone(child, pids, seconds)
    if not gone:
        for pid in pids:
            if _stat(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        _wait_gone(child, pids, 5)
    child.poll()
    if child in _started:
        _started.remove(child)
    return gone


def stop_all():
    """What is still there at the end: children, and those that were orphaned to us."""
    for child in reversed(_started[:]):
        stop(child, 10)
    left = [pid for pid in tree([os.getpid()]) if pid != os.getpid()]
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.02)
