"""The negotiation log against the shared vectors and against a network that loses, doubles and reorders."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.protocol import messages
from cluster.protocol.messages import Candidate, Item, Offer, PeerId, Sync
from cluster.protocol.negotiation import Answerer, LogFullError, Negotiation
from tests.vectors import load

PAGE = PeerId("P" * 22)
HOST = PeerId("H" * 22)
ID = "n" * 22


class Script:
    """Runs one shared script, step by step, and checks what each step should give."""

    def __init__(self, script: dict[str, Any]) -> None:
        me, other = PeerId(script["me"]), PeerId(script["other"])
        self.answerer = Answerer(me, other) if script["machine"] == "answerer" else None
        self._negotiation = Negotiation(me, other, script["negotiation"])

    @property
    def negotiation(self) -> Negotiation:
        if self.answerer is None:
            return self._negotiation
        assert self.answerer.running is not None
        return self.answerer.running

    def run(self, step: dict[str, Any]) -> None:
        match step:
            case {"say": item}:
                self.negotiation.say(messages.parse_item(item))
            case {"receive": sync}:
                self.receive(step, sync)
            case {"poll": now}:
                sync = self.negotiation.poll(now)
                assert (messages.message_object(sync) if sync else None) == step["sync"]
                assert self.negotiation.next_deadline() == pytest.approx(step["deadline"])
                assert self.negotiation.settled == step["settled"]
            case {"reconnected": True}:
                self.negotiation.reconnected()
            case {"end": True}:
                assert self.answerer is not None
                self.answerer.end()
            case _:
                raise AssertionError(f"unknown step {step}")

    def receive(self, step: dict[str, Any], obj: dict[str, Any]) -> None:
        sync = messages.parse_object(obj)
        assert isinstance(sync, Sync)
        if self.answerer is None:
            items = self.negotiation.receive(sync, step["now"])
        else:
            started, items = self.answerer.receive(sync, step["now"])
            assert (started is not None) == step["started"]
            replaced = started.replaced if started else None
            assert (replaced.negotiation if replaced else None) == step["replaced"]
        assert [messages.item_object(item) for item in items] == step["items"]


@pytest.mark.parametrize("script", load("negotiation"), ids=lambda s: s["name"])
def test_script(script: Any) -> None:
    machine = Script(script)
    for step in script["steps"]:
        machine.run(step)


def test_a_long_list_goes_out_in_frames_of_bounded_size() -> None:
    negotiation = Negotiation(PAGE, HOST, ID)
    said = [Offer("v" * 40_000) for _ in range(10)]
    for item in said:
        negotiation.say(item)
    sent: list[Item] = []
    while (sync := negotiation.poll(0.0)) is not None:
        assert len(messages.encode(sync)) < messages.MAX_MESSAGE_BYTES
        assert sync.at == len(sent)
        sent += sync.items
    assert sent == said


def test_a_full_list_takes_no_more() -> None:
    negotiation = Negotiation(PAGE, HOST, ID)
    for _ in range(messages.MAX_ITEMS):
        negotiation.say(Candidate(""))
    with pytest.raises(LogFullError):
        negotiation.say(Candidate(""))


def test_more_items_than_a_list_may_have_are_not_applied() -> None:
    negotiation = Negotiation(PAGE, HOST, ID)
    whole = tuple(Candidate("") for _ in range(messages.MAX_ITEMS))
    assert len(negotiation.receive(Sync(PAGE, HOST, ID, 0, whole, 0), 0.0)) == messages.MAX_ITEMS
    assert negotiation.receive(Sync(PAGE, HOST, ID, messages.MAX_ITEMS, whole, 0), 0.0) == ()


class LossyRelay(RuleBasedStateMachine):
    """Two sides over a relay that loses, doubles, delays and reorders; both logs must arrive whole."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.page = Negotiation(PAGE, HOST, ID)
        self.host = Answerer(HOST, PAGE)
        self.said: dict[PeerId, list[Item]] = {PAGE: [], HOST: []}
        self.applied: dict[PeerId, list[Item]] = {PAGE: [], HOST: []}
        self.wire: list[Sync] = []
        self.say_page(Offer("offer"))

    def say_page(self, item: Item) -> None:
        self.page.say(item)
        self.said[PAGE].append(item)
        self.drain()

    def drain(self) -> None:
        for side in (self.page, self.host.running):
            while side is not None and (sync := side.poll(self.now)) is not None:
                self.wire.append(sync)

    def deliver(self, sync: Sync) -> None:
        if sync.to == HOST:
            self.applied[HOST] += self.host.receive(sync, self.now)[1]
        else:
            self.applied[PAGE] += self.page.receive(sync, self.now)
        self.drain()

    @precondition(lambda self: len(self.said[PAGE]) < 40)
    @rule()
    def page_says(self) -> None:
        self.say_page(Candidate(f"p{len(self.said[PAGE])}"))

    @precondition(lambda self: self.host.running is not None and len(self.said[HOST]) < 40)
    @rule()
    def host_says(self) -> None:
        assert self.host.running is not None
        item = Candidate(f"h{len(self.said[HOST])}")
        self.host.running.say(item)
        self.said[HOST].append(item)
        self.drain()

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "lose", "double"]))
    def relay(self, data: st.DataObject, fate: str) -> None:
        index = data.draw(st.integers(0, len(self.wire) - 1))
        sync = self.wire[index] if fate == "double" else self.wire.pop(index)
        if fate != "lose":
            self.deliver(sync)

    @rule(seconds=st.floats(0.01, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.drain()

    @rule()
    def signaling_reconnects(self) -> None:
        self.wire.clear()
        self.page.reconnected()
        if self.host.running is not None:
            self.host.running.reconnected()
        self.drain()

    @invariant()
    def what_is_applied_is_a_prefix_of_what_was_said(self) -> None:
        assert self.applied[HOST] == self.said[PAGE][: len(self.applied[HOST])]
        assert self.applied[PAGE] == self.said[HOST][: len(self.applied[PAGE])]

    def teardown(self) -> None:
        """Once the network is whole again, everything arrives and both sides fall silent."""
        for _ in range(200):
            wire, self.wire = self.wire, []
            for sync in wire:
                self.deliver(sync)
            sides = [side for side in (self.page, self.host.running) if side is not None]
            deadlines = [d for side in sides if (d := side.next_deadline()) is not None]
            if not self.wire and not deadlines:
                break
            self.now = max(self.now, min(deadlines, default=self.now))
            self.drain()
        assert self.applied == {HOST: self.said[PAGE], PAGE: self.said[HOST]}
        assert not self.wire
        assert self.page.settled
        assert self.page.next_deadline() is None


LossyRelay.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, derandomize=True
)
TestLossyRelay = LossyRelay.TestCase
