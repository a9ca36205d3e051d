"""A frame leaves in bursts of 16, over at most half its interval."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.rtp.keyframes import KeyframeRequests
from agent.rtp.pacer import BURST_PACKETS, Pacer
from tests.fuzz import fuzz_cases

READY = 1000
"""More than there are."""


def drain(pacer: Pacer, now: float) -> list[tuple[float, int]]:
    sent: list[tuple[float, int]] = []
    while (due := pacer.next_deadline()) is not None:
        now = max(now, due)
        sent.append((now, pacer.take(now, READY)))
    return sent


def test_a_small_frame_leaves_at_once() -> None:
    pacer = Pacer(8_000_000)
    pacer.begin(13, 15_000, 1 / 60, 5.0)
    assert drain(pacer, 5.0) == [(5.0, 13)]
    assert pacer.take(6.0, READY) == 0


def test_no_more_is_taken_than_is_ready() -> None:
    pacer = Pacer(8_000_000)
    pacer.set_link(10e9)
    pacer.begin(40, 48_000, 1 / 60, 0.0)
    assert [pacer.take(0.0, ready) for ready in (20, 4, 0, 16)] == [16, 4, 0, 16]
    assert pacer.take(0.0, READY) == 4


def test_a_large_frame_is_spread() -> None:
    pacer = Pacer(20_000_000)
    pacer.begin(35, 42_000, 1 / 60, 0.0)
    times = drain(pacer, 0.0)
    assert [count for _, count in times] == [16, 16, 3]
    assert 0 < times[-1][0] <= 1 / 120
    assert pacer.next_deadline() is None


def test_a_large_frame_leaves_sooner_where_the_path_takes_bursts_faster() -> None:
    pacer = Pacer(12_000_000)
    pacer.begin(45, 51_600, 1 / 30, 0.0)
    assert drain(pacer, 0.0)[-1][0] > 0.009
    pacer.set_link(576e6)
    pacer.begin(45, 51_600, 1 / 30, 0.0)
    assert 0.0005 < drain(pacer, 0.0)[-1][0] < 0.001
    pacer.set_link(40e6)  # no more than 2.5 times the rate
    pacer.begin(45, 51_600, 1 / 30, 0.0)
    assert drain(pacer, 0.0)[-1][0] > 0.009


def test_a_large_frame_leaves_at_once_where_a_sleep_would_take_longer_than_the_path() -> None:
    pacer = Pacer(12_000_000)
    pacer.set_link(2e9)
    pacer.begin(45, 51_600, 1 / 30, 1.0)
    assert [pacer.take(1.0, READY) for _ in range(4)] == [16, 16, 13, 0]


@given(
    st.integers(0, 500),
    st.integers(1, 600_000),
    st.floats(0.001, 0.1),
    st.integers(100_000, 100_000_000),
)
@fuzz_cases(500)
def test_never_more_than_a_burst_nor_half_the_interval(
    packets: int, size: int, interval_s: float, rate_bps: int
) -> None:
    pacer = Pacer(1)
    pacer.set_rate(rate_bps)
    pacer.begin(packets, size, interval_s, 10.0)
    times = drain(pacer, 10.0)
    assert sum(count for _, count in times) == packets
    assert all(0 < count <= BURST_PACKETS for _, count in times)
    assert all(at <= 10.0 + interval_s / 2 + 1e-6 for at, _ in times)


def test_a_late_wake_up_does_not_add_up() -> None:
    pacer = Pacer(20_000_000)
    pacer.begin(48, 57_000, 1 / 60, 0.0)
    assert pacer.take(0.0, READY) == 16
    assert pacer.take(0.1, READY) == 16
    assert pacer.take(0.1, READY) == 16


def test_keyframe_requests_are_granted_once_per_round_trip() -> None:
    requests = KeyframeRequests()
    assert requests.pli(1.0, None)
    assert not requests.pli(1.1, None)
    assert requests.pli(1.2, None)
    assert not requests.pli(1.5, 0.5)
    assert requests.fir(0, 2.0, 0.1)
    assert not requests.fir(0, 3.0, 0.1)
    assert requests.fir(1, 4.0, 0.1)
