"""Holds two network namespaces and a slow wire between them, for tests.

    delay.py ONE_WAY_MS LOSS_PERCENT SEED IP4_NEAR IP6_NEAR IP4_FAR IP6_FAR

Each namespace has a TUN device of its own; every packet that comes out of one goes into the other ONE_WAY_MS later,
in order. Says `ready FD FD` when both are up: /proc/PID/fd/FD is a namespace for nsenter(1). After `cut` on its standard
input every packet is lost, and nobody is told, until `mend`. Ends when its standard input does, and with it go devices
and namespaces, for nothing else holds them: a test that is killed leaves nothing.
LOSS_PERCENT of the packets are lost in each direction; which ones, the seed decides: the seventh and the ninetieth, say,
whatever they carry. Beyond that, packets are lost only where 64 MiB are under way, as a full router would. Needs root.
"""

import ctypes
import errno
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000

DEVICE = 'wire'
MTU = 1500
QUEUE_PACKETS = 5000
BATCH_PACKETS = 64
UNDER_WAY_BYTES = 64 * 1024 * 1024
SET_UP_SECONDS = 10


def end_of_the_wire(ip4, ip6):
    """Moves this process into a namespace of its own; the namespace and the wire's end there, as descriptors."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), 'unshare')
    device = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack('16sH22x', DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for words in (
        ['link', 'set', 'lo', 'up'],
        ['link', 'set', DEVICE, 'mtu', str(MTU), 'txqueuelen', str(QUEUE_PACKETS), 'up'],
        ['address', 'add', ip4 + '/24', 'dev', DEVICE],
        # Without nodad the address is unusable for a second.
        ['address', 'add', ip6 + '/64', 'dev', DEVICE, 'nodad'],
    ):
        subprocess.run([os.environ.get('FERRYD_IP', 'ip'), *words], check=True, stdin=subprocess.DEVNULL, timeout=SET_UP_SECONDS)
    return os.open('/proc/self/ns/net', os.O_RDONLY), device


class Direction:
    """Packets on their way from one device to the other."""

    def __init__(self, source, target, delay_s, is_lost):
        self.source = source
        self.target = target
        self.delay_s = delay_s
        self.is_lost = is_lost
        self.packets = deque()
        self.under_way_bytes = 0
        self.is_cut = False

    def cut(self):
        """Loses what is under way, and whatever comes."""
        self.is_cut = True
        self.packets.clear()
        self.under_way_bytes = 0

    def mend(self):
        self.is_cut = False

    def take(self):
        """Everything that waits in the source, up to a batch."""
        for _ in range(BATCH_PACKETS):
            try:
                packet = os.read(self.source, MTU + 100)
            except BlockingIOError:
                return
            if self.is_cut or self.is_lost():
                continue
            if self.under_way_bytes + len(packet) <= UNDER_WAY_BYTES:
                self.packets.append((time.monotonic() + self.delay_s, packet))
                self.under_way_bytes += len(packet)

    def deliver(self):
        """Everything whose time has come; seconds until the next, or None."""
        while self.packets:
            due, packet = self.packets[0]
            wait_s = due - time.monotonic()
            if wait_s > 0:
                return wait_s
            self.packets.popleft()
            self.under_way_bytes -= len(packet)
            try:
                os.write(self.target, packet)
            except OSError as error:
                # A device that is down, or full, loses packets: that is what networks do.
                if error.errno not in (errno.EIO, errno.ENOBUFS, errno.EAGAIN):
                    raise
        return None


def lottery(percent, seed):
    """Whether the next packet is lost."""
    numbers = random.Random(seed)
    return lambda: percent > 0 and numbers.random() * 100 < percent


def main():
    one_way_ms, loss_percent, seed, ip4_near, ip6_near, ip4_far, ip6_far = sys.argv[1:]
    delay_s = float(one_way_ms) / 1000
    loss = float(loss_percent)
    near_namespace, near = end_of_the_wire(ip4_near, ip6_near)
    far_namespace, far = end_of_the_wire(ip4_far, ip6_far)
    there = Direction(near, far, delay_s, lottery(loss, seed + ' there'))
    back = Direction(far, near, delay_s, lottery(loss, seed + ' back'))
    print('ready', near_namespace, far_namespace, flush=True)
    while True:
        waits = [wait_s for wait_s in (there.deliver(), back.deliver()) if wait_s is not None]
        readable, _, _ = select.select([0, near, far], [], [], min(waits, default=None))
        if 0 in readable:
            words = os.read(0, 1024).split()
            if not words:
                return
            for direction in (there, back):
                direction.cut() if words[-1] == b'cut' else direction.mend()
            print(words[-1].decode(), flush=True)
        if near in readable:
            there.take()
        if far in readable:
            back.take()


main()
