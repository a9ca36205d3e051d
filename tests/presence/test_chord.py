"""The shortcut: how it is written, and when it is pressed."""

import pytest

from agent.presence.attendant import Company, line, shown
from agent.presence.chord import KEYS, STALE_S, Chord, keys_of

CTRL, RIGHT_CTRL, SHIFT, ALT, SUPER, F11, F12 = 0xE0, 0xE4, 0xE1, 0xE2, 0xE3, 0x44, 0x45


def chord() -> Chord:
    keys = keys_of("ctrl+alt+shift+f11")
    assert keys is not None
    return Chord(*keys)


def pressed(heard: Chord, *usages: int, now: float = 1.0) -> bool:
    """Whether the last of these keys, going down after the others, completes it."""
    return [heard.hear(usage, now, down=True) for usage in usages][-1]


def test_it_is_the_key_with_all_modifiers_and_no_other() -> None:
    assert pressed(chord(), CTRL, ALT, SHIFT, F11)
    assert pressed(chord(), SHIFT, ALT, RIGHT_CTRL, F11)
    assert not pressed(chord(), CTRL, ALT, F11)
    assert not pressed(chord(), CTRL, ALT, SHIFT, F12)
    assert not pressed(chord(), CTRL, ALT, SHIFT, SUPER, F11)
    assert not pressed(chord(), F11, CTRL, ALT, SHIFT)


def test_holding_it_down_is_one_press() -> None:
    heard = chord()
    assert pressed(heard, CTRL, ALT, SHIFT, F11)
    assert not pressed(heard, F11, now=1.5)
    heard.hear(F11, 1.6, down=False)
    assert pressed(heard, F11, now=1.7)


def test_modifiers_that_were_let_go_of_unseen_are_forgotten() -> None:
    heard = chord()
    pressed(heard, CTRL, ALT, now=1.0)
    assert not pressed(heard, SHIFT, F11, now=1.5 + STALE_S)
    heard.hear(F11, 20.0, down=False)
    assert pressed(heard, CTRL, ALT, SHIFT, F11, now=20.0)


@pytest.mark.parametrize("text", ["off", "OFF", " off "])
def test_it_can_be_off(text: str) -> None:
    assert keys_of(text) is None
    assert shown(text) == ""


@pytest.mark.parametrize(
    "text",
    ["", "f11", "ctrl+f11", "ctrl+ctrl+f11", "ctrl+alt+", "ctrl+alt+shift", "hyper+alt+a", "no"],
)
def test_what_is_no_shortcut_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as ctrl\+alt\+shift\+f11"):
        keys_of(text)


def test_names_are_read_as_people_write_them() -> None:
    assert keys_of("Ctrl + Super + Pause") == (frozenset({"ctrl", "super"}), "pause")
    assert shown("ctrl+alt+shift+f11") == "Ctrl+Alt+Shift+F11"
    assert (KEYS["1"], KEYS["0"], KEYS["z"], KEYS["f12"], KEYS["f13"]) == (
        0x1E,
        0x27,
        0x1D,
        0x45,
        0x68,
    )


@pytest.mark.parametrize(
    ("company", "said"),
    [
        (Company(), ""),
        (Company(1, 0), "1 person is connected and controls this computer. X ends it."),
        (Company(1, 1), "2 people are connected and control this computer. X ends it."),
        (Company(0, 1), "1 person is connected and sees this screen. X ends it."),
        (Company(0, 2), "2 people are connected and see this screen. X ends it."),
        (Company(ended=True), "Remote control is ended. X allows it again."),
    ],
)
def test_the_indicator_says_who_is_here_and_what_to_do(company: Company, said: str) -> None:
    assert line(company, "X") == said


def test_an_indicator_without_a_shortcut_promises_none() -> None:
    assert line(Company(1, 0), "") == "1 person is connected and controls this computer."
    assert line(Company(ended=True), "") == "Remote control is ended."
