"""The shortcut that ends remote control: which keys it is, and when they are pressed together: a core."""

from __future__ import annotations

from typing import Final

MODIFIERS: Final[dict[str, frozenset[int]]] = {
    "ctrl": frozenset({0xE0, 0xE4}),
    "shift": frozenset({0xE1, 0xE5}),
    "alt": frozenset({0xE2, 0xE6}),
    "super": frozenset({0xE3, 0xE7}),
}
"""The left and the right one, as USB HID usages of page 0x07."""
KEYS: Final[dict[str, int]] = (
    {chr(ord("a") + index): 0x04 + index for index in range(26)}
    | {str(digit): 0x1E + (digit - 1) % 10 for digit in range(10)}
    | {f"f{number}": 0x3A + number - 1 for number in range(1, 13)}
    | {f"f{number}": 0x68 + number - 13 for number in range(13, 25)}
    | {"escape": 0x29, "pause": 0x48, "insert": 0x49, "home": 0x4A, "end": 0x4D, "space": 0x2C}
)
LEAST_MODIFIERS: Final = 2
"""Fewer would be pressed by accident."""
STALE_S: Final = 10.0
"""A modifier held longer than this is none: its release was not seen, as when a console was switched."""
OFF: Final = "off"


def keys_of(text: str) -> tuple[frozenset[str], str] | None:
    """The modifiers and the key of a text such as `ctrl+alt+shift+f11`; None for `off`. Raises ValueError."""
    if text.strip().lower() == OFF:
        return None
    *modifiers, key = [part.strip().lower() for part in text.split("+")]
    wrong = [name for name in modifiers if name not in MODIFIERS]
    if wrong or key not in KEYS or len(set(modifiers)) < LEAST_MODIFIERS:
        names = ", ".join(MODIFIERS)
        raise ValueError(
            f"expected {OFF}, or two or more of {names} and one key, such as ctrl+alt+shift+f11"
        )
    return frozenset(modifiers), key


class Chord:
    """Hears the keys of this machine's keyboards; `now` is in seconds of a monotonic clock."""

    def __init__(self, modifiers: frozenset[str], key: str) -> None:
        self._modifiers = modifiers
        self._key = KEYS[key]
        self._pressed: dict[int, float] = {}

    def hear(self, usage: int, now: float, *, down: bool) -> bool:
        """Whether this key's going down completes the shortcut."""
        if not down:
            self._pressed.pop(usage, None)
            return False
        repeated = usage in self._pressed and now - self._pressed[usage] < STALE_S
        self._pressed[usage] = now
        if usage != self._key or repeated:
            return False
        return self._modifiers == {name for name in MODIFIERS if self._holds(name, now)}

    def _holds(self, name: str, now: float) -> bool:
        return any(
            now - self._pressed[usage] < STALE_S
            for usage in MODIFIERS[name]
            if usage in self._pressed
        )
