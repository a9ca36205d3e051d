"""`tightbeam drain`: asks one node to drain and says how far it is, until it is gone."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

from cluster.auth import Signer

ASK_LIMIT_S: Final = 5.0
EVERY_S: Final = 0.5
SLACK_S: Final = 5.0
"""Beyond the node's own time, for the network and the looks at it."""
TIMED_OUT: Final = 3
MAX_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Progress:
    """A node's answer. Another `node` at the same URL means that the first one is gone."""

    node: str
    draining: bool
    sockets: int
    window_s: float


class Remote:
    """The node behind a URL. No proxy and no redirect: the token is for this node only."""

    def __init__(self, url: str, secret: str, ca_file: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected the URL of a node, like http://10.0.0.7:8080, got {url}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path.rstrip("/") + "/drain"
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._signer = Signer(secret)

    def ask(self, method: str) -> Progress:
        """POST begins the drain, GET looks. Raises OSError, HTTPException, or RuntimeError in words."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=ASK_LIMIT_S)
            if self._tls is None
            else http.client.HTTPSConnection(
                self._host, self._port, timeout=ASK_LIMIT_S, context=self._tls
            )
        )
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise ConnectionRefusedError(
                f"nothing listens at {self._host}:{self._port}: give the URL of the node itself"
            ) from None
        try:
            token = self._signer.issue_admin(int(time.time()))
            connection.request(method, self._path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return _read(response.status, response.read(MAX_ANSWER_BYTES))
        finally:
            connection.close()


def _read(status: int, body: bytes) -> Progress:
    try:
        answer = json.loads(body)
        if status == 200:
            return Progress(
                str(answer["node"]),
                bool(answer["draining"]),
                int(answer["sockets"]),
                answer["windowMs"] / 1000,
            )
        reason = str(answer["error"])[:200]
    except (ValueError, KeyError, TypeError):
        raise RuntimeError(f"this is no Tightbeam node: it answered with status {status}") from None
    raise RuntimeError(f"the node refused ({status}): {reason}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `gone`, `empty` (the last socket has left, the process ends) or `timeout`."""

    node: str
    outcome: str
    sockets: int
    seconds: float


def watch(remote: Remote, timeout_s: float | None, say: Callable[[Progress], None]) -> Outcome:
    """Ask, then look until the node is gone; `timeout_s` None: its own time and some seconds."""
    started = time.monotonic()
    first = latest = remote.ask("POST")
    say(first)
    limit_s = first.window_s + SLACK_S if timeout_s is None else timeout_s
    outcome = "empty" if first.sockets == 0 else "timeout"
    while outcome == "timeout" and time.monotonic() - started < limit_s:
        time.sleep(EVERY_S)
        try:
            now = remote.ask("GET")
        except ConnectionRefusedError:
            outcome = "gone"
        except (OSError, http.client.HTTPException):
            continue  # on its way out, or the network: the next look tells
        else:
            if now.node != first.node:
                outcome = "gone"
                break
            if now.sockets != latest.sockets:
                say(now)
            latest = now
            if now.sockets == 0:
                outcome = "empty"
    sockets = latest.sockets if outcome == "timeout" else 0
    return Outcome(first.node, outcome, sockets, round(time.monotonic() - started, 1))


def run(remote: Remote, timeout_s: float | None, *, as_json: bool) -> int:
    """Print what happens; 0 when the node has no socket any more, 3 at the limit."""

    def say(progress: Progress) -> None:
        if as_json:
            print(json.dumps(asdict(progress)), flush=True)
        else:
            print(f"node {progress.node}: {progress.sockets} sockets to go", flush=True)

    ended = watch(remote, timeout_s, say)
    if as_json:
        print(json.dumps(asdict(ended)), flush=True)
    elif ended.outcome == "timeout":
        print(f"node {ended.node}: {ended.sockets} sockets left after {ended.seconds} s")
    else:
        print(f"node {ended.node}: {ended.outcome} after {ended.seconds} s")
    return TIMED_OUT if ended.outcome == "timeout" else 0
