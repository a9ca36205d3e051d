"""The counting and the conversations of the load tests, without sockets."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.protocol import messages
from cluster.protocol.messages import Item
from loadtests import marks
from loadtests.conversation import ANSWER_LIMIT_S, Conversation, End, Script
from loadtests.lobby import Lobby, NoRoomError
from loadtests.marks import Mark, Voice
from loadtests.plan import USERS_AT, Plan, drops
from loadtests.receipt import Receipt
from loadtests.tally import Tallies, Tally

SCRIPT = Script(candidates=4, sdp_bytes=600, hold_s=3.0, talk_every_s=1.0)


@given(st.lists(st.integers(0, 12), max_size=40))
def test_receipt_counts_as_the_plain_definitions_do(numbers: list[int]) -> None:
    receipt = Receipt()
    firsts = [receipt.take(number) for number in numbers]
    different = set(numbers)
    assert firsts == [number not in numbers[:at] for at, number in enumerate(numbers)]
    assert receipt.received == len(different)
    assert receipt.doubled == len(numbers) - len(different)
    assert receipt.reordered == sum(
        number < max(numbers[:at], default=-1) and number not in numbers[:at]
        for at, number in enumerate(numbers)
    )
    assert receipt.skipped == max(numbers, default=-1) + 1 - len(different)
    assert receipt.lost(13) == 13 - len(different)


def test_every_item_carries_its_mark_through_the_codec_of_both_dialects() -> None:
    voice, other = Voice("a" * 22, 3000), "b" * 22
    offer = voice.offer()
    items: list[Item] = [
        offer,
        voice.answer(other),
        voice.candidate(),
        voice.talk(),
        voice.done(),
    ]
    sent = [messages.parse_item(messages.decode_object(messages.encode(item))) for item in items]
    assert [marks.read(item) for item in sent] == [
        Mark("a" * 22, 0),
        Mark("a" * 22, 1, answers=other),
        Mark("a" * 22, 2),
        Mark("a" * 22, 3),
        Mark("a" * 22, 4, done=True),
    ]
    assert 2900 < len(offer.sdp) <= 3000


@pytest.mark.parametrize(
    "item",
    [
        messages.Candidate(""),
        messages.Candidate(f"x-load {'a' * 22} 9999999"),
        messages.Control("load-done", {"x-load": 1}),
        messages.Offer("v=0"),
    ],
)
def test_what_somebody_else_says_is_not_counted(item: Item) -> None:
    assert marks.read(item) is None


class Pair:
    """A caller and a callee, with a relay between them that can be told what to do with the n-th item up."""

    def __init__(self, relay: Callable[[list[Item]], list[Item]] = list) -> None:
        self.up: list[Item] = []
        self.down: list[Item] = []
        voices = [Voice(secrets.token_urlsafe(16), SCRIPT.sdp_bytes) for _ in range(2)]
        self.caller = Conversation(SCRIPT, voices[0], self.up.append, calls=True)
        self.callee = Conversation(SCRIPT, voices[1], self.down.append, calls=False)
        self.relay = relay

    def run(self, seconds: int) -> Tally:
        """Second by second; the callee's count."""
        self.caller.begin(0.0)
        for now in range(seconds):
            up, self.up[:] = self.relay(self.up), []
            for item in up:
                self.callee.hear(item, now)
            down = list(self.down)
            self.down.clear()
            for item in down:
                self.caller.hear(item, now)
            self.caller.advance(now)
            self.callee.advance(now)
        tally = Tally()
        self.callee.close(End.UNFINISHED, tally)
        return tally


def test_a_session_without_faults_is_whole_on_both_sides() -> None:
    pair = Pair()
    tally = pair.run(8)
    assert pair.caller.whole
    assert tally == Tally(items=1 + 4 + 2 + 1)
    own = Tally()
    pair.caller.close(End.UNFINISHED, own)
    assert (own.sessions, own.lost, own.unfinished) == (1, 0, 0)


def test_the_last_item_says_how_many_there_were() -> None:
    def drop_talks(items: list[Item]) -> list[Item]:
        return [i for i in items if getattr(i, "action", "") != marks.TALK]

    tally = Pair(drop_talks).run(8)
    assert (tally.lost, tally.unfinished) == (2, 0)


def test_a_lost_end_is_a_session_that_is_not_finished() -> None:
    def drop_done(items: list[Item]) -> list[Item]:
        return [i for i in items if getattr(i, "action", "") != marks.DONE]

    tally = Pair(drop_done).run(8)
    assert (tally.lost, tally.unfinished) == (0, 1)


def test_doubled_and_reordered_items_are_counted() -> None:
    tally = Pair(lambda items: [*items[:2], *items[:1:-1], *items[:1]]).run(8)
    assert tally.doubled > 0
    assert tally.reordered > 0


def test_an_offer_that_nobody_answers_has_a_limit() -> None:
    voice = Voice("a" * 22, 300)
    caller = Conversation(SCRIPT, voice, lambda _: None, calls=True)
    caller.begin(5.0)
    assert caller.next_deadline() == 5.0 + ANSWER_LIMIT_S
    assert caller.advance(5.0 + ANSWER_LIMIT_S - 0.1)
    assert not caller.advance(5.0 + ANSWER_LIMIT_S)


def test_a_session_that_would_not_fit_into_a_log_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="longer --talk-every"):
        Script(hold_s=600.0, talk_every_s=1.0)


def test_the_lobby_gives_each_open_room_one_guest_and_a_room_anew_when_its_guest_has_gone() -> None:
    lobby = Lobby("r")
    first, second = lobby.host(), lobby.host()
    assert first != second
    assert lobby.guest() is None
    lobby.open(first)
    lobby.open(first)
    assert (lobby.guest(), lobby.guest()) == (first, None)
    lobby.leave(first)
    assert lobby.guest() == first
    lobby.close(first)
    lobby.leave(first)
    assert lobby.guest() is None
    assert lobby.host() == first


def test_a_list_of_rooms_ends() -> None:
    lobby = Lobby("r", ["one"])
    assert lobby.host() == "one"
    with pytest.raises(NoRoomError, match="all 1 rooms"):
        lobby.host()


def test_counts_of_workers_add_up() -> None:
    here, there = Tallies(), Tallies()
    there.by_dialect["plain"].lost = 2
    there.by_dialect["tightbeam"].sessions = 3
    for _ in range(2):
        here.add(there.take())  # the second time there is nothing
    assert here.by_dialect["plain"].lost == 2
    assert here.csv().splitlines()[1] == "tightbeam,3,0,0,0,0,0,0"


def test_shapes() -> None:
    plan = Plan(users=90, rate=30, run_s=93, steps=3)
    assert [USERS_AT["step"](plan, at) for at in (0, 30, 32, 63, 92)] == [30, 30, 60, 90, 90]
    assert [USERS_AT["spike"](plan, at) for at in (0, 12, 25, 43, 92)] == [18, 90, 18, 90, 18]
    assert USERS_AT["ramp-hold"](plan, 92) == 90
    storm = drops("reconnect-storm", plan)
    assert [(drop.at_s, drop.groups) for drop in storm] == [(25.5, 1), (48.0, 1), (70.5, 1)]
    restart = drops("rolling-restart", plan)
    assert [(drop.group, drop.groups) for drop in restart] == [(0, 3), (1, 3), (2, 3)]
    assert drops("step", plan) == []
