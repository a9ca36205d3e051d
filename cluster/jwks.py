"""The keys of the operator's issuer, by JWKS_URL (RFC 7517): fetched when needed, kept, renewed, rotated.

A token with an unknown `kid` asks the provider again, but at most once in RETRY_S, so that nobody can drive it
by made-up ids. While the provider is down the last good keys serve, for KEPT_S. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

from cluster import metrics
from cluster.auth import TokenRefused
from cluster.operator_tokens import Key, KeysUnavailable, fits

log = logging.getLogger(__name__)

FETCH_LIMIT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
"""A key takes half a KiB; providers have two to ten."""
FRESH_S: Final = 300.0
"""How long a key that the provider has withdrawn may still be taken."""
RETRY_S: Final = 30.0
FIRST_RETRY_S: Final = 2.0
"""While there are no keys at all."""
KEPT_S: Final = 3600.0


def parse_keys(body: bytes, algorithm: str) -> dict[str | None, Key]:
    """The public keys for this algorithm, by `kid`; others are left out. Raises ValueError when there is none."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    match document:
        case {"keys": list(listed)}:
            pass
        case _:
            raise ValueError('expected {"keys": [...]}')
    keys: dict[str | None, Key] = {}
    for entry in listed:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if not isinstance(kid, str | None) or kid in keys:
            continue
        key = _public_key(entry, algorithm)
        if key is not None:
            keys[kid] = key
    if not keys:
        raise ValueError(f"no public key for {algorithm} in it")
    return keys


def _public_key(entry: Any, algorithm: str) -> Key | None:
    """None: another type (a symmetric one above all), another algorithm, another use, or broken."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("EC", "OKP", "RSA"):
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        key: Any = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if fits(algorithm, key) else None


class Jwks:
    """See the module; a KeySource."""

    def __init__(
        self, url: str, algorithm: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._keys: Mapping[str | None, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def key(self, kid: str | None) -> Key:
        """See KeySource."""
        found = self._find(kid)
        if found is None or self._age() > FRESH_S:
            await self._renew()
            found = self._find(kid)
        if self._age() > KEPT_S:
            raise KeysUnavailable("JWKS_URL has given no keys")
        if found is None:
            raise TokenRefused("kid: no key of this id")
        return found

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _find(self, kid: str | None) -> Key | None:
        """A token that names no key can mean the only one."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _renew(self) -> None:
        """Fetch, unless that was tried just now; whoever waits here meanwhile shares the outcome."""
        async with self._fetching:
            pause_s = RETRY_S if self._age() <= KEPT_S else FIRST_RETRY_S
            if self._clock() - self._tried_at < pause_s:
                return
            self._tried_at = self._clock()
            try:
                self._keys = parse_keys(await fetch(self._url), self._algorithm)
            except (OSError, ValueError, http.client.HTTPException) as error:
                metrics.JWKS_FETCHES.labels("failed").inc()
                log.warning("JWKS_URL: %s", str(error) or type(error).__name__)
                return
            self._fetched_at = self._clock()
            metrics.JWKS_FETCHES.labels("ok").inc()


async def fetch(url: str, limit_s: float = FETCH_LIMIT_S) -> bytes:
    """GET, in a thread of its own; raises OSError (TimeoutError at the limit), ValueError or HTTPException."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bytes] = loop.create_future()
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=limit_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def settle(result: bytes | Exception) -> None:
        if outcome.done():
            return
        if isinstance(result, bytes):
            outcome.set_result(result)
        else:
            outcome.set_exception(result)

    def work() -> None:
        result: bytes | Exception
        try:
            result = _get(connection, target)
        except Exception as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name="tightbeam-jwks", daemon=True).start()
    try:
        return await asyncio.wait_for(outcome, limit_s)
    except TimeoutError:
        if connection.sock is not None:  # each byte may come in time: this ends the thread
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        raise TimeoutError(f"no whole answer within {limit_s:g} s") from None


def _get(connection: http.client.HTTPConnection, target: str) -> bytes:
    try:
        connection.request("GET", target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"expected status 200, got {response.status}")
        body = response.read(MAX_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return body
