"""Feedback is matched with what was sent: numbers and clocks that wrap, reordering, repetition, gaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.congestion.delay import DelayController
from agent.congestion.flight import CLOCK_US, MAX_IN_FLIGHT, Flight, Packet
from agent.congestion.protection import LossWindow
from agent.rtp.feedback import TransportFeedback
from tests.fuzz import fuzz_cases


def sent(flight: Flight, count: int, start_s: float = 0.0) -> None:
    flight.sent([Packet(start_s + number / 1000, 1200, 0) for number in range(count)])


def hear(flight: Flight, base: int, *arrivals: int | None) -> list[Packet]:
    return flight.acknowledge(TransportFeedback(1, 0, base & 0xFFFF, arrivals))


def test_arrivals_and_losses_are_told_once_with_their_send_times() -> None:
    flight = Flight()
    sent(flight, 4)
    known = hear(flight, 0, 64_000, None, 65_000)
    assert [(p.sent_s, p.arrived_s) for p in known] == [(0, 0.064), (0.002, 0.065)]
    known = hear(flight, 3, 66_000)
    assert [(p.sent_s, p.arrived_s) for p in known] == [(0.001, None), (0.003, 0.066)]
    assert hear(flight, 0, 64_000, None, 65_000) == []
    assert hear(flight, 1, 67_000) == []  # it is there after all, too late


def test_reordering_looks_like_no_loss() -> None:
    """Each fourth packet is overtaken by the feedback: told as missing, and by the next one as arrived."""
    flight, window, controller = Flight(), LossWindow(), DelayController(8_000_000)
    known: list[Packet] = []
    late: list[int] = []
    for first in range(0, 2_000, 20):
        numbers = range(first, first + 20)
        flight.sent([Packet(number / 1000, 1200, number // 10) for number in numbers])
        overtaken = [number for number in numbers if number % 4 == 3]
        times = {n: (n + 50) * 1000 for n in (*late, *numbers) if n not in overtaken}
        start = min(times)
        told = hear(flight, start, *(times.get(n) for n in range(start, numbers.stop)))
        for packet in told:
            window.add(packet.sent_s, lost=packet.arrived_s is None)
        controller.on_feedback(told, (first + 100) / 1000)
        known += told
        late = overtaken
    assert [round(p.sent_s * 1000) for p in known if p.arrived_s is None] == []
    assert len(known) == len({p.sent_s for p in known}) == 2_000 - len(late)
    assert window.loss.rate == controller.fraction_lost == 0


def test_numbers_wrap() -> None:
    flight = Flight()
    for round_ in range(5):
        start = round_ * 16_000
        sent(flight, 16_000, start)
        known = hear(flight, start, *range(0, 16_000 * 250, 250))
        assert len(known) == 16_000
        assert known[0].sent_s == start
    assert flight.waiting_since() is None


def test_the_viewers_clock_wraps() -> None:
    flight = Flight()
    sent(flight, 3)
    known = hear(flight, 0, CLOCK_US - 1000, 1000, CLOCK_US - 500)
    first, second, third = (p.arrived_s or 0 for p in known)
    assert round((second - first) * 1e6) == 2000
    assert round((third - first) * 1e6) == 500


def test_the_oldest_packet_that_nothing_was_heard_of_is_waited_for() -> None:
    flight = Flight()
    assert flight.waiting_since() is None
    sent(flight, 6)
    assert flight.waiting_since() == 0
    hear(flight, 2, 100)  # the feedback on 0 and 1 was lost
    assert flight.waiting_since() == 0.003
    hear(flight, 3, None, None, None)
    assert flight.waiting_since() is None


def test_what_was_never_sent_or_is_forgotten_says_nothing() -> None:
    flight = Flight()
    assert hear(flight, 0, 100) == []
    sent(flight, 10)
    assert hear(flight, 40_000, 100, 200) == []
    assert hear(flight, 10, 100) == []
    assert len(hear(flight, 8, 100, 200, 300)) == 2


def test_a_viewer_that_reports_nothing_costs_bounded_memory() -> None:
    flight = Flight()
    sent(flight, 3 * MAX_IN_FLIGHT)
    assert len(flight._packets) == MAX_IN_FLIGHT
    assert len(hear(flight, 3 * MAX_IN_FLIGHT - 1, 100)) == 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.integers(0, 0xFFFF),
            st.lists(st.none() | st.integers(0, CLOCK_US), max_size=30),
        ),
        max_size=20,
    )
)
@fuzz_cases(500)
def test_any_feedback_tells_of_each_packet_at_most_once(
    rounds: list[tuple[int, int, list[int | None]]],
) -> None:
    flight, count, told = Flight(), 0, set()
    for more, base, arrivals in rounds:
        flight.sent([Packet(count + number, 1, None) for number in range(more)])
        count += more
        for packet in hear(flight, base, *arrivals):
            assert 0 <= packet.sent_s < count
            assert packet.sent_s not in told
            told.add(packet.sent_s)
        waiting = flight.waiting_since()
        assert waiting is None or waiting not in told
