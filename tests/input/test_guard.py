"""What the guard lets through, and that nothing stays held: time is a variable here."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.input import events
from agent.input.guard import (
    BURST_S,
    CHARACTERS_AT_ONCE,
    CHARACTERS_PER_S,
    EVENTS_PER_S,
    MAX_TURN,
    MOTIONS_PER_S,
    SILENCE_S,
    Call,
    Guard,
    MoveBy,
    MoveTo,
    PressButton,
    PressKey,
    TurnWheel,
    TypeText,
)
from tests.fuzz import fuzz_cases
from tests.input import browser
from tests.input.browser import absolute, button, key, relative

A, B, SHIFT = 4, 5, 225
RELEASE_ALL = {"kind": "release-all"}


def give(guard: Guard, payload: bytes, now: float = 0.0) -> tuple[list[Call], int | None]:
    return guard.receive(events.decode(payload), now)


def calls(guard: Guard, payload: bytes, now: float = 0.0) -> list[Call]:
    return give(guard, payload, now)[0]


def test_a_key_goes_down_and_up_and_is_acknowledged() -> None:
    guard = Guard("player")
    assert give(guard, browser.events(1, 1, key(A, down=True))) == ([PressKey(A, True)], 2)
    assert guard.keys == {A}
    assert give(guard, browser.events(2, 2, key(A, down=False))) == ([PressKey(A, False)], 3)
    assert not guard.keys


def test_repeated_events_are_applied_once_and_acknowledged_each_time() -> None:
    guard = Guard("player")
    first = browser.events(1, 1, key(A, down=True), key(A, down=False))
    assert give(guard, first) == ([PressKey(A, True), PressKey(A, False)], 3)
    assert give(guard, first) == ([], 3)
    more = browser.events(2, 1, key(A, down=True), key(A, down=False), key(B, down=True))
    assert give(guard, more) == ([PressKey(B, True)], 4)


def test_lost_doubled_and_reordered_messages_give_the_same_calls() -> None:
    listed = [key(A + n // 2 % 20, down=n % 2 == 0) for n in range(60)]
    messages = [browser.events(n, 1, *listed[:n]) for n in range(1, 61)]
    expected = calls(Guard("player"), messages[-1])
    for seed in range(20):
        chance = random.Random(seed)
        sent = [m for m in messages for _ in range(2) if chance.random() < 0.6]
        for at in range(len(sent) - 4):
            if chance.random() < 0.3:
                sent[at], sent[at + 3] = sent[at + 3], sent[at]
        guard = Guard("player")
        got = [call for message in [*sent, messages[-1]] for call in calls(guard, message)]
        assert got == expected


def test_events_beyond_a_gap_wait_for_their_predecessors() -> None:
    guard = Guard("player")
    assert give(guard, browser.events(1, 3, key(A, down=True))) == ([], 1)
    assert guard.counts.gaps == 1


def test_a_repeated_press_and_a_release_of_what_is_not_held_do_nothing() -> None:
    guard = Guard("player")
    assert calls(guard, browser.events(1, 1, key(A, down=False))) == []
    assert len(calls(guard, browser.events(2, 2, key(A, down=True), key(A, down=True)))) == 1


def test_a_click_happens_where_it_was_made_and_the_pointer_then_goes_on() -> None:
    guard = Guard("player")
    payload = browser.events(
        1, 1, button(0, down=True, motion=absolute(0, 65535)), motion=absolute(65535, 0)
    )
    assert calls(guard, payload) == [MoveTo(0, 1), PressButton(0, True), MoveTo(1, 0)]


def test_absolute_places_outside_the_picture_are_clamped() -> None:
    guard = Guard("player")
    assert calls(guard, browser.events(1, 1, motion=absolute(-5, 70000))) == [MoveTo(0, 1)]


def test_a_click_over_what_was_shown_before_is_not_made_elsewhere() -> None:
    guard = Guard("player")
    guard.screen = 4
    over = {"mode": "absolute", "screen": 3, "x": 1, "y": 1}
    press, release = (button(0, down=down, motion=over) for down in (True, False))
    assert calls(guard, browser.events(1, 1, press, release, motion=over)) == []
    assert guard.counts.elsewhere == 3
    assert guard.applied == 2


@pytest.mark.parametrize("number", [0, 4])
def test_motion_over_what_is_shown_or_of_a_page_that_knows_no_numbers_is_followed(
    number: int,
) -> None:
    guard = Guard("player")
    guard.screen = 4
    over = {"mode": "absolute", "screen": number, "x": 65535, "y": 0}
    assert calls(guard, browser.events(1, 1, motion=over)) == [MoveTo(1, 0)]


def test_a_stale_motion_is_dropped_but_its_events_are_applied() -> None:
    guard = Guard("player")
    calls(guard, browser.events(5, 1, motion=absolute(100, 100)))
    late = browser.events(4, 1, key(A, down=True), motion=absolute(0, 0))
    assert calls(guard, late) == [PressKey(A, True)]


def test_relative_sums_lose_no_movement_when_messages_are_lost() -> None:
    guard = Guard("player")
    assert calls(guard, browser.events(1, 1, motion=relative(160, -160))) == [MoveBy(10, -10)]
    assert calls(guard, browser.events(9, 1, motion=relative(480, 0))) == [MoveBy(20, 10)]


def test_the_mode_of_the_last_motion_is_known() -> None:
    guard = Guard("player")
    assert not guard.relative
    calls(guard, browser.events(1, 0, motion=browser.relative(16, 0)))
    assert guard.relative
    calls(guard, browser.events(2, 1, browser.key(4, down=True)))
    assert guard.relative
    calls(guard, browser.events(3, 0, motion=browser.absolute(0, 0)))
    assert not guard.relative


def test_fractions_of_a_pixel_are_carried() -> None:
    guard = Guard("player")
    got = [calls(guard, browser.events(n, 1, motion=relative(5 * n, -5 * n))) for n in range(1, 33)]
    moves = [call for step in got for call in step if isinstance(call, MoveBy)]
    assert (sum(m.dx for m in moves), sum(m.dy for m in moves)) == (10, -10)


def test_sums_wrap_in_32_bits() -> None:
    guard = Guard("player")
    calls(guard, browser.events(1, 1, motion=relative(2**31 - 16, 0)))
    assert calls(guard, browser.events(2, 1, motion=relative(-(2**31) + 16, 0))) == [MoveBy(2, 0)]


def test_the_wheel_is_clamped() -> None:
    guard = Guard("player")
    turn = {"kind": "wheel", "dx": 32767, "dy": -32768}
    assert calls(guard, browser.events(1, 1, turn)) == [TurnWheel(MAX_TURN, -MAX_TURN)]


def test_release_all_releases_all() -> None:
    guard = Guard("player")
    calls(
        guard, browser.events(1, 1, key(SHIFT, down=True), key(A, down=True), button(1, down=True))
    )
    assert calls(guard, browser.events(2, 4, RELEASE_ALL)) == [
        PressKey(A, False),
        PressKey(SHIFT, False),
        PressButton(1, False),
    ]
    assert guard.next_deadline() is None


def test_held_releases_what_the_browser_does_not_hold_any_more() -> None:
    guard = Guard("player")
    calls(guard, browser.events(1, 1, key(A, down=True), key(B, down=True), button(0, down=True)))
    assert calls(guard, browser.held(2, 3, [], [B])) == [PressKey(A, False), PressButton(0, False)]
    assert guard.keys == {B}


def test_held_never_presses() -> None:
    guard = Guard("player")
    assert calls(guard, browser.held(1, 0, [0, 1], [A, B])) == []


def test_a_held_older_than_the_newest_event_changes_nothing_but_shows_life() -> None:
    guard = Guard("player")
    calls(guard, browser.events(1, 1, key(A, down=True), key(B, down=True)), now=0.0)
    assert calls(guard, browser.held(2, 1, [], [A]), now=0.25) == []
    assert guard.keys == {A, B}
    assert guard.expire(0.3) == []


def test_a_held_that_overtook_events_does_not_take_shift_from_the_letter_among_them() -> None:
    guard = Guard("player")
    assert calls(guard, browser.events(1, 1, key(SHIFT, down=True))) == [PressKey(SHIFT, True)]
    assert calls(guard, browser.held(3, 4, [], [])) == []
    letter = [key(A, down=True), key(A, down=False), key(SHIFT, down=False)]
    made = calls(guard, browser.events(2, 2, *letter))
    assert made == [PressKey(A, True), PressKey(A, False), PressKey(SHIFT, False)]


def test_silence_releases_everything() -> None:
    guard = Guard("player")
    assert guard.next_deadline() is None
    calls(guard, browser.events(1, 1, key(A, down=True), button(2, down=True)), now=10.0)
    deadline = guard.next_deadline()
    assert deadline == 10.0 + SILENCE_S
    assert guard.expire(deadline - 0.001) == []
    assert guard.expire(deadline) == [PressKey(A, False), PressButton(2, False)]
    assert guard.next_deadline() is None
    assert guard.counts.silences == 1


def silent(*held: dict[str, Any]) -> Guard:
    """A guard that has released these events' keys and buttons after a silence, at the second 1."""
    guard = Guard("player")
    calls(guard, browser.events(1, 1, *held), now=0.0)
    guard.expire(1.0)
    return guard


def test_a_key_that_the_page_held_through_a_silence_is_pressed_again_and_a_button_is_not() -> None:
    guard = silent(key(A, down=True), key(SHIFT, down=True), button(2, down=True))
    assert calls(guard, browser.held(2, 3, [2], [A, SHIFT]), now=1.1) == [
        PressKey(SHIFT, True),
        PressKey(A, True),
    ]
    assert guard.next_deadline() == 1.1 + SILENCE_S
    assert calls(guard, browser.held(3, 3, [2], [A, SHIFT]), now=1.2) == []


def test_shift_held_through_a_silence_counts_for_the_next_letter() -> None:
    guard = silent(key(SHIFT, down=True))
    went_on = browser.events(2, 2, key(B, down=True), key(B, down=False), key(SHIFT, down=False))
    assert calls(guard, went_on, now=1.1) == [
        PressKey(SHIFT, True),
        PressKey(B, True),
        PressKey(B, False),
        PressKey(SHIFT, False),
    ]


def test_a_tap_whose_release_was_late_is_not_typed_twice() -> None:
    guard = silent(key(A, down=True))
    late = browser.events(2, 2, key(A, down=False), key(B, down=True))
    assert calls(guard, late, now=1.1) == [PressKey(B, True)]
    assert calls(guard, browser.held(3, 3, [], [B]), now=1.2) == []


@pytest.mark.parametrize(
    "later",
    [browser.held(2, 1, [], []), browser.events(2, 2, RELEASE_ALL)],
    ids=["held", "release"],
)
def test_what_the_page_let_go_in_a_silence_stays_up(later: bytes) -> None:
    guard = silent(key(SHIFT, down=True))
    assert calls(guard, later, now=1.1) == []
    assert calls(guard, browser.events(3, guard.applied + 1, key(B, down=True)), now=1.2) == [
        PressKey(B, True)
    ]


def test_a_heartbeat_keeps_a_key_down() -> None:
    guard = Guard("player")
    calls(guard, browser.events(1, 1, key(A, down=True)), now=0.0)
    for beat in range(1, 100):
        assert calls(guard, browser.held(1 + beat, 1, [], [A]), now=beat * 0.1) == []
        assert guard.expire(beat * 0.1) == []
    assert guard.keys == {A}


def text(written: str) -> dict[str, Any]:
    return {"kind": "text", "text": written}


def test_text_is_typed_between_the_keys_and_has_no_control_characters() -> None:
    guard = Guard("player")
    message = browser.events(
        1,
        1,
        key(A, down=True),
        text("a\n日"),
        text("\x1b\u2028"),
        text("👨\u200d👩"),
        key(A, down=False),
    )
    assert calls(guard, message) == [
        PressKey(A, True),
        TypeText("a日"),
        TypeText("👨\u200d👩"),
        PressKey(A, False),
    ]
    assert guard.counts.out_of_range == 2


def test_text_waits_until_the_spare_keys_have_rested_and_none_is_lost() -> None:
    guard, typed, now, first = Guard("player"), "", 0.0, 1
    pieces = [text(chr(0x4E00 + n) * 16) for n in range(20)]
    while first <= len(pieces):
        got, ack = give(guard, browser.events(first, first, *pieces[first - 1 :]), now)
        typed += "".join(call.text for call in got if isinstance(call, TypeText))
        assert len(typed) <= CHARACTERS_AT_ONCE + CHARACTERS_PER_S * now
        assert ack is not None
        first, now = ack, now + 0.025
    assert typed == "".join(piece["text"] for piece in pieces)


def test_a_text_longer_than_what_is_allowed_at_once_is_typed_all_the_same() -> None:
    assert calls(Guard("player"), browser.events(1, 1, text("x" * 64))) == [TypeText("x" * 64)]


def test_a_long_text_counted_as_a_short_one_so_that_spare_keys_got_no_rest_after_it() -> None:
    guard, long, short = Guard("player"), text("x" * 64), text("y" * 16)
    assert give(guard, browser.events(1, 1, long), 0.0)[1] == 2
    assert give(guard, browser.events(2, 2, short), 0.6) == ([], 2)
    assert give(guard, browser.events(3, 2, short), 0.65) == ([TypeText("y" * 16)], 3)


def test_a_viewer_changes_nothing_and_is_counted() -> None:
    guard = Guard("viewer")
    loud = browser.events(1, 1, key(A, down=True), motion=absolute(1, 1))
    assert give(guard, loud) == ([], None)
    assert give(guard, browser.held(2, 1, [0], [A])) == ([], None)
    assert guard.counts.not_allowed == 2
    assert guard.next_deadline() is None


def test_a_flood_of_events_waits_its_turn_and_none_is_lost() -> None:
    guard = Guard("player")
    done, now, first = 0, 0.0, 1
    total = 3 * EVENTS_PER_S
    for _ in range(10_000):
        if first > total:
            break
        listed = [key(A, down=n % 2 == 1) for n in range(first, min(first + 64, total + 1))]
        got, ack = give(guard, browser.events(first, first, *listed), now)
        done += len(got)
        assert done <= EVENTS_PER_S * (BURST_S + now) + 1
        assert ack is not None
        first, now = ack, now + 0.01
    assert done == total
    assert guard.counts.limited > 0


def test_a_flood_of_motion_is_thinned_and_arrives_at_the_right_place() -> None:
    guard = Guard("player")
    moved = 0
    for n in range(1, 5001):
        got = calls(guard, browser.events(n, 1, motion=relative(16 * n, 0)), now=n * 1e-5)
        moved += sum(call.dx for call in got if isinstance(call, MoveBy))
    assert guard.counts.limited > 5000 - MOTIONS_PER_S * (BURST_S + 0.06)
    last = calls(guard, browser.events(6000, 1, motion=relative(16 * 6000, 0)), now=1.0)
    assert moved + sum(call.dx for call in last if isinstance(call, MoveBy)) == 6000


_events = st.one_of(
    st.builds(lambda u, d: key(u, down=d), st.integers(0, 65535), st.booleans()),
    st.builds(lambda u, d: key(u, down=d), st.integers(4, 8), st.booleans()),
    st.builds(lambda n, d: button(n, down=d), st.integers(0, 4), st.booleans()),
    st.just(RELEASE_ALL),
    st.builds(lambda written: {"kind": "text", "text": written}, st.text(min_size=1, max_size=16)),
)
_messages = st.one_of(
    st.tuples(st.just("events"), st.integers(0, 300), st.lists(_events, max_size=16)),
    st.tuples(st.just("held"), st.integers(0, 300), st.lists(st.integers(0, 65535), max_size=32)),
)


@fuzz_cases(1000)
@given(st.lists(st.tuples(_messages, st.floats(0, 0.5)), max_size=12))
def test_whatever_comes_the_calls_and_the_held_set_agree_and_the_end_releases_all(
    script: list[tuple[tuple[str, int, list[Any]], float]],
) -> None:
    guard, now, down = Guard("player"), 0.0, set[tuple[str, int]]()

    def follow(done: list[Call]) -> None:
        for call in done:
            match call:
                case PressKey(code, pressed) | PressButton(code, pressed):
                    what = (type(call).__name__, code)
                    assert (what in down) != pressed
                    down.symmetric_difference_update({what})
                case _:
                    pass

    for stamp, ((kind, number, listed), wait) in enumerate(script):
        now += wait
        follow(guard.expire(now))
        if kind == "events":
            follow(calls(guard, browser.events(stamp, max(1, number), *listed), now))
        else:
            follow(calls(guard, browser.held(stamp, number, [], listed), now))
        assert (guard.next_deadline() is None) == (not down)
    follow(guard.release_all())
    assert not down


CARRIED = {"former": 57, "first": 2, "count": 4}
SHIFTED = [
    key(SHIFT, down=True),
    *(key(usage, down=down) for usage in (A, B) for down in (True, False)),
]


def carried(stamp: int, applied: int | None) -> tuple[list[Call], int | None]:
    """Shift is held again, and taps of A and B are said again: events 57 to 60 of the former connection."""
    guard, message = (
        Guard("player"),
        events.decode(browser.carried(CARRIED, browser.events(1, 1, *SHIFTED))),
    )
    assert isinstance(message, events.Events)
    assert message.carried is not None
    if applied is not None:
        guard.carry(message.carried, applied)
    return guard.receive(message, 0.0)


@pytest.mark.parametrize(
    ("applied", "typed"),
    [(None, (A, B)), (0, (A, B)), (56, (A, B)), (58, (B,)), (59, ()), (60, ()), (99, ())],
)
def test_what_the_former_connection_brought_is_not_done_again(
    applied: int | None, typed: tuple[int, ...]
) -> None:
    got, following = carried(1, applied)
    taps = [PressKey(usage, down) for usage in typed for down in (True, False)]
    assert got == [PressKey(SHIFT, True), *taps]
    assert following == 6


def test_a_key_that_the_former_connection_saw_let_go_does_not_stay_down() -> None:
    guard = Guard("player")
    message = events.decode(
        browser.carried(
            {"former": 9, "first": 2, "count": 1},
            browser.events(1, 1, key(SHIFT, down=True), key(SHIFT, down=False), key(A, down=True)),
        )
    )
    assert isinstance(message, events.Events)
    assert message.carried is not None
    guard.carry(message.carried, 9)
    assert guard.receive(message, 0.0)[0] == [
        PressKey(SHIFT, True),
        PressKey(SHIFT, False),
        PressKey(A, True),
    ]
