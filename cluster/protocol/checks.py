"""What the single values of a message may be; `messages` says which key has which."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

Json = Any
"""A decoded JSON value; the only `Any` of the protocol."""

MAX_DEPTH: Final = 32


class MessageError(ValueError):
    """A frame that is not as docs/protocol.md says; the text names the key and what was expected."""


Check = Callable[[str, Json], None]
"""Raises MessageError when the value of this key is not as it must be."""


def expected(key: str, what: str, got: Json) -> MessageError:
    """The error that says so, to be raised."""
    return MessageError(f"{key}: expected {what}, got {type(got).__name__}")


def text(limit: int, *, least: int = 0) -> Check:
    """A string of so many characters."""

    def check(key: str, value: Json) -> None:
        if not isinstance(value, str):
            raise expected(key, "a string", value)
        if not least <= len(value) <= limit:
            raise MessageError(f"{key}: expected {least} to {limit} characters, got {len(value)}")

    return check


def pattern(whole: re.Pattern[str]) -> Check:
    """A string that matches this from its first character to its last."""
    matches = whole.fullmatch

    def check(key: str, value: Json) -> None:
        if not isinstance(value, str):
            raise expected(key, "a string", value)
        if not matches(value):
            raise MessageError(f"{key}: does not match {whole.pattern}")

    return check


def integer(least: int, most: int) -> Check:
    """A whole number from `least` to `most`."""

    def check(key: str, value: Json) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise expected(key, "an integer", value)
        if not least <= value <= most:
            raise MessageError(f"{key}: expected {least} to {most}")

    return check


def one_of(*choices: str) -> Check:
    """One of these strings."""

    def check(key: str, value: Json) -> None:
        if not isinstance(value, str) or value not in choices:
            raise MessageError(f"{key}: expected one of {', '.join(choices)}")

    return check


def boolean(key: str, value: Json) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise expected(key, "a boolean", value)


def anything(key: str, value: Json) -> None:
    """Any JSON of bounded depth, so that no later walk over it can exhaust the stack."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise MessageError(f"{key}: nested deeper than {MAX_DEPTH}")
        level = [
            child
            for node in level
            if isinstance(node, list | dict)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        depth += 1
