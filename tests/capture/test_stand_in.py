"""The second-best capture, until the best one is back."""

from __future__ import annotations

import pytest

from agent.capture.base import Frame, Interrupted, SourceChanged
from agent.capture.stand_in import LAST_LOOK_S, StandIn
from agent.capture.testpattern import TestPatternCapture


def test_it_is_the_capture_that_works_until_the_other_one_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("agent.capture.stand_in.time.monotonic", lambda: now[0])
    looks: list[float] = []
    there: list[bool] = []

    def returned() -> bool:
        looks.append(now[0] - 100)
        return bool(there)

    capture = StandIn(TestPatternCapture(160, 120, 240), returned)
    assert (capture.name, capture.size) == ("testpattern", (160, 120))
    capture.draw_cursor = True
    assert capture.draw_cursor
    for _ in range(160):
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        outcome.release()
        now[0] += 0.5
    assert looks == [1, 3, 7, 15, 31, 47, 63, 79]  # seldom, for it may take hours
    there.append(True)
    now[0] += LAST_LOOK_S
    assert isinstance(capture.next(5.0), SourceChanged)
    capture.close()


def test_a_stop_reaches_the_capture_that_works() -> None:
    capture = StandIn(TestPatternCapture(160, 120, 60), lambda: False)
    capture.wake(stop=True)
    assert isinstance(capture.next(5.0), Interrupted)
    capture.close()
