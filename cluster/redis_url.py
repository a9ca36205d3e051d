"""Where Redis is: the URL that `REDIS_URL` holds, read once.

  redis://[user:password@]host[:port][/db]        rediss:// is the same over TLS
  unix://[user:password@]/path[?db=N]
  redis+sentinel://[user:password@]host[:port],host[:port].../primary[/db]      rediss+sentinel:// over TLS

Options behind `?`: `db`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` (files), and for the sentinels'
own access `sentinel_username`, `sentinel_password`. A percent sign escapes (RFC 3986 2.1).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
OPTIONS: Final = (
    "db",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "sentinel_username",
    "sentinel_password",
)
_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<place>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<options>[^#]*))?"
)
_PLACE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of an ACL user; no user means `default`."""

    username: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """One address that can be connected to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL's parts. One of `path`, `servers`; with `primary` the servers are sentinels that know where it is."""

    servers: tuple[Server, ...]
    path: str | None
    primary: str | None
    user: Credentials
    sentinel_user: Credentials
    db: int
    tls: ssl.SSLContext | None
    tls_files: Mapping[str, str]
    """What `tls` was made of, by option."""

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Raises ValueError in words that never hold the password."""
        parts = _URL.fullmatch(url)
        if parts is None or parts["scheme"] not in SCHEMES:
            schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ValueError(
                f"REDIS_URL: expected one of {schemes} and, in a password, %40 for @ and %2F for /"
            )
        options = dict(parse_qsl(parts["options"] or "", keep_blank_values=True))
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise ValueError(f"REDIS_URL: {unknown[0]}: expected one of {', '.join(OPTIONS)}")
        tls_files = {
            name: options[name] for name in OPTIONS if name.startswith("ssl_") and name in options
        }
        path, primary, db = _path(parts["scheme"], unquote(parts["path"] or ""))
        return cls(
            servers=() if path else _servers(parts["place"], sentinels=primary is not None),
            path=path,
            primary=primary,
            user=Credentials(_text(parts["user"]), _text(parts["password"])),
            sentinel_user=Credentials(
                options.get("sentinel_username"), options.get("sentinel_password")
            ),
            db=_number("db", options.get("db") or db or "0", 1 << 16),
            tls=_tls(tls_files) if parts["scheme"].startswith("rediss") else None,
            tls_files=tls_files,
        )


def _text(part: str | None) -> str | None:
    return unquote(part) if part else None


def _path(scheme: str, path: str) -> tuple[str | None, str | None, str]:
    """What the path says: the file of a unix socket, the primary's name, the database."""
    if scheme == "unix":
        return path, None, ""
    first, _, second = path.lstrip("/").partition("/")
    if not scheme.endswith("+sentinel"):
        return None, None, first
    if not first:
        raise ValueError(
            "REDIS_URL: expected the primary's name behind the sentinels: .../mymaster"
        )
    return None, first, second


def _servers(place: str, *, sentinels: bool) -> tuple[Server, ...]:
    texts = place.split(",") if sentinels else [place]
    return tuple(_server(text, SENTINEL_PORT if sentinels else PORT) for text in texts)


def _server(text: str, port: int) -> Server:
    parts = _PLACE.fullmatch(text)
    if parts is None:
        raise ValueError(f"REDIS_URL: expected host or host:port, got {text!r}")
    given = parts["port"]
    return Server(
        parts["v6"] or parts["name"] or "localhost",
        _number("port", given, 1 << 16) if given else port,
    )


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < most):
        raise ValueError(f"REDIS_URL: {name}: expected a number below {most}")
    return int(text)


def _tls(files: Mapping[str, str]) -> ssl.SSLContext:
    """The server's certificate and name are always checked; a certificate of ours where the server asks."""
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if "ssl_certfile" in files:
            context.load_cert_chain(files["ssl_certfile"], files.get("ssl_keyfile"))
    except OSError as error:
        raise ValueError(f"REDIS_URL: cannot read {', '.join(files.values())}: {error}") from None
    return context
