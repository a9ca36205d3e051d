"""The negotiation log under every fault that a relay can have, chosen by hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from cluster.protocol.messages import Candidate, Control, Item
from tests.fuzz import LIMIT_S, fuzz_profile
from tests.protocol.relay import World

MOST_SAID = 40
MOST_BEGUN = 20
SIZES = st.sampled_from([0] * 12 + [30_000, 60_000])


def _item(name: str, size: int) -> Item:
    return Control(name, {"padding": "é" * (size // 6)}) if size else Candidate(name)


class Relay(RuleBasedStateMachine):
    """One run of the model; each rule is one thing that happens."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()

    def make_world(self) -> World:
        return World()

    @rule(size=SIZES)
    def page_says(self, size: int) -> None:
        said = self.world.said_by_page
        if len(said) < MOST_SAID:
            self.world.page_says(_item(f"p{len(said)}", size))

    @precondition(lambda self: self.world.host.running is not None)
    @rule(size=SIZES)
    def host_says(self, size: int) -> None:
        said = self.world.said_by_host
        if len(said) < MOST_SAID:
            self.world.host_says(_item(f"h{len(said)}", size))

    @precondition(lambda self: self.world.wire)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "lose", "double"]))
    def relay(self, data: st.DataObject, fate: str) -> None:
        wire = self.world.wire
        index = data.draw(st.integers(0, len(wire) - 1))
        sync = wire[index] if fate == "double" else wire.pop(index)
        if fate != "lose":
            self.world.deliver(sync)

    @rule(seconds=st.floats(0.01, 0.2) | st.floats(0.01, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def time_passes_until_something_is_due(self) -> None:
        self.world.pass_to_deadline()

    @rule()
    def nodes_die(self) -> None:
        self.world.lose_nodes()

    @rule()
    def page_loses_its_socket(self) -> None:
        self.world.page_goes()

    @rule()
    def page_reconnects(self) -> None:
        self.world.page_reconnects()

    @rule()
    def page_starts_anew(self) -> None:
        if len(self.world.begun) < MOST_BEGUN:
            self.world.start_anew()

    @rule()
    def host_ends_the_session(self) -> None:
        self.world.host_ends()

    def teardown(self) -> None:
        self.world.settle()


Relay.TestCase.settings = fuzz_profile(500, steps=60)
TestRelay = pytest.mark.timeout(LIMIT_S)(pytest.mark.fuzz(Relay.TestCase))
