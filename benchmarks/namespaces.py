"""Two network namespaces with a TUN device each, and nothing else between them than who holds the devices (Linux).

They have no names: the kernel removes them and the devices with the last process and file that hold them, so
that nothing is left behind however those end.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
"""linux/sched.h"""
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
"""linux/if_tun.h"""
TUN: Final = Path("/dev/net/tun")
DEVICE: Final = "link0"
MTU_BYTES: Final = 1500
HOST, VIEWER = "10.77.0.1", "10.77.0.2"
"""The two ends' addresses; nobody else is in these namespaces."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of the link: its namespace and its device, both as open files."""

    namespace_fd: int
    tun_fd: int

    @property
    def path(self) -> str:
        """Of the namespace, for `nsenter --net=` in other processes while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self.namespace_fd}"


def why_not() -> str | None:
    """Why no such namespaces can be made here; None: they can."""
    for name in ("ip", "nsenter"):
        if shutil.which(name) is None:
            return f"no command {name}: install the packages iproute2 and util-linux"
    if not TUN.exists():
        return f"no {TUN}: the kernel has no TUN devices here"
    if os.geteuid() != 0:
        return "network namespaces and TUN devices need root"
    command = ["unshare", "--net", "ip", "tuntap", "add", "dev", DEVICE, "mode", "tun"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() or "unshare failed" if done.returncode else None


def make_end(address: str, other: str) -> End:
    """Move this process into a new namespace that has a loopback and a TUN device, its default route."""
    _call("unshare", CLONE_NEWNET)
    namespace_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    tun_fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun_fd, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    batch = (
        "link set lo up\n"
        f"address add {address} peer {other} dev {DEVICE}\n"
        f"link set {DEVICE} mtu {MTU_BYTES} up\n"
        f"route add default dev {DEVICE}\n"
    )
    done = subprocess.run(
        ["ip", "-batch", "-"], input=batch, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip could not set up {DEVICE}: {done.stderr.strip()}")
    return End(namespace_fd, tun_fd)


def enter(path: str) -> None:
    """Move this thread, and whatever it starts from now on, into a namespace."""
    namespace_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", namespace_fd, CLONE_NEWNET)
    finally:
        os.close(namespace_fd)


def inside(path: str) -> tuple[str, ...]:
    """Before a command: it runs in that namespace."""
    return ("nsenter", f"--net={path}", "--")


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
