"""Ways between processes that can be slowed and cut: a relay in front of Redis, and network namespaces for nodes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from typing import Final

CHUNK: Final = 1 << 16
QUEUE: Final = 1000
NAMESPACES_NEED: Final = "needs root, iproute2 and iptables: network namespaces"


class Relay:
    """`async with Relay(port) as relay`: forwards TCP on loopback, late by `delay_s`, or not while `cut`.

    What is said while it is cut comes through afterwards, as TCP sends again what a network has dropped; but not on
    connections of before `swallow`, as TCP waits the longer the longer a network drops.
    """

    def __init__(self, target: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.WriteTransport] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._open.set()
        for transport in self._ends:
            transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def url(self) -> str:
        """Of the Redis behind it."""
        return f"redis://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing through from now on, without a word to either side."""
        self._open.clear()

    def swallow(self) -> None:
        """The same, and nothing that is connected now is ever heard of again."""
        self.cut()
        self._open = asyncio.Event()

    def heal(self) -> None:
        """Let everything through again."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._ends.add(writer.transport)
        is_open = self._open
        try:
            await is_open.wait()
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._way(reader, there[1], is_open))
                tasks.create_task(self._way(there[0], writer, is_open))
        except* OSError:
            pass
        finally:
            for end in (writer, there[1]):
                end.transport.abort()

    async def _way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
    ) -> None:
        """One direction, until either end closes."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE)  # then the sender waits
        sending = asyncio.create_task(self._send(waiting, writer, is_open))
        try:
            while chunk := await reader.read(CHUNK):
                await waiting.put((time.monotonic() + self.delay_s, chunk))
            raise ConnectionResetError
        finally:
            sending.cancel()

    async def _send(
        self,
        waiting: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        is_open: asyncio.Event,
    ) -> None:
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await is_open.wait()
            writer.write(chunk)


def namespaces_work() -> bool:
    """Whether this process may make network namespaces and drop packets in them."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("ip", "iptables")):
        return False
    name = f"tb-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    command = ["ip", "netns", "exec", name, "iptables", "-P", "INPUT", "DROP"]
    works = subprocess.run(command, capture_output=True, check=False).returncode == 0
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return works


class Namespace:
    """`with Namespace() as there`: a host of its own on a cable of its own."""

    def __init__(self) -> None:
        pid = os.getpid()
        net = f"10.{200 + pid % 50}.{pid // 50 % 250}"
        self.here, self.there = f"{net}.1", f"{net}.2"
        self._name, self._cable = f"tb-{pid}", f"tb{pid}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command: it runs there."""
        return ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Namespace:
        _run("ip", "netns", "add", self._name)
        try:
            # An IPv6 address that is tried out for a second first (RFC 4862 5.4) changes the network for browsers,
            # which then give up what they are loading.
            for where in ("all", "default"):
                accept = f"/proc/sys/net/ipv6/conf/{where}/accept_dad"
                _run(*self.prefix, "sh", "-c", f"echo 0 > {accept}")
            peer = ("peer", "name", "eth0", "netns", self._name)
            _run("ip", "link", "add", self._cable, "type", "veth", *peer)
            _run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{self._cable}/disable_ipv6")
            _run("ip", "address", "add", f"{self.here}/30", "dev", self._cable)
            _run("ip", "link", "set", self._cable, "up")
            _run(*self.prefix, "ip", "address", "add", f"{self.there}/30", "dev", "eth0")
            _run(*self.prefix, "ip", "link", "set", "eth0", "up")
            _run(*self.prefix, "ip", "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """The cable first: a process or socket that is about to end there would keep it for the next one."""
        subprocess.run(["ip", "link", "delete", self._cable], capture_output=True, check=False)
        _run("ip", "netns", "delete", self._name)

    def swallow(self) -> None:
        """A black hole: no packet in or out, and nobody is told."""
        for chain in ("INPUT", "OUTPUT"):
            _run(*self.prefix, "iptables", "-P", chain, "DROP")

    def swallow_to(self, ports: Iterable[int]) -> None:
        """A black hole for what goes from there to these TCP ports; all the rest is as before."""
        for port in ports:
            rule = ("-p", "tcp", "--dport", str(port), "-j", "DROP")
            _run(*self.prefix, "iptables", "-A", "OUTPUT", *rule)

    def swallow_udp(self) -> None:
        """A firewall that lets no UDP through, either way, and says nothing."""
        for chain in ("INPUT", "OUTPUT"):
            _run(*self.prefix, "iptables", "-A", chain, "-p", "udp", "-j", "DROP")

    def heal(self) -> None:
        """As before."""
        for chain in ("INPUT", "OUTPUT"):
            _run(*self.prefix, "iptables", "-P", chain, "ACCEPT")
        _run(*self.prefix, "iptables", "-F")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
