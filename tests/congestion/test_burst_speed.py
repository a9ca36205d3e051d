"""What bursts show of the path, for the pacer."""

from __future__ import annotations

import pytest

from agent.congestion.burst_speed import CAUTION_S, MIN_PACKETS, BurstSpeed
from agent.congestion.flight import Packet

SIZE_BYTES = 1200
FRAME_S = 1 / 30
PACE_S = 0.005


def frame(number: int, bursts: tuple[int, ...], link_bps: float) -> list[Packet]:
    """Bursts of so many packets, PACE_S apart, over a link without a queue between them."""
    packets: list[Packet] = []
    for index, count in enumerate(bursts):
        sent_s = number * FRAME_S + index * PACE_S
        for place in range(count):
            at_s = 100 + sent_s + (place + 1) * 8 * SIZE_BYTES / link_bps
            packets.append(Packet(sent_s, SIZE_BYTES, number, at_s, 100 * number + len(packets)))
    return packets


def fed(bursts: tuple[int, ...], link_bps: float, frames: int = 6) -> BurstSpeed:
    speed = BurstSpeed()
    for number in range(frames):
        speed.take(frame(number, bursts, link_bps), number * FRAME_S + 0.01)
    return speed


def test_bursts_show_a_link_that_is_faster_than_the_pace() -> None:
    assert fed((16, 16, 13), 100e6).bps(0.2) == pytest.approx(100e6, rel=0.01)


def test_bursts_that_feedback_tells_in_two_parts_count_once() -> None:
    speed = BurstSpeed()
    for number in range(6):
        packets = frame(number, (16, 16, 13), 100e6)
        for part in (packets[:20], packets[20:]):
            speed.take(part, number * FRAME_S)
    assert speed.bps(0.2) == pytest.approx(100e6, rel=0.01)


def test_small_and_old_bursts_show_nothing() -> None:
    assert fed((MIN_PACKETS - 1,), 100e6).bps(0.2) is None
    assert fed((16,), 100e6).bps(2.0) is None
    assert BurstSpeed().bps(0.0) is None


def test_nothing_is_believed_for_a_while_after_a_loss() -> None:
    speed = fed((16, 16), 100e6)
    lost = frame(6, (16, 16), 100e6)
    lost[30].arrived_s = None
    speed.take(lost, 0.2)
    assert speed.bps(0.21) is None
    later = round((0.2 + CAUTION_S) / FRAME_S) + 1
    for number in range(later, later + 4):
        speed.take(frame(number, (16, 16), 100e6), number * FRAME_S)
    assert speed.bps((later + 4) * FRAME_S) == pytest.approx(100e6, rel=0.01)
