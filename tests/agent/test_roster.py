"""The host's view of its room: what frames make of it, without a socket or a clock."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.roster import MAX_REMOTES, Event, Left, Offered, Roster, Trickled
from cluster.protocol import messages
from cluster.protocol.messages import (
    Answer,
    Candidate,
    Control,
    Limits,
    MessageError,
    Offer,
    PeerId,
    RoomId,
    Sync,
    Welcome,
)
from cluster.protocol.negotiation import Negotiation
from tests.fuzz import fuzz_cases

ME, PAGE, OTHER = (PeerId(letter * 22) for letter in "hpo")
FIRST, SECOND = "1" * 22, "2" * 22


def welcome(peer: PeerId = ME, *, resumed: bool = False) -> Welcome:
    return Welcome(peer, RoomId("desk"), "host", "s", "r", resumed, (), Limits(262144, 200))


def joined(peer: PeerId, role: str = "player", dialect: str = "tightbeam") -> str:
    return json.dumps({"type": "peer-joined", "peer": peer, "role": role, "dialect": dialect})


def left(peer: PeerId, reason: str) -> str:
    return json.dumps({"type": "peer-left", "peer": peer, "reason": reason})


def frames(page: Negotiation, now: float) -> list[str]:
    found = []
    while (sync := page.poll(now)) is not None:
        found.append(messages.encode(sync))
    return found


def give(roster: Roster, listed: list[str], now: float = 0.0) -> list[Event]:
    return [event for frame in listed for event in roster.receive(frame, now)]


@pytest.fixture
def roster() -> Roster:
    roster = Roster()
    assert roster.welcome(welcome()) == []
    assert give(roster, [joined(PAGE)]) == []
    return roster


def test_fresh_ice_servers_replace_those_of_the_welcome(roster: Roster) -> None:
    servers = [{"urls": "turn:a", "username": "u", "credential": "c"}]
    assert give(roster, [json.dumps({"type": "ice-servers", "iceServers": servers})]) == []
    assert roster.ice_servers == tuple(servers)
    roster.welcome(welcome(resumed=True))
    assert roster.ice_servers == ()


def test_an_offer_its_candidates_and_the_answer(roster: Roster) -> None:
    page = Negotiation(PAGE, ME, FIRST)
    page.say(Offer("v=0"))
    page.say(Candidate("c1", "0", 0))
    assert give(roster, frames(page, 0.0)) == [
        Offered(PAGE, "player", FIRST, "v=0"),
        Trickled(PAGE, FIRST, Candidate("c1", "0", 0)),
    ]
    assert roster.say(PAGE, FIRST, Answer("v=1"))
    (frame,) = roster.poll(0.0)
    sync = messages.parse(frame)
    assert isinstance(sync, Sync)
    assert page.receive(sync, 0.0) == (Answer("v=1"),)
    assert page.settled


def test_what_is_not_acknowledged_is_sent_again(roster: Roster) -> None:
    page = Negotiation(PAGE, ME, FIRST)
    page.say(Offer("v=0"))
    give(roster, frames(page, 0.0))
    roster.say(PAGE, FIRST, Answer("v=1"))
    assert len(list(roster.poll(0.0))) == 1
    deadline = roster.next_deadline()
    assert deadline is not None
    assert list(roster.poll(deadline - 0.01)) == []
    assert len(list(roster.poll(deadline))) == 1
    roster.welcome(welcome(resumed=True))
    assert len(list(roster.poll(deadline))) == 1


def test_a_reload_replaces_and_late_answers_of_the_old_one_go_nowhere(roster: Roster) -> None:
    for name in (FIRST, SECOND):
        page = Negotiation(PAGE, ME, name)
        page.say(Offer("v=0"))
        assert give(roster, frames(page, 0.0)) == [Offered(PAGE, "player", name, "v=0")]
    assert not roster.say(PAGE, FIRST, Answer("v=1"))
    assert roster.say(PAGE, SECOND, Answer("v=1"))
    old = Negotiation(PAGE, ME, FIRST)
    old.say(Offer("v=0"))
    assert give(roster, frames(old, 1.0)) == []


def test_a_control_reaches_the_page_after_a_newer_offer_that_came_to_nothing(
    roster: Roster,
) -> None:
    for name in (FIRST, SECOND):
        page = Negotiation(PAGE, ME, name)
        page.say(Offer("v=0"))
        give(roster, frames(page, 0.0))
    control = Control("notice", {"message": "There is no sound."})
    assert roster.say(PAGE, FIRST, control)
    assert not roster.say(PAGE, FIRST, Candidate("late"))
    (frame,) = roster.poll(0.0)
    sync = messages.parse(frame)
    assert isinstance(sync, Sync)
    assert page.receive(sync, 0.0) == (control,)


def test_frames_of_strangers_and_for_others_are_ignored(roster: Roster) -> None:
    for sender, to in ((OTHER, ME), (PAGE, OTHER)):
        page = Negotiation(sender, to, FIRST)
        page.say(Offer("v=0"))
        assert give(roster, frames(page, 0.0)) == []


def test_what_a_page_does_not_say_is_ignored(roster: Roster) -> None:
    page = Negotiation(PAGE, ME, FIRST)
    for item in (Offer("v=0"), Offer("v=2"), Answer("v=3"), Control("reboot")):
        page.say(item)
    assert give(roster, frames(page, 0.0)) == [Offered(PAGE, "player", FIRST, "v=0")]


def test_leaving_is_told_with_its_reason(roster: Roster) -> None:
    assert give(roster, [left(PAGE, "bye")]) == [Left(PAGE, "bye")]
    assert not roster.say(PAGE, FIRST, Answer("v=1"))
    assert give(roster, [left(OTHER, "lost")]) == [Left(OTHER, "lost")]


def test_a_lost_peer_that_is_back_goes_on_with_its_log(roster: Roster) -> None:
    page = Negotiation(PAGE, ME, FIRST)
    page.say(Offer("v=0"))
    give(roster, frames(page, 0.0))
    assert give(roster, [left(PAGE, "lost")]) == [Left(PAGE, "lost")]
    assert roster.say(PAGE, FIRST, Answer("v=1"))
    assert list(roster.poll(1.0)) == []  # nobody is there to hear it
    assert roster.next_deadline() is None
    give(roster, [joined(PAGE)])
    page.say(Candidate("c"))
    page.reconnected()
    assert give(roster, frames(page, 2.0)) == [Trickled(PAGE, FIRST, Candidate("c"))]
    (answer,) = (messages.parse(frame) for frame in roster.poll(2.0))
    assert isinstance(answer, messages.Sync)
    assert page.receive(answer, 2.0) == (Answer("v=1"),)


def test_a_new_identity_makes_everybody_lost_and_met_again(roster: Roster) -> None:
    assert roster.welcome(welcome(OTHER)) == [Left(PAGE, "lost")]
    assert give(roster, [joined(PAGE)]) == []
    page = Negotiation(PAGE, OTHER, FIRST)
    page.say(Offer("v=0"))
    assert give(roster, frames(page, 0.0)) == [Offered(PAGE, "player", FIRST, "v=0")]


def test_a_log_that_is_full_refuses(roster: Roster) -> None:
    page = Negotiation(PAGE, ME, FIRST)
    page.say(Offer("v=0"))
    give(roster, frames(page, 0.0))
    said = [roster.say(PAGE, FIRST, Candidate(str(n))) for n in range(300)]
    assert sum(said) == messages.MAX_ITEMS


def test_a_plain_peer_is_served_through_the_node() -> None:
    roster = Roster()
    roster.welcome(welcome())
    give(roster, [joined(PAGE, dialect="plain")])
    offer = json.dumps({"type": "offer", "sdp": "v=0", "from": PAGE})
    (first,) = give(roster, [offer])
    assert isinstance(first, Offered)
    candidate = json.dumps({"type": "candidate", "candidate": "c", "sdpMid": None, "from": PAGE})
    assert give(roster, [candidate]) == [Trickled(PAGE, first.negotiation, Candidate("c"))]
    assert roster.say(PAGE, first.negotiation, Answer("v=1"))
    (frame,) = roster.poll(0.0)
    assert json.loads(frame) == {"type": "answer", "sdp": "v=1", "to": PAGE, "from": ME}
    (second,) = give(roster, [offer])
    assert isinstance(second, Offered)
    assert not roster.say(PAGE, first.negotiation, Answer("v=1"))


def test_what_was_said_of_a_plain_peers_first_connection_was_lost_after_its_second_offer() -> None:
    roster = Roster()
    roster.welcome(welcome())
    give(roster, [joined(PAGE, dialect="plain")])
    offer = json.dumps({"type": "offer", "sdp": "v=0", "from": PAGE})
    first, _ = give(roster, [offer, offer])
    assert isinstance(first, Offered)
    assert roster.say(PAGE, first.negotiation, Control("renegotiate", {"keep": True}))
    (frame,) = roster.poll(0.0)
    said = {"type": "control", "action": "renegotiate", "payload": {"keep": True}}
    assert json.loads(frame) == {**said, "to": PAGE, "from": ME}


def test_a_peer_may_leave_while_the_caller_is_still_sending(roster: Roster) -> None:
    give(roster, [joined(OTHER)])
    for peer in (PAGE, OTHER):
        page = Negotiation(peer, ME, FIRST)
        page.say(Offer("v=0"))
        give(roster, frames(page, 0.0))
        assert roster.say(peer, FIRST, Answer("v=1"))
    sending = roster.poll(0.0)
    assert json.loads(next(sending))["to"] == PAGE
    assert give(roster, [left(PAGE, "bye"), joined(PeerId("x" * 22))]) == [Left(PAGE, "bye")]
    assert [json.loads(frame)["to"] for frame in sending] == [OTHER]


def test_no_more_peers_are_remembered_than_a_room_holds(roster: Roster) -> None:
    many = [PeerId(f"{n:022d}") for n in range(2 * MAX_REMOTES)]
    events = give(roster, [joined(peer) for peer in many])
    assert [event.peer for event in events] == [PAGE, *many[:MAX_REMOTES]]


_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.just(PAGE) | st.just(ME),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
_keys = st.sampled_from(
    ["peer", "role", "dialect", "reason", "to", "from", "negotiation", "at", "items", "has", "sdp",
     "candidate", "code", "message", "afterMs"]
)  # fmt: skip
_types = st.sampled_from([*messages.MESSAGE_FIELDS, *messages.ITEM_FIELDS, "nothing"])


@fuzz_cases(2000)
@given(_types, st.dictionaries(_keys, _values, max_size=8))
def test_any_frame_is_taken_or_refused_with_the_one_error(kind: str, rest: dict[str, Any]) -> None:
    roster = Roster()
    roster.welcome(welcome())
    give(roster, [joined(PAGE)])
    try:
        roster.receive(json.dumps({"type": kind, **rest}), 0.0)
    except MessageError:
        return
    list(roster.poll(0.0))
