"""The agent's command line and cores in a Windows CPython."""

from __future__ import annotations

import pytest

from tests.windows.wine import Desktop

pytestmark = pytest.mark.windows

PURE = (
    "tests/agent/test_config.py",
    "tests/agent/test_ipc.py",
    "tests/agent/test_roster.py",
    "tests/agent/test_settings.py",
    "tests/agent/test_telemetry.py",
    "tests/capture/test_pacing.py",
    "tests/capture/test_testpattern.py",
    "tests/clipboard/test_exchange.py",
    "tests/clipboard/test_wire.py",
    "tests/congestion",
    "tests/cursor/test_icon.py",
    "tests/cursor/test_teller.py",
    "tests/cursor/test_wire.py",
    "tests/encode/test_libx264.py",
    "tests/encode/test_pictures.py",
    "tests/encode/test_quantiser.py",
    "tests/encode/test_refresh.py",
    "tests/encode/test_stage.py",
    "tests/encode/test_x264.py",
    "tests/input/test_effects.py",
    "tests/input/test_events.py",
    "tests/input/test_guard.py",
    "tests/input/test_keymap.py",
    "tests/presence/test_chord.py",
    "tests/protocol/test_messages.py",
    "tests/protocol/test_negotiation.py",
    "tests/rtp",
    "tests/service",
    "tests/transport/test_answer.py",
    "tests/transport/test_candidates.py",
    "tests/transport/test_private_names.py",
)
"""Tests that use nothing but Python and the locked packages."""


def test_the_command_line_explains_itself(windows: Desktop) -> None:
    assert "{dxgi,ddagrab,wgc,gdi,testpattern}" in windows.python(
        "-m", "agent.cli", "run", "--help"
    )


@pytest.mark.timeout(400)
def test_the_cores_pass_their_own_tests(windows: Desktop) -> None:
    windows.python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not fuzz", *PURE, limit_s=360
    )


@pytest.mark.timeout(400)
def test_the_backends_of_windows_pass_their_tests_and_the_contracts(windows: Desktop) -> None:
    own = ("tests/windows/inside", "tests/capture/test_contract.py")
    windows.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *own, limit_s=360)
