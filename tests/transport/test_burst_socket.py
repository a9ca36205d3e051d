"""Bursts into a full socket, with the kernel's own queue: a Unix datagram socket that nobody reads."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.transport import burst_socket
from agent.transport.burst_socket import WRITABLE_TIMEOUT_S, BurstSocket

SIZE, COUNT = 100, 64
PLACED = [(index * SIZE, SIZE) for index in range(COUNT)]
BUFFER = memoryview(bytes(SIZE * COUNT))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.setblocking(False)
        yield receiver


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[BurstSocket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as original:
        original.connect(receiver.getsockname())
        original.setblocking(False)
        sender = BurstSocket(original.fileno(), receiver.getsockname())
    yield sender
    sender.close()


class Unsegmented:
    """A socket that refuses segmented sends in the kernel's way."""

    def __init__(self, real: socket.socket, number: int) -> None:
        self._real = real
        self._number = number
        self.sendto, self.close = real.sendto, real.close
        self.refused = 0

    def sendmsg(self, *arguments: object) -> int:
        self.refused += 1
        raise OSError(self._number, os.strerror(self._number))


def refusing(sender: BurstSocket, number: int) -> Unsegmented:
    stand_in: Any = Unsegmented(sender._socket, number)
    sender._socket = stand_in
    sender.segmented = True
    kept: Unsegmented = stand_in
    return kept


@pytest.mark.parametrize("name", ["EINVAL", "EIO", "EMSGSIZE", "ENOPROTOOPT", "EOPNOTSUPP"])
def test_a_refused_segmented_send_leaves_as_single_datagrams_from_then_on(
    sender: BurstSocket, receiver: socket.socket, name: str
) -> None:
    stand_in = refusing(sender, getattr(errno, name))
    for _ in range(2):
        assert sender.send_burst(BUFFER, PLACED[:4]) == 0
        assert drained(receiver) == 4
    assert not sender.segmented
    assert stand_in.refused == 1


def test_a_burst_without_a_route_is_lost_and_says_nothing_about_segments(
    sender: BurstSocket, receiver: socket.socket
) -> None:
    refusing(sender, errno.ENETUNREACH)
    assert sender.send_burst(BUFFER, PLACED[:4]) == 4
    assert drained(receiver) == 0
    assert sender.segmented


def drained(receiver: socket.socket) -> int:
    count = 0
    while True:
        try:
            receiver.recv(SIZE)
        except BlockingIOError:
            return count
        count += 1


def test_a_burst_waits_once_for_a_full_socket_and_counts_the_rest(
    sender: BurstSocket, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = burst_socket._becomes_writable

    def counted(sock: socket.socket, timeout_s: float) -> bool:
        waits.append(timeout_s)
        return real(sock, timeout_s)

    monkeypatch.setattr(burst_socket, "_becomes_writable", counted)
    failed = sender.send_burst(BUFFER, PLACED)
    assert waits
    assert sum(waits) < 2 * WRITABLE_TIMEOUT_S
    taken = drained(receiver)
    assert 0 < taken == COUNT - failed < COUNT


def test_one_packet_waits_for_nothing(
    sender: BurstSocket, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst_socket, "_becomes_writable", None)
    sent = [sender.send_one(BUFFER[:SIZE]) for _ in range(COUNT)]
    assert sent[0]
    assert not sent[-1]
    assert drained(receiver) == sum(sent)
    assert sender.send_one(BUFFER[:SIZE])


def test_packets_go_on_when_there_is_room_again(
    sender: BurstSocket, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def make_room(sock: socket.socket, timeout_s: float) -> bool:
        nonlocal taken
        taken += drained(receiver)
        return True

    monkeypatch.setattr(burst_socket, "_becomes_writable", make_room)
    monkeypatch.setattr(burst_socket, "WRITABLE_TIMEOUT_S", 60.0)
    assert sender.send_burst(BUFFER, PLACED) == 0
    assert taken + drained(receiver) == COUNT
