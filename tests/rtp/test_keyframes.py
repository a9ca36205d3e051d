"""Which requests for a key frame count."""

from __future__ import annotations

from agent.rtp.keyframes import KeyframeRequests


def granted(rtt_s: float | None) -> list[int]:
    """Which of the PLIs that come each 1/64 s count."""
    requests = KeyframeRequests()
    return [at for at in range(225) if requests.pli(at / 64, rtt_s)]


def test_a_picture_loss_counts_once_per_round_trip_and_ever_more_seldom_while_it_goes_on() -> None:
    # 10/64 s are the first after 150 ms, then 300 ms, 600 ms, and a second at most
    assert granted(None) == [0, 10, 30, 69, 133, 197]
    assert granted(0.01) == granted(None)
    assert granted(0.5) == [0, 32, 96, 160, 224]


def test_after_a_calm_time_the_next_picture_loss_counts_as_the_first() -> None:
    requests = KeyframeRequests()
    assert [at for at in range(40) if requests.pli(at / 64, None)] == [0, 10, 30]
    assert requests.pli(3.0, None)
    assert not requests.pli(3.1, None)
    assert requests.pli(3.16, None)


def test_a_round_trip_that_cannot_be_does_not_freeze_the_picture() -> None:
    assert granted(3600.0) == [0, 64, 128, 192]


def test_a_repeated_full_intra_request_is_the_same_one() -> None:
    requests = KeyframeRequests()
    assert requests.fir(7, 0.0, None)
    assert not requests.fir(7, 10.0, None)
    assert requests.fir(8, 20.0, None)


def test_a_full_intra_request_that_came_too_soon_counts_when_it_is_repeated() -> None:
    requests = KeyframeRequests()
    assert requests.pli(0.0, None)
    assert not requests.fir(7, 0.1, None)
    assert requests.fir(7, 0.9, None)
