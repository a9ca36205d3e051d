"""What `make chaos` takes for a failure, and what it can be asked for. The whole of it runs in tests/outages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import chaos
from benchmarks.chaos import FAULTS, Outcome, verdict
from benchmarks.desks import Shown

WELL = Outcome(
    fault="kill-node",
    lasted_s=12.0,
    served_again_s=1.2,
    delivered=1000,
    lost=0,
    doubled=0,
    reordered=0,
    shown={"desk-1": Shown(300, 0.5, 0.0), "desk-2": Shown(300, 0.1, 0.0)},
    fired=["NodeDown"],
)


def test_a_fault_that_nobody_notices_is_no_failure() -> None:
    assert verdict(WELL, "NodeDown") == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (replace(WELL, lost=1), "pairs: 1 lost, 0 doubled, 0 reordered"),
        (replace(WELL, doubled=2), "pairs: 0 lost, 2 doubled, 0 reordered"),
        (replace(WELL, reordered=3), "pairs: 0 lost, 0 doubled, 3 reordered"),
        (
            replace(WELL, shown={"desk-1": Shown(300, 0.501, 0.0)}),
            "desk-1: no new frame for 501 ms (500 are allowed)",
        ),
        (replace(WELL, shown={"desk-1": Shown(0, 0.0, 0.0)}), "desk-1: no frame at all"),
        (replace(WELL, fired=[]), "the alert NodeDown did not fire"),
    ],
)
def test_what_is_noticed_fails_in_words(outcome: Outcome, words: str) -> None:
    assert verdict(outcome, "NodeDown") == [words]


def test_faults_are_chosen_by_name_and_done_in_their_own_order() -> None:
    options = chaos.parser().parse_args(["--faults", "stop-redis,kill-node"])
    assert options.faults == ["kill-node", "stop-redis"]


def test_a_fault_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chaos.parser().parse_args(["--faults", "flood"])
    assert "no fault 'flood'; there are slow-redis, kill-node," in capsys.readouterr().err


def test_the_help_explains_every_fault() -> None:
    said = chaos.parser().format_help()
    for name, fault in FAULTS.items():
        assert name in said
        assert fault.words in said
