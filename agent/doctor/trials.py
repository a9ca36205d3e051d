"""The process in which every backend is really tried, one after the other: a driver that hangs or crashes ends only it.

Started by agent/doctor/local.py as `python -m agent.doctor.trials FAMILY,... FIRST`; standard output has one line of
JSON for each backend from number FIRST on, in the order of `agent.backends`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final, cast

import numpy as np

from agent import backends
from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ, AudioSource, AudioUnavailable
from agent.capture.base import Capture, CaptureUnavailable, Frame
from agent.clipboard.base import Clipboard, ClipboardUnavailable
from agent.cursor.base import CursorSource, CursorUnavailable
from agent.doctor import encoder_trial
from agent.doctor.report import Check
from agent.encode.base import EncoderUnavailable
from agent.input.base import Injector, InputUnavailable
from agent.input.gamepad import Gamepad
from agent.presence.base import Indicator, KeyListener, PresenceUnavailable

UNAVAILABLE: Final = (
    CaptureUnavailable, EncoderUnavailable, AudioUnavailable, InputUnavailable, CursorUnavailable,
    ClipboardUnavailable,
    PresenceUnavailable,
)  # fmt: skip
FIRST_PICTURE_S: Final = 2.0
BLOCKS: Final = 20
SYNC_S: Final = 2.0
SILENCE_DB: Final = -96.0
"""Below the least that 16 bits can say."""

Trial = Callable[[Any], Check]


def run(families: list[backends.Family], first: int) -> Iterator[Check]:
    """Try every backend of the families from number `first` on."""
    rows = [(family, *row) for family in families for row in backends.backends(family)]
    for family, name, load in rows[first:]:
        yield attempt(family, name, load)


def attempt(family: backends.Family, name: str, load: Callable[[], Any]) -> Check:
    """Probe one backend and use it; an error of any kind is what was found out about it."""
    try:
        backend = load()
        if family == "encoder":
            name = f"{name} {backend.codec}"
        reason = backend.probe()
    except ImportError as error:
        return Check(family, name, "absent", str(error))
    except Exception as error:  # a third party's code
        return Check(family, name, "fails", f"its probe broke: {type(error).__name__}: {error}")
    if reason is not None:
        return Check(family, name, "absent", reason)
    try:
        return _TRIALS[family](backend)
    except UNAVAILABLE as error:
        return Check(family, name, "fails", str(error))
    except Exception as error:
        return Check(family, name, "fails", f"it broke: {type(error).__name__}: {error}")


def _capture(backend: Any) -> Check:
    began = time.monotonic()
    capture: Capture = backend()
    try:
        outcome = capture.next(FIRST_PICTURE_S)
        took_ms = (time.monotonic() - began) * 1000
        if not isinstance(outcome, Frame):
            said = getattr(outcome, "reason", type(outcome).__name__)
            return Check("capture", backend.name, "fails", f"it gave no picture: {said}")
        width, height = outcome.size
        black = outcome.surface is None and not outcome.pixels[..., :3].any()
        grab_ms = outcome.grab_us / 1000
        outcome.release()
    finally:
        capture.close()
    words = f"{width}x{height}, first picture after {took_ms:.0f} ms, read in {grab_ms:.1f} ms"
    if black:
        words += "; it is all black: is the screen locked, asleep or on another graphics card?"
    figures = {"width": width, "height": height, "black": bool(black)}
    return Check("capture", backend.name, "works", words, figures | {"grab_ms": round(grab_ms, 2)})


def _audio(backend: Any) -> Check:
    source: AudioSource = backend()
    began = time.monotonic()
    try:
        blocks = [source.read() for _ in range(BLOCKS)]
    finally:
        source.close()
    took_ms = (time.monotonic() - began) * 1000
    peak = max(int(np.abs(block.astype(np.int32)).max()) for block in blocks)
    level_db = 20 * float(np.log10(peak / 32768)) if peak else SILENCE_DB
    heard = f"loudest at {level_db:.0f} dBFS" if peak else "silent (nothing plays?)"
    sound_ms = BLOCKS * BLOCK_SAMPLES * 1000 // SAMPLE_RATE_HZ
    words = f"{sound_ms} ms of sound in {took_ms:.0f} ms, {heard}"
    return Check("audio", backend.name, "works", words, {"peak_dbfs": round(level_db, 1)})


def _injector(backend: Any) -> Check:
    injector: Injector = backend()
    try:
        answered = injector.sync(SYNC_S)
    finally:
        injector.close()
    if not answered:
        return Check("injector", backend.name, "fails", "the display server does not answer")
    return Check("injector", backend.name, "works", "opened; nothing was pressed")


def _cursor(backend: Any) -> Check:
    source: CursorSource = backend()
    try:
        cursor = source.next(0.0, follow=False)
    finally:
        source.close()
    if cursor is None:
        words = "opened; the pointer has no shape yet"
    elif cursor.shape is None:
        words = "the pointer is hidden now"
    else:
        words = (
            f"the pointer is {cursor.shape.width}x{cursor.shape.height}, at {cursor.x},{cursor.y}"
        )
    return Check("cursor", backend.name, "works", words)


def _gamepad(backend: Any) -> Check:
    gamepad: Gamepad = backend(lambda strong, weak: None)
    gamepad.close()
    return Check("gamepad", backend.name, "works", "one was plugged in and unplugged")


def _clipboard(backend: Any) -> Check:
    clipboard: Clipboard = backend()
    clipboard.close()
    return Check("clipboard", backend.name, "works", "opened; nothing was read or changed")


def _shortcut(backend: Any) -> Check:
    listener: KeyListener = backend(lambda usage, down: None)
    listener.close()
    listener.serve()
    return Check("shortcut", backend.name, "works", "hears this machine's own keyboards")


def _indicator(backend: Any) -> Check:
    indicator: Indicator = backend()
    indicator.close()
    indicator.serve()
    return Check("indicator", backend.name, "works", "can be shown; it was not")


_TRIALS: Final[dict[backends.Family, Trial]] = {
    "capture": _capture,
    "encoder": encoder_trial.attempt,
    "audio": _audio,
    "injector": _injector,
    "cursor": _cursor,
    "gamepad": _gamepad,
    "clipboard": _clipboard,
    "shortcut": _shortcut,
    "indicator": _indicator,
}


def main() -> None:
    """Standard output belongs to the lines, so whatever prints goes to standard error."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    families = cast(list[backends.Family], sys.argv[1].split(","))
    for check in run(families, int(sys.argv[2])):
        print(json.dumps(asdict(check)), file=lines, flush=True)


if __name__ == "__main__":
    main()
