"""The negotiation log against the shared vectors, and its bounds; test_relay.py has the faults of the network."""

from typing import Any

import pytest

from cluster.protocol import messages
from cluster.protocol.messages import Candidate, Control, Item, Offer, PeerId, Sync
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
        replaces = tuple(script.get("replaces", ()))
        self._negotiation = Negotiation(me, other, script["negotiation"], replaces)

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


def test_items_are_cut_into_frames_by_what_they_take_on_the_wire() -> None:
    negotiation = Negotiation(PAGE, HOST, ID)
    said = [Control("a", {"padding": "é" * 10_000}) for _ in range(10)]
    for item in said:
        negotiation.say(item)
    sent: list[Item] = []
    while (sync := negotiation.poll(0.0)) is not None:
        assert len(messages.encode(sync)) < messages.MAX_MESSAGE_BYTES
        sent += sync.items
    assert sent == said


def test_an_item_that_no_frame_can_carry_is_refused_when_it_is_said() -> None:
    negotiation = Negotiation(PAGE, HOST, ID, tuple(f"{n:022}" for n in range(20))[-16:])
    negotiation.say(Offer("é" * 43_000))
    sync = negotiation.poll(0.0)
    assert sync is not None
    assert len(messages.encode(sync)) < messages.MAX_MESSAGE_BYTES
    with pytest.raises(LogFullError, match="bytes as JSON"):
        negotiation.say(Offer("é" * 45_000))


def test_offer_held_up_in_a_node_does_not_replace_the_one_after_it() -> None:
    first = Negotiation(PAGE, HOST, "a" * 22)
    first.say(Offer("first"))
    held_up = first.poll(0.0)
    assert held_up is not None
    second = Negotiation(PAGE, HOST, "b" * 22, first.leaves())
    second.say(Offer("second"))
    offer = second.poll(0.0)
    assert offer is not None
    host = Answerer(HOST, PAGE)
    assert host.receive(offer, 0.0)[0] is not None
    assert host.receive(held_up, 0.0) == (None, ())
    assert host.running is not None
    assert host.running.negotiation == second.negotiation


def test_what_the_other_has_not_begun_is_named_until_it_is_heard_of() -> None:
    before: tuple[str, ...] = ()
    for number in range(messages.MAX_REPLACES + 2):
        negotiation = Negotiation(PAGE, HOST, f"{number:022}", before)
        before = negotiation.leaves()
    assert before == tuple(f"{number:022}" for number in range(2, messages.MAX_REPLACES + 2))
    negotiation.receive(Sync(PAGE, HOST, negotiation.negotiation, 0, (), 0), 0.0)
    assert negotiation.leaves() == ()
