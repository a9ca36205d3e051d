"""Which UDP ports a session's own candidates have, with real sockets."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from agent.transport import ice
from agent.transport.peer import Peer
from tests.transport.viewer import Listener, Viewer, options

FIRST = 41_000
RANGE = (FIRST, FIRST + 3)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the machine had no other address."""
    monkeypatch.setattr(ice, "host_addresses", lambda: [ice.LOOPBACK])


def ports_of(answer: str) -> set[int]:
    return {int(port) for port in re.findall(r"a=candidate:.* 127\.0\.0\.1 (\d+) typ host", answer)}


@contextlib.contextmanager
def taken(*ports: int) -> Iterator[None]:
    """By another program."""
    with contextlib.ExitStack() as sockets:
        for port in ports:
            one = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((ice.LOOPBACK, port))
        yield


async def test_only_ports_of_the_range_are_used_and_every_one_of_them() -> None:
    peers = [Peer(Listener(), (), options(udp_ports=RANGE)) for _ in range(4)]
    viewers = [Viewer() for _ in peers]
    try:
        answers = [
            await peer.answer(await viewer.offer())
            for peer, viewer in zip(peers, viewers, strict=True)
        ]
        assert all(len(ports_of(answer)) == 1 for answer in answers)
        used = set().union(*map(ports_of, answers))
        assert used == set(range(RANGE[0], RANGE[1] + 1))
        last = Peer(Listener(), (), options(udp_ports=RANGE))
        viewers.append(Viewer())
        with pytest.raises(ValueError, match=r"no UDP port from 41000 to 41003 is free.*udp_ports"):
            await last.answer(await viewers[-1].offer())
        await last.close("test over")
    finally:
        for one in peers:
            await one.close("test over")
        for other in viewers:
            await other.close()


async def test_a_port_that_another_program_has_is_passed_over_and_given_back_at_the_end() -> None:
    for _ in range(2):
        peer, viewer = Peer(Listener(), (), options(udp_ports=RANGE)), Viewer()
        try:
            with taken(FIRST, FIRST + 1, FIRST + 3):
                answer = await peer.answer(await viewer.offer())
            assert ports_of(answer) == {FIRST + 2}
        finally:
            await peer.close("test over")
            await viewer.close()
    with taken(*range(RANGE[0], RANGE[1] + 1)):
        pass


async def test_an_address_that_cannot_be_bound_is_no_port_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ice, "host_addresses", lambda: ["203.0.113.1", ice.LOOPBACK])
    peer, viewer = Peer(Listener(), (), options(udp_ports=RANGE)), Viewer()
    try:
        assert len(ports_of(await peer.answer(await viewer.offer()))) == 1
    finally:
        await peer.close("test over")
        await viewer.close()
