"""Gamepads from the `input` channel to the host's devices: bytes, guard, and a session's end of it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.input import pad_link
from agent.input.base import InputUnavailable
from agent.input.events import InputError
from agent.input.gamepad import OnRumble
from agent.input.guard import Role
from agent.input.pad_events import (
    NEUTRAL,
    PadState,
    decode_pads,
    encode_pads_ack,
    encode_rumble,
    is_pads,
)
from agent.input.pad_guard import STATES_PER_S, PadCall, PadGuard, Plug, SetPad, Unplug
from agent.input.pad_link import STILL_REPEATS, PadLink
from agent.input.pads import AGAIN_S, FULL, Owner, Pads
from tests import vectors
from tests.agent.browser import until
from tests.eventually import eventually
from tests.fuzz import fuzz_cases
from tests.input import browser
from tests.input.browser import PAD_KEYS, Json, pad_state

VECTORS = vectors.load("pads")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
FROM_BROWSER = [row for row in VECTORS["valid"] if row["message"]["type"] == "pads"]
A = PadState(1, 0, 0, 0, 0, 0, 0)
PRESSED, STILL = pad_state(buttons=1), pad_state()


def of(state: Json) -> PadState:
    return PadState(*(state[key] for key in PAD_KEYS))


# The bytes


@pytest.mark.parametrize("row", VECTORS["valid"], ids=lambda row: row["name"])
def test_both_languages_mean_the_same_bytes(row: dict[str, Any]) -> None:
    message = row["message"]
    if message["type"] == "pads-ack":
        assert encode_pads_ack(message["next"]).hex() == row["hex"]
    elif message["type"] == "rumble":
        values = (message[key] for key in ("stamp", "pad", "strong", "weak"))
        assert encode_rumble(*values).hex() == row["hex"]
    else:
        seen = decode_pads(bytes.fromhex(row["hex"]))
        assert (seen.stamp, seen.first) == (message["stamp"], message["first"])
        for told, expected in (
            (seen.changes, message["changes"]), (seen.newest, message["newest"])
        ):  # fmt: skip
            assert [(entry.pad, entry.state) for entry in told] == [
                (entry["pad"], of(entry["state"])) for entry in expected
            ]


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: row["name"])
def test_an_invalid_message_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        decode_pads(bytes.fromhex(row["hex"]))


@pytest.mark.parametrize("row", FROM_BROWSER, ids=lambda row: row["name"])
def test_every_shorter_and_longer_form_is_refused(row: dict[str, Any]) -> None:
    whole = bytes.fromhex(row["hex"])
    assert is_pads(whole)
    for size in range(len(whole)):
        with pytest.raises(InputError):
            decode_pads(whole[:size])
    with pytest.raises(InputError):
        decode_pads(whole + b"\0")


@fuzz_cases(1500)
@given(
    st.binary(max_size=900)
    | st.binary(max_size=900).map(lambda tail: b"\x01\x04" + tail)
    | st.tuples(
        st.sampled_from([bytes.fromhex(row["hex"]) for row in FROM_BROWSER]),
        st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=8),
    ).map(lambda pair: damaged(*pair))
)
def test_any_bytes_decode_within_their_ranges_or_raise_the_one_error(payload: bytes) -> None:
    try:
        message = decode_pads(payload)
    except InputError:
        return
    for entry in (*message.changes, *message.newest):
        assert 0 <= entry.pad < 4
        assert entry.state.buttons < 1 << 17
    assert len(message.newest) <= 4
    assert len(payload) == 12 + 15 * (len(message.changes) + len(message.newest))


def damaged(payload: bytes, damage: list[tuple[int, int]]) -> bytes:
    changed = bytearray(payload)
    for place, value in damage:
        changed[place % len(changed)] = value
    return bytes(changed)


def test_the_examples_of_the_document_are_what_both_sides_say() -> None:
    block = DOCUMENT.partition("```pads\n")[2].partition("```")[0]
    press, ack, again, rumble = (
        bytes.fromhex(line.partition(": ")[2]) for line in block.strip().splitlines()
    )
    calls, following = receive(PadGuard("player"), press, 0.0)
    assert calls == [Plug(0), SetPad(0, A), SetPad(0, NEUTRAL)]
    assert following is not None
    assert encode_pads_ack(following) == ack
    assert encode_rumble(1, 0, 0xFFFF, 0) == rumble
    former, guard = PadGuard("player"), PadGuard("player")
    receive(former, browser.pads(57, {0: STILL}, [(0, STILL)], 12), 0.0)
    guard.succeed(former, decode_pads(again).stamp)
    calls, following = receive(guard, again, 1.0)
    assert calls == [SetPad(0, replace(NEUTRAL, buttons=2)), SetPad(0, NEUTRAL)]
    assert following == 15


# The guard


def receive(guard: PadGuard, payload: bytes, now: float) -> tuple[list[PadCall], int | None]:
    """Both halves, as if plugging in took no time."""
    message = decode_pads(payload)
    calls = guard.connect(message, now)
    if calls is None:
        return [], None
    more, following = guard.apply(message, guard.connected)
    return [*calls, *more], following


def test_a_press_that_is_over_when_it_arrives_is_felt_and_told_once() -> None:
    guard = PadGuard("player")
    short = [(0, PRESSED), (0, STILL)]
    calls, following = receive(guard, browser.pads(1, {0: STILL}, short), 0.0)
    assert calls == [Plug(0), SetPad(0, A), SetPad(0, NEUTRAL)]
    assert following == 3
    calls, following = receive(guard, browser.pads(2, {0: STILL}, short), 0.1)
    assert (calls, following) == ([], 3)


def test_the_newest_state_wins_and_what_was_overtaken_is_dropped() -> None:
    guard = PadGuard("player")
    receive(guard, browser.pads(5, {0: pad_state(leftX=100)}), 0.0)
    assert receive(guard, browser.pads(4, {0: pad_state(leftX=-100)}), 0.0) == ([], None)
    assert receive(guard, browser.pads(6, {}), 0.0) == ([Unplug(0)], None)
    assert receive(guard, browser.pads(5, {0: STILL}), 0.0) == ([], None)


def test_changes_that_were_never_seen_are_no_obstacle() -> None:
    """The page gives up the oldest of more than 32."""
    guard = PadGuard("player")
    calls, following = receive(guard, browser.pads(1, {0: STILL}, [(0, PRESSED)], 900), 0.0)
    assert calls == [Plug(0), SetPad(0, A), SetPad(0, NEUTRAL)]
    assert following == 901


def test_a_change_is_felt_once_while_another_pad_keeps_it_from_being_acknowledged() -> None:
    guard = PadGuard("player")
    receive(guard, browser.pads(1, {0: STILL}), 0.0)
    tap = [(0, PRESSED), (1, PRESSED), (0, STILL)]
    told = [decode_pads(browser.pads(2 + n, {0: STILL, 1: PRESSED}, tap)) for n in range(3)]
    assert guard.connect(told[0], 0.0) == [Plug(1)]
    assert guard.apply(told[0], {0}) == ([SetPad(0, A), SetPad(0, NEUTRAL)], None)
    assert guard.connect(told[1], 0.0) == []
    assert guard.apply(told[1], {0}) == ([], None)
    assert guard.connect(told[2], 0.0) == []
    assert guard.apply(told[2], {0, 1}) == ([SetPad(1, A)], 4)


def test_silence_lets_go_of_everything_and_the_next_word_presses_it_again() -> None:
    guard = PadGuard("player")
    receive(guard, browser.pads(1, {0: PRESSED, 2: STILL}, [(0, PRESSED)]), 10.0)
    assert guard.next_deadline() == pytest.approx(10.3)
    assert guard.expire(10.29) == []
    assert guard.expire(10.31) == [SetPad(0, NEUTRAL)]
    assert guard.next_deadline() is None
    calls, _ = receive(guard, browser.pads(2, {0: PRESSED, 2: STILL}, [(0, PRESSED)]), 11.0)
    assert calls == [SetPad(0, A)]
    assert guard.counts.silences == 1


@pytest.mark.parametrize("row", VECTORS["taken-over"], ids=lambda row: row["name"])
def test_a_second_connection_takes_over_and_says_again_what_was_not_heard(row: Json) -> None:
    former, guard = PadGuard("player"), PadGuard("player")
    receive(former, bytes.fromhex(row["heard"]), 0.0)
    says = bytes.fromhex(row["says"])
    guard.succeed(former, decode_pads(says).stamp)
    calls, following = receive(guard, says, 1.0)
    assert calls == [SetPad(0, of(state)) for state in row["states"]]
    assert following is not None
    assert receive(former, browser.pads(99, {}), 1.0) == ([], None)  # it has none any more


def test_a_page_that_begins_its_numbers_anew_is_felt_on_a_second_connection() -> None:
    former, guard = PadGuard("player"), PadGuard("player")
    receive(former, browser.pads(50, {0: STILL}, [(0, PRESSED), (0, STILL)], 30), 0.0)
    anew = browser.pads(1, {0: STILL}, [(0, PRESSED), (0, STILL)])
    guard.succeed(former, 1)
    assert receive(guard, anew, 1.0) == ([SetPad(0, A), SetPad(0, NEUTRAL)], 3)


def test_a_viewer_plugs_nothing_in() -> None:
    guard = PadGuard("viewer")
    assert receive(guard, browser.pads(1, {0: PRESSED}), 0.0) == ([], None)
    assert guard.counts.not_allowed == 1


def test_more_than_any_hand_does_waits_and_is_not_acknowledged() -> None:
    guard = PadGuard("player")
    receive(guard, browser.pads(1, {0: STILL}), 0.0)
    done = 1
    for stamp in range(2, STATES_PER_S):
        state = pad_state(leftX=stamp % 100)
        calls, following = receive(guard, browser.pads(stamp, {0: state}, [(0, state)], stamp), 0.0)
        if following is None:
            assert calls == []
            break
        done = stamp
    assert guard.counts.limited == 1
    assert 300 < done < STATES_PER_S
    calls, following = receive(
        guard, browser.pads(done + 2, {0: PRESSED}, [(0, PRESSED)], done + 1), 1.0
    )
    assert (calls, following) == ([SetPad(0, A)], done + 2)


def test_plugging_in_and_out_has_a_rate() -> None:
    guard = PadGuard("player")
    plugs = 0
    for stamp in range(1, 400):
        calls, _ = receive(guard, browser.pads(stamp, {0: STILL} if stamp % 2 else {}), 0.0)
        plugs += calls.count(Plug(0))
    assert plugs == 8


# The devices


class FakeGamepad:
    """Keeps what it is set to."""

    name: ClassVar[str] = "fake"

    def __init__(self, on_rumble: OnRumble) -> None:
        self.on_rumble = on_rumble
        self.states: list[PadState] = []
        self.closed = False
        self.broken = False

    @staticmethod
    def probe() -> str | None:
        return None

    def set(self, state: PadState) -> None:
        if self.broken:
            raise InputUnavailable("the device went away")
        self.states.append(state)

    def close(self) -> None:
        self.closed = True


class Bench:
    """The host's devices, of fakes."""

    def __init__(self) -> None:
        self.made: list[FakeGamepad] = []
        self.complaints: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.now = 100.0
        self.problem = ""
        self.pads = Pads(self._open, self.complaints.append, lambda: self.now)

    def _open(self, on_rumble: OnRumble) -> FakeGamepad:
        self.gate.wait(30)
        if self.problem:
            raise InputUnavailable(self.problem)
        self.made.append(FakeGamepad(on_rumble))
        return self.made[-1]


def nothing(strong: float, weak: float) -> None:
    pass


def test_the_host_has_four_gamepads_whoever_owns_them() -> None:
    bench = Bench()
    owners = [Owner("1", 0), Owner("1", 1), Owner("2", 0), Owner("3", 3), Owner("4", 0)]
    for owner in owners:
        bench.pads.plug(owner, nothing)
        eventually(partial(bench.pads.ready, owner))
    assert [bench.pads.set(owner, A) for owner in owners] == [True, True, True, True, False]
    assert bench.complaints == [FULL]
    bench.pads.unplug(owners[0])
    assert bench.made[0].closed
    bench.pads.plug(owners[4], nothing)
    eventually(lambda: bench.pads.ready(owners[4]))
    assert bench.pads.set(owners[4], A)
    for owner in owners:
        bench.pads.unplug(owner)
    assert all(gamepad.closed for gamepad in bench.made)


def test_a_gamepad_that_is_plugged_in_when_nobody_wants_it_any_more_is_unplugged() -> None:
    bench = Bench()
    bench.gate.clear()
    bench.pads.plug(Owner("1", 0), nothing)
    bench.pads.unplug(Owner("1", 0))
    bench.gate.set()
    eventually(lambda: bench.made and bench.made[0].closed)


def test_a_device_that_fails_is_told_in_words_once() -> None:
    def cannot(on_rumble: OnRumble) -> FakeGamepad:
        raise InputUnavailable("there is no /dev/uinput")

    complaints: list[str] = []
    pads = Pads(cannot, complaints.append)
    pads.plug(Owner("1", 0), nothing)
    eventually(lambda: pads.ready(Owner("1", 0)))
    assert not pads.set(Owner("1", 0), A)
    assert complaints == ["there is no /dev/uinput"]
    bench = Bench()
    bench.pads.plug(Owner("1", 0), nothing)
    eventually(lambda: bench.pads.ready(Owner("1", 0)))
    bench.made[0].broken = True
    assert not bench.pads.set(Owner("1", 0), A)
    assert not bench.pads.set(Owner("1", 0), NEUTRAL)
    assert bench.complaints == ["the device went away"]


def comes_again(bench: Bench, owner: Owner) -> FakeGamepad:
    """Let a second pass, and wait until it is plugged in."""
    before = len(bench.made)
    bench.now += AGAIN_S - 0.1
    assert bench.pads.ready(owner)
    assert not bench.pads.set(owner, A)
    bench.now += 0.1
    assert not bench.pads.ready(owner)
    eventually(lambda: bench.pads.ready(owner))
    assert len(bench.made) == before + 1
    return bench.made[-1]


def test_a_gamepad_that_found_no_place_never_worked_when_one_was_free() -> None:
    bench = Bench()
    owners = [Owner(str(number), 0) for number in range(5)]
    for owner in owners:
        bench.pads.plug(owner, nothing)
        eventually(partial(bench.pads.ready, owner))
    bench.now += 60
    assert bench.pads.ready(owners[4])
    bench.now -= 60
    bench.pads.unplug(owners[1])
    assert comes_again(bench, owners[4]).states == [A]
    assert bench.complaints == [FULL]


def test_a_gamepad_that_failed_once_never_worked_again_in_that_session() -> None:
    bench = Bench()
    owner = Owner("1", 0)
    bench.pads.plug(owner, nothing)
    eventually(lambda: bench.pads.ready(owner))
    bench.made[0].broken = True
    assert not bench.pads.set(owner, NEUTRAL)
    assert bench.made[0].closed
    assert comes_again(bench, owner).states == [A]
    assert bench.pads.set(owner, NEUTRAL)


def test_a_gamepad_that_cannot_be_plugged_in_is_tried_again_ever_more_seldom() -> None:
    bench = Bench()
    bench.problem = "there is no /dev/uinput"
    owner = Owner("1", 0)
    bench.pads.plug(owner, nothing)
    tried_at = [bench.now]
    for _ in range(100):
        eventually(partial(bench.pads.ready, owner))
        bench.now += 1.0
        if not bench.pads.ready(owner):
            tried_at.append(bench.now)
    gaps = [later - earlier for earlier, later in pairwise(tried_at)]
    assert gaps == [1, 2, 4, 8, 16, 30, 30]
    assert bench.complaints == ["there is no /dev/uinput"]


# A session's end


class Link:
    """A PadLink with its devices, and what it sends."""

    def __init__(
        self, role: Role = "player", bench: Bench | None = None, viewer: str = "1"
    ) -> None:
        self.bench = bench or Bench()
        self.sent: list[bytes] = []
        self.acted = 0
        self.link = PadLink(viewer, role, self.bench.pads, self.sent.append, self._act)

    def _act(self) -> None:
        self.acted += 1

    def hear(self, *arguments: Any) -> None:
        self.link.on_message(browser.pads(*arguments))

    async def plugged(self) -> FakeGamepad:
        """The first gamepad, plugged in by the message of stamp 1."""

        def there() -> bool:
            self.hear(1, {0: STILL})
            return bool(self.bench.made) and self.bench.pads.ready(Owner("1", 0))

        await until(there)
        return self.bench.made[0]


async def test_a_press_is_not_acknowledged_before_the_gamepad_is_plugged_in() -> None:
    link = Link()
    link.bench.gate.clear()
    for stamp in range(1, 4):
        link.hear(stamp, {0: PRESSED}, [(0, PRESSED)])
    assert link.sent == []
    link.bench.gate.set()
    stamps = count(4)

    def acknowledged() -> bool:
        link.hear(next(stamps), {0: PRESSED}, [(0, PRESSED)])
        return bool(link.sent)

    await until(acknowledged)
    assert link.sent == [encode_pads_ack(2)]
    assert link.bench.made[0].states == [A]
    assert link.acted == 1


async def test_a_pad_stayed_pressed_while_another_one_was_plugged_in() -> None:
    link = Link()
    gamepad = await link.plugged()
    link.hear(2, {0: PRESSED}, [(0, PRESSED)])
    link.bench.gate.clear()
    link.hear(3, {0: STILL, 1: PRESSED}, [(0, STILL), (1, PRESSED)], 2)
    assert gamepad.states == [A, NEUTRAL]
    assert link.sent == [encode_pads_ack(2)]
    link.bench.gate.set()
    await until(lambda: link.bench.pads.ready(Owner("1", 1)))
    link.hear(4, {0: STILL, 1: PRESSED}, [(0, STILL), (1, PRESSED)], 2)
    assert gamepad.states == [A, NEUTRAL]
    assert link.bench.made[1].states == [A]
    assert link.sent == [encode_pads_ack(2), encode_pads_ack(4)]


async def test_a_silent_page_presses_nothing() -> None:
    link = Link()
    gamepad = await link.plugged()
    link.hear(2, {0: PRESSED}, [(0, PRESSED)])
    assert gamepad.states == [A]
    await until(lambda: gamepad.states == [A, NEUTRAL])


async def test_a_stall_of_this_process_is_no_silence_of_the_page() -> None:
    link = Link()
    gamepad = await link.plugged()
    link.hear(2, {0: PRESSED}, [(0, PRESSED)])
    loop = asyncio.get_running_loop()
    time.sleep(0.5)  # noqa: ASYNC251 - the stall; the message below came meanwhile
    loop.call_later(0.005, link.hear, 3, {0: PRESSED})
    await asyncio.sleep(0.02)
    assert gamepad.states == [A]
    await until(lambda: gamepad.states == [A, NEUTRAL])


async def test_the_end_of_a_session_unplugs() -> None:
    link = Link()
    gamepad = await link.plugged()
    link.link.release()
    link.link.release()
    assert gamepad.closed


async def test_the_end_of_a_session_unplugs_what_is_still_being_plugged_in() -> None:
    link = Link()
    link.bench.gate.clear()
    link.hear(1, {0: STILL})
    link.link.release()
    link.bench.gate.set()
    await until(lambda: link.bench.made and link.bench.made[0].closed)


class Twice(Link):
    """The link of a page's second connection, which follows the first."""

    def __init__(self, former: Link) -> None:
        super().__init__(bench=former.bench, viewer="2")
        self.link.follow(former.link)


async def test_a_game_saw_another_gamepad_after_make_before_break() -> None:
    first = Link()
    gamepad = await first.plugged()
    first.hear(2, {0: PRESSED}, [(0, PRESSED)])
    second = Twice(first)
    first.link.release()  # its session ends as soon as the second is connected
    assert gamepad.states == [A, NEUTRAL]
    second.hear(3, {0: PRESSED})
    assert gamepad.states == [A, NEUTRAL, A]
    gamepad.on_rumble(1.0, 0.0)
    await until(lambda: second.sent)
    first.hear(4, {0: STILL}, [(0, STILL)], 2)  # was under way for long
    first.link.release()
    assert gamepad.states == [A, NEUTRAL, A]
    assert first.sent == [encode_pads_ack(2)]
    assert len(first.bench.made) == 1
    assert not gamepad.closed
    second.link.release()
    assert gamepad.closed


async def test_a_button_that_is_held_over_a_hand_over_stays_down() -> None:
    first = Link()
    gamepad = await first.plugged()
    first.hear(2, {0: PRESSED}, [(0, PRESSED)])
    second = Twice(first)
    second.hear(3, {0: PRESSED})
    first.link.release()
    assert gamepad.states == [A]
    await until(lambda: gamepad.states == [A, NEUTRAL])  # a silence of the second one
    second.link.release()


async def test_a_gamepad_that_no_second_connection_takes_over_is_unplugged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pad_link, "KEPT_S", 0.1)
    first = Link()
    gamepad = await first.plugged()
    second = Twice(first)
    first.link.release()
    assert not gamepad.closed
    await until(lambda: gamepad.closed)
    second.hear(9, {0: STILL})
    await until(lambda: len(first.bench.made) == 2)
    second.link.release()
    await until(lambda: first.bench.made[1].closed)


async def test_a_second_connection_that_fails_leaves_the_gamepad_to_the_first() -> None:
    first = Link()
    gamepad = await first.plugged()
    Twice(first).link.release()
    third = Twice(first)
    first.hear(2, {0: PRESSED}, [(0, PRESSED)])
    assert gamepad.states == [A]
    first.link.release()
    assert not gamepad.closed
    third.link.release()
    assert gamepad.closed


async def test_where_nothing_is_played_messages_go_nowhere() -> None:
    sent: list[bytes] = []
    link = PadLink("1", "player", None, sent.append, lambda: None)
    link.on_message(browser.pads(1, {0: PRESSED}, [(0, PRESSED)]))
    assert sent == [encode_pads_ack(2)]
    viewer = Link("viewer")
    viewer.hear(1, {0: PRESSED}, [(0, PRESSED)])
    assert (viewer.sent, viewer.bench.made) == ([], [])
    assert viewer.link.counts()["gamepad messages not allowed"] == 1


async def test_rumble_is_said_until_it_ends_and_then_that_it_has_ended() -> None:
    link = Link()
    gamepad = await link.plugged()
    told: Callable[[], list[bytes]] = lambda: [message[6:] for message in link.sent]  # noqa: E731
    threading.Thread(target=gamepad.on_rumble, args=(1.0, 0.5)).start()
    on, off = bytes.fromhex("00ffff8000"), bytes(5)
    await until(lambda: told().count(on) >= 3)
    gamepad.on_rumble(0.0, -1.0)
    await until(lambda: told().count(off) == 1 + STILL_REPEATS)
    stamps = [message[2:6] for message in link.sent]
    assert stamps == sorted(set(stamps))
    assert link.link._rumbling is None
    link.link.release()
    gamepad.on_rumble(1.0, 1.0)
    await asyncio.sleep(0)
    assert told()[-1] == off
