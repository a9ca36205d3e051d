"""A gamepad backend for tests: writes each state to the file that TIGHTBEAM_TEST_GAMEPAD names, as a line.

Found by an entry point, as another distribution's would be (`installed`). While B is pressed, a game rumbles.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from agent.input.gamepad import OnRumble
from agent.input.pad_events import PadState

MADE_UP = """(() => {
  globalThis.felt = [];
  const motor = {
    playEffect: async (kind, effect) => void felt.push([kind, effect]),
    reset: async () => void felt.push(["reset"]),
  };
  globalThis.hold = ({ buttons, axes }) => {
    const pad = {
      index: 1, id: "made up", connected: true, mapping: "standard", axes,
      vibrationActuator: motor,
      buttons: Array.from({ length: 17 }, (_, i) => ({
        pressed: (buttons[i] ?? 0) > 0.1, touched: false, value: buttons[i] ?? 0,
      })),
    };
    navigator.getGamepads = () => [null, pad, null, null];
  };
})()"""
"""For a page: the gamepad that this machine does not have. `hold` says what it does, `felt` how it was shaken."""
B = 1 << 1
ROOT = Path(__file__).parent.parent.parent


class GamepadRecorder:
    name: ClassVar[str] = "recorder"

    def __init__(self, on_rumble: OnRumble) -> None:
        self._file = Path(os.environ["TIGHTBEAM_TEST_GAMEPAD"])
        self._on_rumble = on_rumble
        self._write("plugged in")

    @staticmethod
    def probe() -> str | None:
        return None

    def set(self, state: PadState) -> None:
        self._write(f"{state.buttons} {state.left_trigger} {state.left_x} {state.left_y}")
        self._on_rumble(*((1.0, 0.5) if state.buttons & B else (0.0, 0.0)))

    def close(self) -> None:
        self._write("unplugged")

    def _write(self, line: str) -> None:
        with self._file.open("a") as file:
            file.write(line + "\n")


def installed(directory: Path, states: Path) -> Mapping[str, str]:
    """The environment in which an agent finds it, after the host's own gamepads."""
    facts = directory / "gamepad_recorder-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gamepad-recorder\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        "[tightbeam.gamepad]\nrecorder = tests.browser.gamepad_recorder:GamepadRecorder\n"
    )
    states.touch()
    return {"PYTHONPATH": f"{directory}:{ROOT}", "TIGHTBEAM_TEST_GAMEPAD": str(states)}
