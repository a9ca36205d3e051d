"""What the agent was told to do: flag beats TIGHTBEAM_* environment beats file beats enrolment beats default.

A core of the agent's start: the file and the enrolment are read by their own modules (config_file, enrolment).
docs/agent.md has a row for each key; a test holds both together.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from agent import host_token
from agent.apps.app import App, read_apps
from agent.clipboard.base import POLICIES, Policy
from agent.presence.chord import keys_of

SOURCES: Final = (
    *(("dxgi", "ddagrab", "wgc", "gdi") if sys.platform == "win32" else ("x11",)),
    "testpattern",
)
"""Of this system, the default first."""
STAND_INS: Final = {"ddagrab": "dxgi", "dxgi": "wgc", "wgc": "gdi"}
"""Sources that cannot be used everywhere, or that Windows takes away at times, and which one shows the same then."""
Congestion = Literal["delay", "loss"]
CONGESTION: Final[tuple[Congestion, ...]] = ("delay", "loss")
LOG_FORMATS: Final = ("text", "json")
ROOM_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-:.]{1,64}")
DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_ROOM: Final = "desk"
DEFAULT_FPS: Final = 60
DEFAULT_BITRATE_MBPS: Final = 8.0
DEFAULT_PANIC: Final = "ctrl+alt+shift+f11"
"""Not F12, which Windows keeps for debuggers."""
BY_DEFAULT: Final = "default"
ENROLMENT: Final = "enrolment"


class SettingsError(ValueError):
    """A setting that cannot be used; the text names where it is from and says what was expected."""


class Enrolled(Protocol):
    """What `tightbeam-agent enroll` stored."""

    @property
    def url(self) -> str: ...
    @property
    def room(self) -> str: ...
    @property
    def ca_file(self) -> str | None: ...
    @property
    def token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the agent needs to know."""

    url: str
    room: str
    token: str | None = field(repr=False)
    source: str
    """The name of a capture backend."""
    size: tuple[int, int] | None
    """Of the test pattern; a desktop has its own size."""
    fps: int
    bitrate_bps: int
    congestion: Congestion
    audio: bool
    udp_ports: tuple[int, int] | None
    """The first and the last one for the host's own candidates; None: any."""
    clipboard: Policy
    indicator: bool
    """Whether the screen shows that somebody is connected."""
    panic: str
    """The shortcut that ends remote control at once, as agent/presence/chord.py reads it."""
    ca_file: str | None
    log_format: str
    apps: tuple[App, ...]
    """What players may start."""
    parent_fd: int | None
    """The read end of a pipe whose write end only our parent holds: at its end of file we stop."""
    user_pipes: tuple[int, int] | None
    """Of the Windows service, which starts apps as the user who is signed in: what is read from, and written to."""


@dataclass(frozen=True, slots=True)
class Value:
    """The text of one setting, as a flag or variable would have it, and where it is from."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings with the text and origin of each key; `token_from` says it of the host token."""

    settings: Settings
    values: Mapping[str, Value]
    token_from: str


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its name in the file and as a flag, its variable, and what it may be."""

    name: str
    variable: str
    read: Callable[[str], object]
    default: str = ""
    types: tuple[type, ...] = (str,)
    """Of the value in the file; none: it cannot be there."""


def load(
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    file: Mapping[str, Value] | None = None,
    enrolled: Enrolled | None = None,
) -> Effective:
    """Settings from parsed flags (None: not given) and the other places. Raises SettingsError."""
    values = {key.name: _value(key, flags, environment, file or {}, enrolled) for key in KEYS}
    read: dict[str, object] = {}
    for key in KEYS:
        value = values[key.name]
        try:
            read[_FIELDS.get(key.name, key.name)] = key.read(value.text)
        except ValueError as error:
            if list in key.types:  # too long, and an environment may hold what is secret
                raise SettingsError(f"{value.origin}: {error}") from None
            got = masked(value.text) if key.name == "url" else value.text
            raise SettingsError(f"{value.origin}: {error}, got {got!r}") from None
    token, token_from = _token(environment, values, enrolled)
    return Effective(Settings(token=token, **read), values, token_from)  # type: ignore[arg-type]


def file_values(table: Mapping[str, object], path: str) -> dict[str, Value]:
    """The keys of a parsed TOML file, checked for their names and types. Raises SettingsError."""
    known = {key.name: key for key in KEYS if key.types}
    values = {}
    for name, value in table.items():
        if name not in known:
            raise SettingsError(
                f"{path}: there is no setting {name!r}; there are: {', '.join(sorted(known))}"
            )
        if type(value) not in known[name].types:
            expected = " or ".join(_TOML_TYPES[kind] for kind in known[name].types)
            shows = list not in known[name].types  # an environment may hold what is secret
            got = f", got {value!r}" if shows else ""
            raise SettingsError(f"{path}: {name}: expected {expected}{got}")
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if isinstance(value, list):
            text = json.dumps(value, default=str)
        values[name] = Value(text, f"{path}: {name}")
    return values


def _value(
    key: Key,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    file: Mapping[str, Value],
    enrolled: Enrolled | None,
) -> Value:
    flag = flags.get(key.name)
    if flag is not None:
        text = str(int(flag)) if isinstance(flag, bool) else str(flag)
        return Value(text, "--" + _FLAGS.get(key.name, key.name.replace("_", "-")))
    if environment.get(key.variable):
        return Value(environment[key.variable], key.variable)
    if key.name in file:
        return file[key.name]
    if enrolled is not None and key.name in ("url", "room", "ca_file"):
        stored = getattr(enrolled, key.name)
        if stored:
            return Value(stored, ENROLMENT)
    return Value(key.default, BY_DEFAULT)


def _token(
    environment: Mapping[str, str], values: Mapping[str, Value], enrolled: Enrolled | None
) -> tuple[str | None, str]:
    """The host token and where it is from: a stored one goes to the node and room it is for, nowhere else."""
    if environment.get(host_token.VARIABLE):
        return environment[host_token.VARIABLE], host_token.VARIABLE
    if enrolled is None:
        return None, "not set: set TIGHTBEAM_HOST_TOKEN, or run tightbeam-agent enroll"
    url, room = values["url"].text, values["room"].text
    if (url.rstrip("/"), room) != (enrolled.url.rstrip("/"), enrolled.room):
        return None, f"not set: the enrolment is for room {enrolled.room} of {masked(enrolled.url)}"
    return enrolled.token, ENROLMENT


_PASSWORD: Final = re.compile(r"(?<=//)([^/?#:]*):[^/?#]*@")


def masked(url: str) -> str:
    """A URL, also one that cannot be read, without the password that it may carry."""
    return _PASSWORD.sub(r"\1:********@", url, count=1)


def _url(text: str) -> str:
    parts = urlsplit(text)
    # To ask for a port above 65535 raises ValueError.
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname or parts.port == 0:
        raise ValueError(f"expected a node's address such as {DEFAULT_URL}")
    return text


def _room(text: str) -> str:
    if not ROOM_PATTERN.fullmatch(text):
        raise ValueError("expected 1 to 64 letters, digits or _-:.")
    return text


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if match is None:
        raise ValueError("expected WIDTHxHEIGHT such as 1280x720")
    width, height = int(match[1]), int(match[2])
    if width % 2 or height % 2 or not (160 <= width <= 7680 and 120 <= height <= 4320):
        raise ValueError("expected even numbers from 160x120 to 7680x4320")
    return width, height


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def _megabits(text: str) -> int:
    """Bits a second from Mbit/s."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0.1 <= number <= 200:
        raise ValueError("expected a number of Mbit/s from 0.1 to 200")
    return int(number * 1_000_000)


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected 1 or 0")


def sources() -> tuple[str, ...]:
    """What can be shared: our own captures, and those of other packages (agent/backends.py)."""
    return (*SOURCES, *sorted(entry_points(group="tightbeam.capture").names))


def shown_by(source: str) -> tuple[str, ...]:
    """The source and what stands in for it, the best first."""
    stand_in = STAND_INS.get(source)
    return (source,) if stand_in is None else (source, *shown_by(stand_in))


def _source(text: str) -> str:
    return _choice(*sources())(text)


LEAST_PORTS: Final = 2
"""One for a session, and another one while it changes its connection."""


def _ports(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if match is None:
        raise ValueError("expected FIRST-LAST such as 50000-50099")
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first <= last <= 65_535:
        raise ValueError("expected ports from 1024 to 65535, the lower one first")
    if last - first + 1 < LEAST_PORTS:
        raise ValueError(f"expected at least {LEAST_PORTS} ports: a session takes as many at times")
    return first, last


def _shortcut(text: str) -> str:
    keys_of(text)
    return text


def _text_or_none(text: str) -> str | None:
    return text or None


def _descriptor(text: str) -> int | None:
    return _integer(0, 65_535)(text) if text else None


def _pipes(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    read, _, write = text.partition(",")
    number = _integer(0, 0x7FFF_FFFF)
    return number(read), number(write)


_TOML_TYPES: Final = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "[[apps]] tables",
}
_FIELDS: Final = {"bitrate": "bitrate_bps"}
_FLAGS: Final = {"parent_fd": "die-with-parent"}

KEYS: Final[tuple[Key, ...]] = (
    Key("url", "TIGHTBEAM_URL", _url, DEFAULT_URL),
    Key("room", "TIGHTBEAM_ROOM", _room, DEFAULT_ROOM),
    Key("ca_file", "TIGHTBEAM_CA_FILE", _text_or_none),
    Key("source", "TIGHTBEAM_SOURCE", _source, SOURCES[0]),
    Key("size", "TIGHTBEAM_SIZE", _size),
    Key("fps", "TIGHTBEAM_FPS", _integer(1, 240), str(DEFAULT_FPS), (int,)),
    Key("bitrate", "TIGHTBEAM_BITRATE", _megabits, f"{DEFAULT_BITRATE_MBPS:g}", (int, float)),
    Key("congestion", "TIGHTBEAM_CONGESTION", _choice(*CONGESTION), CONGESTION[0]),
    Key("audio", "TIGHTBEAM_AUDIO", _switch, "1", (bool,)),
    Key("udp_ports", "TIGHTBEAM_UDP_PORTS", _ports),
    Key("clipboard", "TIGHTBEAM_CLIPBOARD", _choice(*POLICIES), POLICIES[0]),
    Key("indicator", "TIGHTBEAM_INDICATOR", _switch, "1", (bool,)),
    Key("panic", "TIGHTBEAM_PANIC", _shortcut, DEFAULT_PANIC),
    Key("log_format", "TIGHTBEAM_LOG_FORMAT", _choice(*LOG_FORMATS), LOG_FORMATS[0]),
    Key("apps", "TIGHTBEAM_APPS", read_apps, types=(list,)),
    Key("parent_fd", "TIGHTBEAM_PARENT_FD", _descriptor, types=()),
    Key("user_pipes", "TIGHTBEAM_USER_PIPES", _pipes, types=()),
)
"""In the order in which `tightbeam-agent config` prints them."""
