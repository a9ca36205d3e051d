"""The person at a Windows host: the keys of the X server are those of Wine's own keyboard, SendInput's are injected."""

from __future__ import annotations

import pytest
from Xlib import X
from Xlib.ext import xtest

from agent.input.keymap import x_keycode
from tests.eventually import eventually
from tests.presence.keyboard import ALT, CTRL, F11, SHIFT
from tests.windows.wine import START_LIMIT_S, Desktop, Program
from tests.xserver import XServer

A = 4
pytestmark = [pytest.mark.windows, pytest.mark.timeout(600)]


def press_at_the_machine(server: XServer, *usages: int) -> None:
    """One after the other, and let go in the other order."""
    for kind, order in ((X.KeyPress, usages), (X.KeyRelease, usages[::-1])):
        for usage in order:
            xtest.fake_input(server.connection, kind, x_keycode(usage))
    server.connection.sync()


def brightness(server: XServer) -> int:
    """Of a pixel in the indicator, which lies over a white text field."""
    root = server.connection.screen().root
    return int(max(root.get_image(640, 2, 1, 1, X.ZPixmap, 0xFFFFFFFF).data[:3]))


def count(program: Program, line: str) -> int:
    return program.lines.count(line)


def test_the_shortcut_of_the_machines_keyboard_counts_and_an_injected_one_does_not(
    windows: Desktop,
) -> None:
    server = windows.server
    with windows.start("-m", "tests.windows.inside.attended") as program:
        program.until("here", START_LIMIT_S)
        eventually(lambda: 20 < brightness(server) < 100, "the indicator", START_LIMIT_S)

        def typed() -> bool:
            press_at_the_machine(server, A)
            return program.said("typed")

        eventually(typed, "the focus", START_LIMIT_S)
        for times in (1, 2):
            program.say("inject")
            eventually(lambda: count(program, "injected") == times, "injected", START_LIMIT_S)  # noqa: B023
            press_at_the_machine(server, CTRL, ALT, SHIFT, F11)
            eventually(lambda: count(program, "shortcut") >= times, "the shortcut", START_LIMIT_S)  # noqa: B023
    program.until("threads left: 0")
    order = [line for line in program.lines if line in ("shortcut", "injected")]
    assert order == ["injected", "shortcut"] * 2
