"""WSASendMsg as we call it, and that a Windows that does not cut bursts is found out."""

from __future__ import annotations

import socket
import sys

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.transport import windows_segments
from agent.transport.burst_socket import BurstSocket
from agent.transport.sockaddr import sockaddr


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_a_datagram_arrives_whole_at_its_address(loopback: str) -> None:
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((loopback, 0))
        receiver.settimeout(5)
        packet = memoryview(bytearray(b"0123456789" * 100))
        windows_segments.send(sender, packet, None, sockaddr(family, receiver.getsockname()))
        assert receiver.recv(4096) == packet


def test_a_windows_that_does_not_cut_is_found_out_and_a_burst_leaves_as_datagrams() -> None:
    """Wine 8 is one."""
    assert not windows_segments.work()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender.bind(("127.0.0.1", 0))  # as ICE does; Windows tells nothing of an unbound socket
        sender.setblocking(False)
        burst = BurstSocket(sender.fileno(), receiver.getsockname())
        assert not burst.segmented
        packets = memoryview(bytearray(b"a" * 1000 + b"b" * 1000 + b"c" * 10))
        assert burst.send_burst(packets, [(0, 1000), (1000, 1000), (2000, 10)]) == 0
        burst.close()
        assert [receiver.recv(4096) for _ in range(3)] == [b"a" * 1000, b"b" * 1000, b"c" * 10]


def test_an_error_of_windows_is_the_one_that_python_knows() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        too_much = memoryview(bytearray(70_000))
        with pytest.raises(OSError) as problem:
            windows_segments.send(
                sender, too_much, None, sockaddr(socket.AF_INET, ("127.0.0.1", 9))
            )
    assert problem.value.errno == 10040  # WSAEMSGSIZE
