"""What can be sent again, how often, and within what budget."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent.rtp.history import MAX_PACKETS, Burst, History, Retransmitter
from tests.fuzz import fuzz_cases

RATE = 1_000_000_000


def burst(first: int, count: int, at: float, size: int = 20) -> Burst:
    placed = [(index * (size + 4), size) for index in range(count)]

    def packet(index: int) -> bytes:
        return (first + index & 0xFFFF).to_bytes(2, "big").ljust(size, b"\0")

    return Burst(first & 0xFFFF, placed, packet, at)


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[:2], "big") for packet in packets]


def test_packets_are_found_across_the_wrap() -> None:
    history = History()
    history.add(burst(65_530, 10, 0.0))
    history.add(burst(4, 3, 0.01))
    sender = Retransmitter(history, RATE)
    assert numbers(sender.repeat([65_530, 65_535, 0, 3, 4, 6, 7], 0.02, 0.01)) == [
        65_530, 65_535, 0, 3, 4, 6,
    ]  # fmt: skip
    assert sender.refused == 1


def test_the_ring_holds_a_second_and_2048_packets() -> None:
    history = History()
    for index in range(200):
        history.add(burst(index * 16, 16, index * 0.001))
    assert len(history) == MAX_PACKETS
    history.add(burst(9000, 1, 1.1895))
    assert len(history) == 10 * 16 + 1
    history.add(burst(9001, 1, 3.0))
    assert len(history) == 1


def test_a_packet_is_repeated_once_per_round_trip() -> None:
    """A browser that measures it a little shorter was refused, and asked once more a round trip later."""
    history = History()
    history.add(burst(0, 4, 0.0))
    sender = Retransmitter(history, RATE)
    assert numbers(sender.repeat([1], 0.1, 0.05)) == [1]
    assert sender.repeat([1], 0.13, 0.05) == []
    assert numbers(sender.repeat([1, 2], 0.14, 0.05)) == [1, 2]


def test_a_round_trip_that_cannot_be_does_not_stop_repeating() -> None:
    history = History()
    history.add(burst(0, 4, 0.0))
    sender = Retransmitter(history, RATE)
    assert numbers(sender.repeat([1], 0.0, 3600.0)) == [1]
    assert sender.repeat([1], 0.7, 3600.0) == []
    assert numbers(sender.repeat([1], 1.0, 3600.0)) == [1]


def test_too_old_packets_are_not_repeated() -> None:
    history = History()
    history.add(burst(0, 4, 0.0))
    assert Retransmitter(history, RATE).repeat([1], 1.5, 0.05) == []


def test_a_nack_storm_stays_within_the_rate() -> None:
    history = History()
    for index in range(60):
        history.add(burst(index * 16, 16, 0.0, size=1180))
    sender = Retransmitter(history, 2_000_000)
    sent = 0
    for step in range(20):  # one second of asking for everything, over and over
        sent += sum(map(len, sender.repeat(range(960), step * 0.05, 0.0)))
    assert sent * 8 <= 2_000_000 * 1.2


@given(st.integers(0, 1 << 60), st.floats(0, 0.5))
@fuzz_cases(2000)
def test_any_loss_pattern_is_repaired_by_asking_again(seed: int, loss: float) -> None:
    source = random.Random(seed)
    history = History()
    sender = Retransmitter(history, RATE)
    first = source.randrange(1 << 16)
    now, count, missing = 0.0, 0, set[int]()
    for _ in range(source.randint(1, 20)):
        size = source.randint(1, 16)
        history.add(burst(first + count, size, now))
        missing |= {
            first + count + index & 0xFFFF for index in range(size) if source.random() < loss
        }
        count += size
        now += 0.004
    rounds = 0
    while missing:
        now += 0.011
        rounds += 1
        again = numbers(sender.repeat(sorted(missing), now, 0.005))
        assert set(again) == missing
        missing = {number for number in again if source.random() < loss}
        if now > 0.9:
            return
    assert sender.refused == 0
