"""Which UDP ports a session's own candidates have, with real sockets."""

from __future__ import annotations

import re

import pytest

from agent.transport import ice
from agent.transport.peer import Peer
from agent.transport.ports import PortRange
from tests.ports import free_udp_range, udp_taken
from tests.transport.viewer import Listener, Viewer, options

FOUR = 4


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the machine had no other address."""
    monkeypatch.setattr(ice, "host_addresses", lambda: [ice.LOOPBACK])


def ports_of(answer: str) -> set[int]:
    return {int(port) for port in re.findall(r"a=candidate:.* 127\.0\.0\.1 (\d+) typ host", answer)}


@pytest.fixture
def free() -> PortRange:
    return free_udp_range(FOUR)


async def test_only_ports_of_the_range_are_used_and_every_one_of_them(free: PortRange) -> None:
    peers = [Peer(Listener(), (), options(udp_ports=free)) for _ in range(FOUR)]
    viewers = [Viewer() for _ in peers]
    try:
        answers = [
            await peer.answer(await viewer.offer())
            for peer, viewer in zip(peers, viewers, strict=True)
        ]
        assert all(len(ports_of(answer)) == 1 for answer in answers)
        used = set().union(*map(ports_of, answers))
        assert used == set(range(free[0], free[1] + 1))
        last = Peer(Listener(), (), options(udp_ports=free))
        viewers.append(Viewer())
        words = f"no UDP port from {free[0]} to {free[1]} is free.*udp_ports"
        with pytest.raises(ValueError, match=words):
            await last.answer(await viewers[-1].offer())
        await last.close("test over")
    finally:
        for one in peers:
            await one.close("test over")
        for other in viewers:
            await other.close()


async def test_a_port_that_another_program_has_is_passed_over_and_given_back_at_the_end(
    free: PortRange,
) -> None:
    first, second, third, fourth = range(free[0], free[1] + 1)
    for _ in range(2):
        peer, viewer = Peer(Listener(), (), options(udp_ports=free)), Viewer()
        try:
            with udp_taken(first, second, fourth):
                answer = await peer.answer(await viewer.offer())
            assert ports_of(answer) == {third}
        finally:
            await peer.close("test over")
            await viewer.close()
    with udp_taken(first, second, third, fourth):
        pass


async def test_an_address_that_cannot_be_bound_is_no_port_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, free: PortRange
) -> None:
    monkeypatch.setattr(ice, "host_addresses", lambda: ["203.0.113.1", ice.LOOPBACK])
    peer, viewer = Peer(Listener(), (), options(udp_ports=free)), Viewer()
    try:
        assert len(ports_of(await peer.answer(await viewer.offer()))) == 1
    finally:
        await peer.close("test over")
        await viewer.close()
