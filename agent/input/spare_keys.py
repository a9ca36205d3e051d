"""Gives characters to keys that no keyboard has, so that X can type what the layout lacks: a core.

Source: X Window System Protocol 11, appendix A (keysyms) and ChangeKeyboardMapping.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from agent.input.keymap import x_keycode

UNICODE: Final = 0x0100_0000
"""Added to a code point beyond Latin-1 it is a keysym."""
NO_SYMBOL: Final = 0
_TYPING: Final = frozenset(
    map(x_keycode, (*range(0x04, 0x65), 0x67, 0x85, 0x87, 0x89, *range(0x90, 0x94), 0xB6, 0xB7))
)
"""The keycodes of letters, digits, signs and keypad, of all countries. Never spare: in some layouts
(`us(ibm238l)`, `cn(mon_trad)`) they look like those of an earlier injector, in others they are empty."""


def keysym_of(character: str) -> int:
    """The keysym of one character; in Latin-1 both are the same number."""
    point = ord(character)
    return point if point < 0x100 else UNICODE | point


def _spare(symbols: tuple[int, ...]) -> bool:
    """Whether a key has no symbols, or is one of an earlier injector: a character, shifted or not.

    None is emptied at the end, because a program may not have come to its key press yet.
    """
    first, *others = symbols
    if first == NO_SYMBOL:
        return not any(others)
    character = 0x20 <= first <= 0xFF or UNICODE <= first <= UNICODE | 0x10FFFF
    return character and others[:1] == [first] and set(others) <= {first, NO_SYMBOL}


class SpareKeys:
    """Which spare key has which keysym now; the one that rests longest is given to the next.

    A program asks for the mapping when it comes to the key press, so a key must not soon mean something else:
    the guard lets text through only so fast.
    """

    def __init__(self, mapping: Mapping[int, tuple[int, ...]]) -> None:
        """`mapping`: the keysyms of each keycode."""
        spare = (
            keycode
            for keycode, symbols in mapping.items()
            if keycode not in _TYPING and _spare(symbols)
        )
        # By keysym, the one that rests longest first; those of nobody yet have negative numbers.
        self._keycodes: OrderedDict[int, int] = OrderedDict(
            (-keycode, keycode)
            for keycode in sorted(
                spare, key=lambda keycode: any(mapping[keycode])
            )  # empty ones first
        )

    def __len__(self) -> int:
        return len(self._keycodes)

    def key_of(self, keysym: int) -> int | None:
        """The keycode to give this keysym to; None: the keyboard has no spare key."""
        if not self._keycodes:
            return None
        rests = keysym if keysym in self._keycodes else next(iter(self._keycodes))
        keycode = self._keycodes.pop(rests)
        self._keycodes[keysym] = keycode
        return keycode
