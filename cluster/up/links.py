"""Pairing links and tokens: what `tightbeam up`, `pair` and `token` print, and how they find a running set."""

from __future__ import annotations

import html
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import redis
from redis.sentinel import MasterNotFoundError, Sentinel

from cluster.auth import Grant, Signer, new_id, pairing_digest
from cluster.protocol.messages import ROOM_PATTERN, Role, RoomId
from cluster.redis_url import RedisUrl
from cluster.store.redis import PAIRING_LIFE_S, SECRET_KEY, pairing_key, pairing_record

RUNNING_FILE: Final = "up.json"
REDIRECT_FILE: Final = "open.html"
SECRET_FILE: Final = "secret"  # noqa: S105 - the name of a file
REDIS_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running `tightbeam up` is; kept in the state directory, readable by its user only."""

    page_url: str
    room: str
    redis_url: str


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/tightbeam`, made with mode 0700."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_STATE_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".local", "state"
    )
    folder = Path(base) / "tightbeam"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; mode 0600 from its first byte on."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def own_secret(folder: Path) -> str:
    """The signing secret of this user's `tightbeam up`: kept, so that sessions outlive a restart."""
    path = folder / SECRET_FILE
    if path.exists():
        return path.read_text("ascii").strip()
    secret = secrets.token_hex(32)
    write_private(path, secret.encode())
    return secret


def write_running(folder: Path, running: Running) -> None:
    """Say where we are."""
    write_private(folder / RUNNING_FILE, json.dumps(asdict(running)).encode())


def read_running(folder: Path) -> Running | None:
    """The running set of this user, as far as its file says."""
    try:
        return Running(**json.loads((folder / RUNNING_FILE).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def forget_running(folder: Path, redis_url: str) -> None:
    """Take our word back, unless another set has put its own there since."""
    running = read_running(folder)
    if running is not None and running.redis_url == redis_url:
        (folder / RUNNING_FILE).unlink(missing_ok=True)


def write_redirect(folder: Path, url: str) -> Path:
    """A page that leads to the link: a command line, which every user of this machine can read, must not."""
    path = folder / REDIRECT_FILE
    target = html.escape(url)
    page = f'<!doctype html><title>Tightbeam</title><meta http-equiv="refresh" content="0;url={target}">'
    write_private(path, f'{page}<a href="{target}">Tightbeam</a>\n'.encode())
    return path


def connect(url: str) -> redis.Redis:
    """A client for one command or two."""
    parts = RedisUrl.parse(url)
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    if parts.primary is None:
        return redis.Redis.from_url(url, **timeouts)
    tls = {"ssl": parts.tls is not None, **parts.tls_files}
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(server.host, server.port) for server in parts.servers],
        sentinel_kwargs={**timeouts, **tls, **asdict(parts.sentinel_user)},
        **timeouts,
        **tls,
        **asdict(parts.user),
        db=parts.db,
    )
    primary: redis.Redis = sentinels.master_for(parts.primary)  # type: ignore[no-untyped-call]
    return primary


def make_pairing(client: redis.Redis, room: str, role: Literal["player", "viewer"]) -> str:
    """A pairing token whose record lives ten minutes; only its digest is stored."""
    token = new_id()
    record = pairing_record(room, role, client.info("server")["run_id"])
    client.set(pairing_key(pairing_digest(token)), record, ex=PAIRING_LIFE_S)
    return token


def link(page_url: str, room: str, token: str | None) -> str:
    """The fragment never leaves the browser (docs/protocol.md 4)."""
    return f"{page_url}/#room={room}" + (f"&token={token}" if token is not None else "")


def host_token(secret: str, room: str) -> str:
    """A host's JWT for one room."""
    return Signer(secret).issue(Grant("host", RoomId(room), "host"), int(time.time()))


def print_link(role: Literal["player", "viewer"]) -> int:
    """`tightbeam pair`."""
    running = read_running(state_directory())
    if running is None:
        raise RuntimeError("no `tightbeam up` of this user is running: start it first")
    try:
        token = make_pairing(connect(running.redis_url), running.room, role)
    except redis.RedisError:
        raise RuntimeError("no `tightbeam up` of this user answers: start it again") from None
    print(link(running.page_url, running.room, token))
    return 0


def print_token(role: Role, room: str, redis_url: str | None) -> int:
    """`tightbeam token`."""
    if not ROOM_PATTERN.fullmatch(room):
        raise ValueError(f"--room: expected {ROOM_PATTERN.pattern}")
    url, secret = _cluster(redis_url)
    try:
        if role == "host":
            print(host_token(secret or _shared_secret(url), room))
        elif url is None:
            raise ValueError(
                "a pairing token is stored in Redis: set REDIS_URL or give --redis-url"
            )
        else:
            print(make_pairing(connect(url), room, role))
    except MasterNotFoundError:  # its own words have the whole connection in them
        raise RuntimeError(
            "cannot reach Redis: no sentinel answers and names the primary"
        ) from None
    except redis.RedisError as error:
        raise RuntimeError(f"cannot reach Redis: {error}") from None
    sys.stdout.flush()
    return 0


def signing_secret(redis_url: str | None) -> str:
    """What the nodes sign with, as `print_token` finds it."""
    url, secret = _cluster(redis_url)
    try:
        return secret or _shared_secret(url)
    except redis.RedisError as error:
        raise RuntimeError(f"cannot reach Redis: {error}") from None


def _cluster(redis_url: str | None) -> tuple[str | None, str | None]:
    """Redis and secret: as given, of the environment, or of a running `tightbeam up` of this user."""
    url = redis_url or os.environ.get("TIGHTBEAM_REDIS_URL") or os.environ.get("REDIS_URL")
    secret = os.environ.get("TIGHTBEAM_SECRET")
    if url is None and secret is None:  # beside a node in a container nothing can be written
        running = read_running(state_directory())
        if running is not None:
            return running.redis_url, own_secret(state_directory())
    return url, secret


def _shared_secret(url: str | None) -> str:
    if url is None:
        raise ValueError("set TIGHTBEAM_SECRET or REDIS_URL to those of the cluster's nodes")
    client = connect(url)
    client.set(SECRET_KEY, secrets.token_hex(32), nx=True)
    found = client.get(SECRET_KEY)
    if not isinstance(found, bytes):
        raise TypeError("Redis has no signing secret")
    return found.decode()
