"""The page's negotiation in Python and in JavaScript, side by side under the same faults: one machine twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test

from cluster.protocol import messages
from cluster.protocol.messages import Item, Sync
from cluster.protocol.negotiation import Negotiation
from tests.fuzz import LIMIT_S, fuzz_profile
from tests.protocol.relay import HOST, PAGE, End, World
from tests.protocol.test_relay import Relay

SCRIPT = Path(__file__).parents[1] / "client" / "negotiation_end.js"


class Pipe:
    """The JavaScript side: asked one thing at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to = process.stdin
        self._from = process.stdout
        self.asked = 0

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Pipe]:
        command = ["node", str(SCRIPT)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def ask(self, **request: Any) -> dict[str, Any]:
        self._to.write(json.dumps(request) + "\n")
        self._to.flush()
        self.asked += 1
        answer: dict[str, Any] = json.loads(self._from.readline())
        return answer


class Twin:
    """One negotiation in both languages; whatever one does the other must do too."""

    def __init__(self, pipe: Pipe, negotiation: str, replaces: tuple[str, ...]) -> None:
        self._ours = Negotiation(PAGE, HOST, negotiation, replaces)
        self._pipe = pipe
        self.negotiation = negotiation
        self._agree(None, pipe.ask(new=[PAGE, HOST, negotiation, replaces]))

    def _agree(self, result: Any, theirs: dict[str, Any]) -> None:
        ours = self._ours
        assert theirs == {
            "result": result,
            "has": ours.has,
            "heard": ours.heard,
            "settled": ours.settled,
            "deadline": ours.next_deadline(),
            "leaves": list(ours.leaves()),
        }

    def _both(self, result: Any, method: str, *arguments: Any) -> None:
        self._agree(result, self._pipe.ask(**{"do": method, "with": arguments}))

    @property
    def settled(self) -> bool:
        return self._ours.settled

    def leaves(self) -> tuple[str, ...]:
        return self._ours.leaves()

    def next_deadline(self) -> float | None:
        return self._ours.next_deadline()

    def say(self, item: Item) -> None:
        self._ours.say(item)
        self._both(None, "say", messages.item_object(item))

    def receive(self, sync: Sync, now: float) -> tuple[Item, ...]:
        items = self._ours.receive(sync, now)
        found = [messages.item_object(item) for item in items]
        self._both(found, "receive", messages.message_object(sync), now)
        return items

    def reconnected(self) -> None:
        self._ours.reconnected()
        self._both(None, "reconnected")

    def poll(self, now: float) -> Sync | None:
        sync = self._ours.poll(now)
        self._both(None if sync is None else messages.message_object(sync), "poll", now)
        return sync


@pytest.mark.fuzz
@pytest.mark.timeout(LIMIT_S)
def test_both_languages_do_the_same_under_every_fault() -> None:
    with Pipe.open() as pipe:

        class TwinWorld(World):
            def make(self, negotiation: str, replaces: tuple[str, ...]) -> End:
                return Twin(pipe, negotiation, replaces)

        class TwinRelay(Relay):
            def make_world(self) -> World:
                return TwinWorld()

        run_state_machine_as_test(TwinRelay, settings=fuzz_profile(200, steps=60))
        assert pipe.asked > 10_000
