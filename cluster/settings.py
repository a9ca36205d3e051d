"""The node's settings: read once, flag beats environment beats default."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

from cluster import turn
from cluster.operator_tokens import ALGORITHMS, SHARED, parse_key
from cluster.protocol.closes import DRAINING
from cluster.protocol.messages import MAX_MESSAGE_BYTES, SUBPROTOCOL
from cluster.proxies import Network, networks

DEFAULT_PORT: Final = 8080
MIN_SECRET: Final = 32
"""RFC 7518 3.2: a key of the hash's size or larger."""
DEFAULT_SECRETS: Final = ("changeme", "yoursecret", "supersecret", "astringsecret", "256bit")
"""What examples and tutorials have, without its punctuation."""

Mode = Literal["pure", "scalable", "secure"]


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it and says what was expected."""


def is_loopback(host: str) -> bool:
    """An address of this machine's own, or `localhost`; any other name may resolve to anything."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_pairing(settings: Settings, host: str) -> None:
    """Refuse a node that asks for no pairing and listens at `host`, beyond loopback."""
    if not settings.pairing and not is_loopback(host):
        raise SettingsError(
            f"--no-pairing lets everybody who reaches {host} drive this desktop, so it works"
            " on 127.0.0.1 only: leave out --no-pairing, or leave out --host"
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """Liveness of nodes and of lost peers, in seconds; one set for all nodes of a cluster."""

    beat_s: float = 3.0
    node_life_s: float = 10.0
    resume_grace_s: float = 10.0
    settle_s: float = 4.0
    """After a new epoch: more than the longest pause of a link and one try to connect."""
    room_life_s: int = 3600
    """Of a room's record in Redis, after its last change."""

    @property
    def sweep_s(self) -> float:
        """How often a record is written again while the room is held: twelve times in its life."""
        return self.room_life_s / 12


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a node needs to know; `secret` None means: made once and kept in Redis."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    listen_fd: int | None = None
    parent_fd: int | None = None
    redis_url: str | None = None
    secret: str | None = field(default=None, repr=False)
    pairing: bool = True
    mode: Mode = "scalable"
    enable_auth: bool = False
    jwt_secret: str | None = field(default=None, repr=False)
    """Shared with the issuer for HS256, else its public key in PEM."""
    jwt_alg: str = SHARED
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: str | None = None
    rooms_claim: str = "rooms"
    tls_cert: str | None = None
    tls_key: str | None = None
    room_capacity: int = 2
    """Of a room of plain peers; one of Tightbeam peers takes `host_room_capacity` unless its host says."""
    host_room_capacity: int = 9
    message_bytes: int = MAX_MESSAGE_BYTES
    """In the plain dialect; the frames of a negotiation log need the whole of it."""
    messages_per_10s: int = 200
    ip_messages_per_10s: int = 400
    room_messages_per_10s: int = 800
    connections_per_10s: int = 20
    """Joins of one client address on all nodes together."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    send_buffer_bytes: int = 1 << 20
    heartbeat_s: float = 15.0
    hello_timeout_s: float = 5.0
    drain_s: float = 60.0
    turn_urls: tuple[str, ...] = ()
    turn_secret: str | None = field(default=None, repr=False)
    turn_life_s: int = 600
    """Of a TURN credential; a peer is given a fresh one at half of it."""
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    log_format: str = "json"
    log_level: str = "info"
    timing: Timing = Timing()
    health_port: int | None = None
    require_wss: bool = False
    subprotocol: str | None = None
    """That a client of the plain dialect must offer."""
    shutdown_close_code: int = DRAINING.code

    @property
    def auth_required(self) -> bool:
        """A plain peer needs a token for its room."""
        return self.enable_auth or self.mode == "secure"

    @property
    def loopback(self) -> bool:
        """True when only this machine can connect."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class _Row:
    """Which environment names and which flag set one field; the first name that is set wins."""

    field: str
    names: tuple[str, ...]
    read: Callable[[str], object]


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {text[:40]!r}")
        return int(text)

    return read


def _milliseconds(text: str) -> float:
    return _integer(0, 3_600_000)(text) / 1000


def _room_life(text: str) -> Timing:
    return Timing(room_life_s=_integer(30, 86400)(text))


def _list(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _ice_urls(text: str) -> tuple[str, ...]:
    urls = tuple(turn.check_url(url) for url in _list(text))
    if len(urls) > turn.MAX_URLS:
        raise ValueError(f"expected at most {turn.MAX_URLS} URLs")
    return urls


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("expected true or false")


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


def _keys_url(text: str) -> str:
    parts = urlsplit(text)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise ValueError("expected https://HOST/PATH, or http:// on loopback")
    return text


def _subprotocol(text: str) -> str:
    # RFC 6455 4.1: a token of RFC 2616 2.2.
    if text == SUBPROTOCOL or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", text):
        raise ValueError(f"expected the name of a subprotocol, not {SUBPROTOCOL}")
    return text


def _close_code(text: str) -> int:
    code = int(text)
    if code not in (1000, 1001, 1011, 1012, 1013) and not 3000 <= code <= 4999:
        raise ValueError("expected 1000, 1001, 1011, 1012, 1013 or 3000 to 4999")
    return code


# The second name of a row is the one that the earlier Node.js servers used.
ROWS: Final[tuple[_Row, ...]] = (
    _Row("host", ("TIGHTBEAM_HOST",), str),
    _Row("port", ("TIGHTBEAM_PORT", "PORT", "WS_PORT"), _integer(0, 65535)),
    _Row("listen_fd", ("TIGHTBEAM_LISTEN_FD",), _integer(0, 1 << 20)),
    _Row("parent_fd", ("TIGHTBEAM_PARENT_FD",), _integer(0, 1 << 20)),
    _Row("redis_url", ("TIGHTBEAM_REDIS_URL", "REDIS_URL"), str),
    _Row("secret", ("TIGHTBEAM_SECRET",), str),
    _Row("pairing", ("TIGHTBEAM_PAIRING",), _boolean),
    _Row("mode", ("TIGHTBEAM_MODE",), _choice("pure", "scalable", "secure")),
    _Row("enable_auth", ("TIGHTBEAM_ENABLE_AUTH", "ENABLE_AUTH"), _boolean),
    _Row("jwt_secret", ("TIGHTBEAM_JWT_SECRET", "JWT_SECRET"), str),
    _Row("jwt_alg", ("TIGHTBEAM_JWT_ALG", "JWT_ALG"), _choice(*ALGORITHMS)),
    _Row("jwt_issuer", ("TIGHTBEAM_JWT_ISSUER", "JWT_ISSUER"), str),
    _Row("jwt_audience", ("TIGHTBEAM_JWT_AUDIENCE", "JWT_AUDIENCE"), str),
    _Row("jwks_url", ("TIGHTBEAM_JWKS_URL", "JWKS_URL"), _keys_url),
    _Row("rooms_claim", ("TIGHTBEAM_ROOMS_CLAIM", "ROOMS_CLAIM"), str),
    _Row("health_port", ("TIGHTBEAM_HEALTH_PORT", "HEALTH_PORT"), _integer(1, 65535)),
    _Row("require_wss", ("TIGHTBEAM_REQUIRE_WSS", "REQUIRE_WSS"), _boolean),
    _Row("subprotocol", ("TIGHTBEAM_SUBPROTOCOL", "SUBPROTOCOL"), _subprotocol),
    _Row(
        "shutdown_close_code",
        ("TIGHTBEAM_SHUTDOWN_CLOSE_CODE", "SHUTDOWN_CLOSE_CODE"),
        _close_code,
    ),
    _Row("tls_cert", ("TIGHTBEAM_TLS_CERT",), str),
    _Row("tls_key", ("TIGHTBEAM_TLS_KEY",), str),
    _Row("room_capacity", ("TIGHTBEAM_ROOM_CAPACITY", "ROOM_CAPACITY"), _integer(1, 64)),
    _Row(
        "message_bytes",
        ("TIGHTBEAM_MESSAGE_MAX_BYTES", "MESSAGE_MAX_BYTES"),
        _integer(1024, MAX_MESSAGE_BYTES),
    ),
    _Row(
        "messages_per_10s",
        ("TIGHTBEAM_MESSAGES_PER_10S", "RATE_LIMIT_MESSAGES_PER_10S"),
        _integer(1, 1 << 31),
    ),
    _Row(
        "ip_messages_per_10s",
        ("TIGHTBEAM_IP_MESSAGES_PER_10S", "RATE_LIMIT_IP_MSGS_PER_10S"),
        _integer(1, 1 << 31),
    ),
    _Row(
        "room_messages_per_10s",
        ("TIGHTBEAM_ROOM_MESSAGES_PER_10S", "RATE_LIMIT_ROOM_MSGS_PER_10S"),
        _integer(1, 1 << 31),
    ),
    _Row(
        "connections_per_10s",
        ("TIGHTBEAM_CONNECTIONS_PER_10S", "RATE_LIMIT_CONN_PER_10S"),
        _integer(1, 1 << 31),
    ),
    _Row("trusted_proxies", ("TIGHTBEAM_TRUSTED_PROXIES",), networks),
    _Row(
        "send_buffer_bytes",
        ("TIGHTBEAM_SEND_BUFFER_BYTES", "BACKPRESSURE_CLOSE_THRESHOLD_BYTES"),
        _integer(1 << 16, 1 << 30),
    ),
    _Row("heartbeat_s", ("TIGHTBEAM_HEARTBEAT_MS", "HEARTBEAT_INTERVAL_MS"), _milliseconds),
    _Row("drain_s", ("TIGHTBEAM_DRAIN_MS", "DRAIN_TIMEOUT_MS"), _milliseconds),
    _Row("turn_urls", ("TIGHTBEAM_TURN_URLS", "TURN_URLS"), _ice_urls),
    _Row("turn_secret", ("TIGHTBEAM_TURN_SECRET", "TURN_SECRET"), str),
    _Row("timing", ("TIGHTBEAM_ROOM_TTL_S", "ROOM_TTL_SECONDS"), _room_life),
    _Row("allowed_origins", ("TIGHTBEAM_ALLOWED_ORIGINS", "ALLOWED_ORIGINS"), _list),
    _Row("allowed_hosts", ("TIGHTBEAM_ALLOWED_HOSTS",), _list),
    _Row("log_format", ("TIGHTBEAM_LOG_FORMAT",), _choice("json", "text")),
    _Row("log_level", ("TIGHTBEAM_LOG_LEVEL",), _choice("debug", "info", "warning", "error")),
)


def load(flags: argparse.Namespace | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags (None: not given) and environment; raises SettingsError."""
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for row in ROWS:
        flag = getattr(flags, row.field, None)
        if flag is not None:
            values[row.field] = flag
            continue
        name = next((name for name in row.names if environ.get(name)), None)
        if name is None:
            continue
        try:
            values[row.field] = row.read(environ[name])
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
    settings = Settings(**values)  # type: ignore[arg-type]
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Refuse combinations that would be unsafe or cannot work."""
    check_pairing(settings, settings.host)
    if not 0 <= settings.port <= 65535:
        raise SettingsError(f"--port: expected 0 to 65535, not {settings.port}")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("--tls-cert and --tls-key belong together: give both")
    if settings.health_port is not None and settings.health_port == settings.port:
        raise SettingsError("HEALTH_PORT: expected another port than PORT, which answers too")
    if settings.secret is not None:
        _check_secret("TIGHTBEAM_SECRET", settings.secret)
    _check_operator_keys(settings)
    _check_modes(settings)
    if any(turn.needs_credential(url) for url in settings.turn_urls) and (
        settings.turn_secret is None or len(settings.turn_secret) < turn.MIN_SECRET
    ):
        raise SettingsError(
            f"TURN_SECRET: expected at least {turn.MIN_SECRET} characters with a turn: URL in TURN_URLS;"
            " coturn has the same as static-auth-secret"
        )


def _check_secret(name: str, secret: str) -> None:
    plain = re.sub("[^a-z0-9]", "", secret.lower())
    if len(secret) < MIN_SECRET or any(word in plain for word in DEFAULT_SECRETS):
        raise SettingsError(
            f"{name}: expected at least {MIN_SECRET} characters that nobody can guess,"
            ' for example from python3 -c "import secrets; print(secrets.token_hex(32))"'
        )


def _check_operator_keys(settings: Settings) -> None:
    if settings.jwks_url is not None:
        if settings.jwt_secret is not None:
            raise SettingsError("JWT_SECRET and JWKS_URL: set one of them")
        if settings.jwt_alg == SHARED:
            raise SettingsError(f"JWT_ALG: JWKS_URL has public keys: set one of {ALGORITHMS[1:]}")
    if settings.jwt_secret is None:
        return
    if settings.jwt_secret == settings.secret:
        raise SettingsError("JWT_SECRET: expected another one than TIGHTBEAM_SECRET")
    try:
        parse_key(settings.jwt_alg, settings.jwt_secret)
    except ValueError as error:
        raise SettingsError(f"JWT_SECRET: {error}") from None
    if settings.jwt_alg == SHARED:
        _check_secret("JWT_SECRET", settings.jwt_secret)


def _check_modes(settings: Settings) -> None:
    if settings.enable_auth and settings.jwt_secret is None and settings.jwks_url is None:
        raise SettingsError("ENABLE_AUTH: set JWT_SECRET or JWKS_URL too")
    if settings.enable_auth and settings.mode == "pure":
        raise SettingsError(
            "ENABLE_AUTH: the one room of --mode pure has no name that a token could grant:"
            " use --mode secure"
        )
    if settings.auth_required and not settings.pairing:
        raise SettingsError("--no-pairing asks for no token, ENABLE_AUTH and --mode secure do")
