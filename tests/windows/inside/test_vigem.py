"""The Windows gamepad against a stand-in for ViGEmClient.dll that the outside has compiled; see the path below."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.input import vigem
from agent.input.base import InputUnavailable
from agent.input.pad_events import NEUTRAL, PadState
from agent.input.vigem import VigemGamepad

LIBRARY = os.environ.get("TIGHTBEAM_TEST_VIGEM", "")


def test_without_the_library_the_probe_says_what_to_install() -> None:
    assert "ViGEmBus 1.22" in str(VigemGamepad.probe())
    with pytest.raises(InputUnavailable, match=r"ViGEmClient\.dll is not here"):
        VigemGamepad(lambda strong, weak: None)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    if not LIBRARY:
        pytest.skip("tests/windows/test_vigem.py compiles the stand-in")
    shutil.copy(LIBRARY, tmp_path / vigem.LIBRARY)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python.exe"))
    made = ctypes.CDLL(str(tmp_path / vigem.LIBRARY))
    made.test_last_report.restype = vigem.Report
    yield made
    assert made.test_open() == 0  # nothing is left


def seen(library: ctypes.CDLL) -> tuple[int, ...]:
    report = library.test_last_report()
    names = [name for name, *_ in vigem.Report._fields_]
    return tuple(getattr(report, name) for name in names)


def test_without_the_driver_the_probe_says_what_to_install(library: ctypes.CDLL) -> None:
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.SetEnvironmentVariableA(b"VIGEM_BUS", None)
    assert "ViGEmBus is not installed" in str(VigemGamepad.probe())
    with pytest.raises(InputUnavailable, match="ViGEmBus is not installed"):
        VigemGamepad(lambda strong, weak: None)


def test_games_see_every_button_and_stick_and_are_felt(library: ctypes.CDLL) -> None:
    ctypes.WinDLL("kernel32").SetEnvironmentVariableA(b"VIGEM_BUS", b"1")
    assert VigemGamepad.probe() is None
    felt: list[tuple[float, float]] = []
    gamepad = VigemGamepad(lambda strong, weak: felt.append((strong, weak)))
    for button, flag in vigem.BUTTONS.items():
        gamepad.set(PadState(1 << button, 0, 0, 0, 0, 0, 0))
        assert seen(library) == (flag, 0, 0, 0, 0, 0, 0)
    # Up is positive there, and there is one step less of it.
    gamepad.set(PadState(0, 1, 127, -32768, -32768, 32767, 32767))
    assert seen(library) == (0, 1, 127, -32768, 32767, 32767, -32767)
    gamepad.set(PadState(0, 255, 128, 0, 0, 0, 0))
    assert [value & 0xFF for value in seen(library)[1:3]] == [255, 128]
    gamepad.set(PadState(2, 0, 0, 0, 0, 0, 0))
    assert felt[-1] == (1.0, 128 / 255)
    gamepad.set(NEUTRAL)
    assert felt[-1] == (0.0, 0.0)
    gamepad.close()
    gamepad.close()
    with pytest.raises(InputUnavailable):
        gamepad.set(NEUTRAL)
