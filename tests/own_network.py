#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""Runs a command with a loopback network of its own, where no other test has a port: own_network.py COMMAND...

Exit status 71 if the machine does not allow it (no CAP_SYS_ADMIN, a container).
"""
import ctypes
import fcntl
import os
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP, IFF_RUNNING = 0x1, 0x40

if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
    sys.exit(71)
with socket.socket() as s:
    fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack('16sH14x', b'lo', IFF_UP | IFF_RUNNING))
os.execvp(sys.argv[1], sys.argv[1:])
