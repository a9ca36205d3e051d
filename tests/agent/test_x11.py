"""Connections to an X server, which end in the exception of whoever has opened them."""

from __future__ import annotations

import logging

import pytest

from agent import x11
from tests.xserver import x_server


class NoServer(Exception):
    """Of a family."""


def test_a_server_without_the_extension_is_told_with_what_to_do() -> None:
    words = r"no extension XTEST: start it with \+extension XTEST"
    with (
        x_server("320x240", extra=("-extension", "XTEST")) as server,
        pytest.raises(NoServer, match=words),
    ):
        x11.connect(NoServer, server.name, extension="XTEST")


def test_a_server_that_has_gone_is_told_in_words_and_can_be_closed() -> None:
    with x_server("320x240") as server:
        connection = x11.connect(NoServer, server.name)
        server.kill()
        words = r"went away .*: is it still running"
        with pytest.raises(NoServer, match=words), x11.told_when_gone(NoServer):
            connection.sync()
        x11.close(connection)


def test_a_late_refusal_shows_no_value(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may be a key; python-xlib itself prints all of it."""
    caplog.set_level(logging.DEBUG, "agent.x11")
    with x_server("320x240") as server:
        connection = x11.connect(NoServer, server.name)
        connection.xtest_fake_input(2, 3)
        connection.sync()
        x11.close(connection)
    assert "BadValue" in caplog.text  # and not RANDR's BadRRModeError, at which python-xlib breaks
    assert "resource_id" not in caplog.text + "".join(capfd.readouterr())
