"""The only place that names the backends of capture, encoding, audio, input, cursor and clipboard: ordered, best first.

Another package adds a backend by an entry point `name = module:Class` in the group
`tightbeam.<family>`. Those come before ours, because somebody has installed them for a purpose; a
capture is chosen by its name (docs/agent.md).
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

from agent.audio.base import AudioSource, AudioUnavailable
from agent.capture.base import Capture, CaptureUnavailable, NotNow
from agent.capture.stand_in import StandIn
from agent.clipboard.base import Clipboard, ClipboardUnavailable
from agent.cursor.base import CursorSource, CursorUnavailable
from agent.encode.base import (
    PROFILES,
    EncoderSettings,
    EncoderUnavailable,
    Profile,
    VideoCodec,
    VideoEncoder,
)
from agent.input.base import Injector, InputUnavailable
from agent.input.gamepad import Gamepad, OnRumble
from agent.presence.base import Indicator, KeyListener, OnKey, PresenceUnavailable
from agent.settings import SOURCES, STAND_INS, shown_by

logger = logging.getLogger(__name__)

Family = Literal[
    "capture", "encoder", "audio", "injector", "cursor", "clipboard", "gamepad", "shortcut", "indicator",
]  # fmt: skip

WINDOWS: Final = sys.platform == "win32"

BACKENDS: Final[dict[Family, tuple[tuple[str, str], ...]]] = {
    "capture": (
        *(
            (
                ("dxgi", "agent.capture.dxgi:DxgiCapture"),
                ("ddagrab", "agent.capture.ddagrab:DdagrabCapture"),
                ("wgc", "agent.capture.wgc:WgcCapture"),
                ("gdi", "agent.capture.gdi:GdiCapture"),
            )
            if WINDOWS
            else (("x11", "agent.capture.x11:X11Capture"),)
        ),
        ("testpattern", "agent.capture.testpattern:TestPatternCapture"),
    ),
    "encoder": (
        ("nvenc", "agent.encode.nvenc:NvencEncoder"),
        ("amf", "agent.encode.amf:AmfEncoder"),
        ("qsv", "agent.encode.qsv:QsvEncoder"),
        ("mediafoundation", "agent.encode.mediafoundation:MediaFoundationEncoder"),
        ("vaapi", "agent.encode.vaapi:VaapiEncoder"),
        ("x264", "agent.encode.x264:X264Encoder"),
        ("vpx", "agent.encode.vpx:VP8Encoder"),
        ("vpx", "agent.encode.vpx:VP9Encoder"),
    ),
    "audio": (
        ("wasapi", "agent.audio.wasapi:WasapiSource")
        if WINDOWS
        else ("pulse", "agent.audio.pulse:PulseSource"),
        ("tone", "agent.audio.tone:ToneSource"),
        ("silence", "agent.audio.silence:SilenceSource"),
    ),
    "injector": (
        ("sendinput", "agent.input.sendinput:SendInputInjector")
        if WINDOWS
        else ("xtest", "agent.input.xtest:XTestInjector"),
    ),
    "cursor": (
        ("getcursorinfo", "agent.cursor.getcursorinfo:WindowsCursor")
        if WINDOWS
        else ("xfixes", "agent.cursor.xfixes:XFixesCursor"),
    ),
    "clipboard": (
        ("windows", "agent.clipboard.windows:WindowsClipboard")
        if WINDOWS
        else ("xselection", "agent.clipboard.xselection:XSelection"),
    ),
    "gamepad": (
        ("vigem", "agent.input.vigem:VigemGamepad")
        if WINDOWS
        else ("uinput", "agent.input.uinput:UinputGamepad"),
    ),
    "shortcut": (
        ("hook", "agent.presence.windows_keys:WindowsKeys")
        if WINDOWS
        else ("xinput", "agent.presence.x11_keys:X11Keys"),
    ),
    "indicator": (
        ("window", "agent.presence.windows_indicator:WindowsIndicator")
        if WINDOWS
        else ("x11", "agent.presence.x11_indicator:X11Indicator"),
    ),
}


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        install = "install the extra with `pip install 'tightbeam[agent]'`"
        raise ImportError(f"{error}; {install}") from error


def _load_plug_in(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # a third party's code
        package = "its package" if entry.dist is None else f"the package {entry.dist.name}"
        words = f"{package} does not load ({type(error).__name__}: {error}): upgrade or remove it"
        raise ImportError(words) from error


@cache
def _plug_ins(family: Family) -> tuple[EntryPoint, ...]:
    """Of the packages that are installed at the start: each search reads the names of all of them."""
    return tuple(entry_points(group=f"tightbeam.{family}"))


def backends(family: Family) -> Iterable[tuple[str, Callable[[], Any]]]:
    """Name and loader of every backend of a family, plug-ins first. Nothing is imported before its turn.

    A loader raises ImportError, with words.
    """
    for entry in _plug_ins(family):
        yield entry.name, lambda entry=entry: _load_plug_in(entry)  # type: ignore[misc]
    for name, target in BACKENDS[family]:
        yield name, lambda target=target: _load(target)  # type: ignore[misc]


def select(family: Family, wanted: Callable[[str, Any], bool]) -> tuple[Any | None, list[str]]:
    """The first backend that is wanted and whose probe passes, and why the ones before it did not."""
    reasons: list[str] = []
    for name, backend in _wanted(family, wanted, reasons):
        try:
            reason = backend.probe()
        except Exception as error:  # a third party's code
            reason = f"its probe broke ({type(error).__name__}: {error})"
        if reason is None:
            return backend, reasons
        reasons.append(f"{name}: {reason}")
    return None, reasons


def _wanted(
    family: Family, wanted: Callable[[str, Any], bool], reasons: list[str]
) -> Iterator[tuple[str, Any]]:
    """Every backend that is wanted, not yet probed; why one does not load is added to `reasons`."""
    for name, load in backends(family):
        try:
            backend = load()
        except ImportError as error:
            reasons.append(f"{name}: {error}")
            continue
        if wanted(name, backend):
            yield name, backend


def _none(reasons: list[str], what: str) -> str:
    return "; ".join(reasons) or f"there is no backend for {what}"


def open_capture(
    source: str, size: tuple[int, int] | None, fps: int, monitor: str | None = None
) -> Capture:
    """Open the source of this name, with a monitor wanted or its own choice. Raises CaptureUnavailable.

    Where it cannot be had, what stands in for it (`STAND_INS`) is opened, for as long as that lasts.
    """
    options: dict[str, Any] = {"fps": fps}
    if monitor is not None:
        options["monitor"] = monitor
    if source == "testpattern" and size is not None:
        options["width"], options["height"] = size
    try:
        return _open_capture(source, options)
    except CaptureUnavailable as problem:
        if source not in STAND_INS:
            raise
        passes = isinstance(problem, NotNow)
        # What passes is a prompt or the lock screen, most often: only the last one says in words that it sees neither.
        capture = open_capture(shown_by(source)[-1 if passes else 1], size, fps, monitor)
        logger.info("%s shows the screen: %s", capture.name, problem)
        return StandIn(capture, partial(_can_be_had, source)) if passes else capture


def _open_capture(source: str, options: dict[str, Any]) -> Capture:
    """By the constructor alone, which says all that the probe does, and whether that will end."""
    reasons: list[str] = []
    found = _wanted("capture", lambda name, _: name == source, reasons)
    _, backend = next(found, ("", None))
    if backend is None:
        raise CaptureUnavailable(_none(reasons, source))
    capture: Capture = backend(**options)
    return capture


def window_capture(source: str) -> Any | None:
    """What shows the windows of an app beside this source (agent/desk/apps.py); None: nothing can."""
    if source not in SOURCES or source == "testpattern":
        return None
    return _load(
        "agent.capture.app_windows:AppWindows"
        if WINDOWS
        else "agent.capture.x11_window:X11WindowCapture"
    )


def free_pointer(window_apps: Collection[str]) -> None:
    """Take away the fence that a killed capture of such an app left around the pointer; X11's goes with its client."""
    if WINDOWS and window_apps:
        _load("agent.win32:free_pointer")()


def _can_be_had(source: str) -> bool:
    return select("capture", lambda name, _: name == source)[0] is not None


def capture_used(source: str) -> str:
    """The backend that shows this source now: its own, or one that stands in for it."""
    *better, last = shown_by(source)
    return next((one for one in better if _can_be_had(one)), last)


def capture_problem(source: str) -> str | None:
    """Why this source cannot be shared now, in words, or None."""
    reasons: list[str] = []
    # What stands in is quicker to look at.
    for one in reversed(shown_by(source)):
        backend, why = select("capture", lambda name, _, one=one: name == one)  # type: ignore[misc]
        if backend is not None:
            return None
        reasons = why
    return _none(reasons, source)


def encoder_of(codec: VideoCodec, failed: Collection[str] = ()) -> tuple[Any | None, list[str]]:
    """The best encoder of this codec that is not in `failed`, and why better ones are not usable."""
    return select("encoder", lambda name, row: row.codec == codec and name not in failed)


def begin_trials() -> None:
    """Begin what encoders try out before their first use, of all of them at once; their probes wait for it."""
    with contextlib.suppress(ImportError):  # then none of ours loads, each with words
        begin = _load("agent.encode.hardware:begin_trials")
        begin(encoder for _, encoder in _wanted("encoder", lambda name, row: True, []))


def h264_profiles() -> tuple[Profile, ...]:
    """The profiles of H.264 to ask a browser for, best first: as the best encoder likes it."""
    encoder, _ = encoder_of("H264")
    return PROFILES if encoder is None else encoder.profiles


def open_encoder(
    codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str] = ()
) -> VideoEncoder:
    """Open the best encoder of this codec that opens and is not in `avoided`. Raises EncoderUnavailable."""
    failed = set(avoided)
    reasons: list[str] = []
    while True:
        backend, why = encoder_of(codec, failed)
        if backend is None:
            raise EncoderUnavailable(_none([*reasons, *why], codec))
        try:
            encoder: VideoEncoder = backend(settings)
        except EncoderUnavailable as error:
            failed.add(backend.name)
            reasons.append(f"{backend.name}: {error}")
        else:
            for reason in (*reasons, *why):
                logger.info("%s video is not encoded by %s", codec, reason)
            encoder.reason = "; ".join((*reasons, *why))
            return encoder


def _chosen(
    family: Family,
    what: str,
    unavailable: type[Exception],
    wanted: Callable[[str, Any], bool] = lambda *_: True,
) -> Any:
    """The best backend of a family. Raises `unavailable`, with why there is none for `what`."""
    backend, reasons = select(family, wanted)
    if backend is None:
        raise unavailable(_none(reasons, what))
    return backend


def open_audio(source: str) -> AudioSource:
    """Open the sound that belongs to a video source. Raises AudioUnavailable.

    Silence is the pipeline's own fall back, while it tries again.
    """
    desktop = BACKENDS["audio"][0][0]
    skipped = {"silence", desktop if source == "testpattern" else "tone"}
    backend = _chosen("audio", "sound", AudioUnavailable, lambda name, _: name not in skipped)
    opened: AudioSource = backend()
    return opened


def open_injector(source: str) -> Injector:
    """Open the injector that belongs to a video source. Raises InputUnavailable."""
    if source == "testpattern":
        raise InputUnavailable("a test pattern takes no input")
    injector: Injector = _chosen("injector", "input", InputUnavailable)()
    return injector


def open_cursor(source: str) -> CursorSource:
    """Open the cursor that belongs to a video source. Raises CursorUnavailable."""
    if source == "testpattern":
        raise CursorUnavailable("a test pattern has no pointer")
    cursor: CursorSource = _chosen("cursor", "the pointer's shape", CursorUnavailable)()
    return cursor


def open_gamepad(on_rumble: OnRumble) -> Gamepad:
    """Plug a virtual gamepad in. Raises InputUnavailable."""
    gamepad: Gamepad = _chosen("gamepad", "gamepads", InputUnavailable)(on_rumble)
    return gamepad


def open_clipboard(source: str) -> Clipboard:
    """Open the clipboard that belongs to a video source. Raises ClipboardUnavailable."""
    if source == "testpattern":
        raise ClipboardUnavailable("a test pattern has no clipboard")
    clipboard: Clipboard = _chosen("clipboard", "the clipboard", ClipboardUnavailable)()
    return clipboard


def open_key_listener(on_key: OnKey) -> KeyListener:
    """Hear this machine's own keyboards. Raises PresenceUnavailable."""
    listener: KeyListener = _chosen("shortcut", "the shortcut", PresenceUnavailable)(on_key)
    return listener


def open_indicator() -> Indicator:
    """An indicator on this machine's screen. Raises PresenceUnavailable."""
    indicator: Indicator = _chosen("indicator", "the indicator", PresenceUnavailable)()
    return indicator
