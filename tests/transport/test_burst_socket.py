"""Bursts into a full socket, with the kernel's own queue: a Unix datagram socket that nobody reads."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.transport import burst_socket
from agent.transport.burst_socket import MAX_SEGMENTS, WRITABLE_TIMEOUT_S, BurstSocket
from agent.transport.linux_segments import SegmentedSender
from agent.transport.sockaddr import sockaddr

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
    """Refuses segmented sends in the kernel's way."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.refused = 0

    def send(self, run: memoryview, segment: int) -> None:
        self.refused += 1
        raise OSError(self._number, os.strerror(self._number))


def refusing(sender: BurstSocket, number: int) -> Unsegmented:
    stand_in: Any = Unsegmented(number)
    sender._segments = stand_in
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_more_than_one_send_takes_arrives_packet_by_packet(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as original,
    ):
        receiver.bind((host, 0))
        receiver.setblocking(False)
        original.setblocking(False)
        sender = BurstSocket(original.fileno(), receiver.getsockname()[:2])
        assert sender.segmented
        sizes = [*[1200] * (2 * MAX_SEGMENTS + 3), 700, 900]
        placed = [(sum(sizes[:index]), size) for index, size in enumerate(sizes)]
        packets = [bytes([index]) * size for index, size in enumerate(sizes)]
        assert sender.send_burst(memoryview(bytearray(b"".join(packets))), placed) == 0
        assert sender.segmented
        assert [receiver.recv(2000) for _ in packets] == packets
        sender.close()


def test_an_error_of_a_segmented_send_is_the_one_that_python_knows() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        segments = SegmentedSender(sender, ("127.0.0.1", 9))
        with pytest.raises(OSError) as problem:
            segments.send(memoryview(bytearray(70_000)), 1200)
    assert problem.value.errno == errno.EMSGSIZE


def test_an_address_has_its_interface_and_must_be_numeric() -> None:
    linked = sockaddr(socket.AF_INET6, ("fe80::1%lo", 5004))
    assert len(linked) == 28
    assert int.from_bytes(linked[24:], sys.byteorder) == socket.if_nametoindex("lo")
    with pytest.raises(OSError):
        sockaddr(socket.AF_INET, ("localhost", 5004))
