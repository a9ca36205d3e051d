"""Tokens for rooms that ask for them, from the environment or a file; never from the command line, never shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster.protocol.messages import ROLES

LIFE_S: Final = 3600
MIN_SECRET: Final = 32
"""What a node asks of JWT_SECRET."""


class CredentialsError(ValueError):
    """They cannot be used; the text says why."""


def _part(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs JWTs (RFC 7519, HS256) as the operator's own issuer does (docs/protocol.md 2.3)."""

    secret: str = field(repr=False)
    issuer: str | None = None
    audience: str | None = None
    rooms_claim: str = "rooms"

    def token(self, room: str, role: str, now: float) -> str:
        """For one room; `now` in Unix seconds."""
        claims = {"iat": int(now), "exp": int(now) + LIFE_S, "role": role, self.rooms_claim: [room]}
        if self.issuer is not None:
            claims["iss"] = self.issuer
        if self.audience is not None:
            claims["aud"] = self.audience
        signed = _part({"alg": "HS256", "typ": "JWT"}) + b"." + _part(claims)
        digest = hmac.new(self.secret.encode(), signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


class Credentials:
    """Gives a token for a room and a role, or None where there is none to give."""

    def __init__(self, issuer: Issuer | None, tokens: Mapping[tuple[str, str], str]) -> None:
        self._issuer = issuer
        self._tokens = tokens

    @property
    def rooms(self) -> list[str] | None:
        """Of the token file, those with a host; None: any."""
        return [room for room, role in self._tokens if role == "host"] or None

    def ticket(self, room: str, role: str) -> Callable[[], str | None]:
        """What gives one whenever it is asked."""

        def give() -> str | None:
            found = self._tokens.get((room, role))
            if found is None and self._issuer is not None:
                return self._issuer.token(room, role, time.time())
            return found

        return give


def read_tokens(path: Path) -> dict[tuple[str, str], str]:
    """A file of lines `ROOM ROLE TOKEN`. Raises CredentialsError, without a token in its text."""
    found: dict[tuple[str, str], str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or words[1] not in ROLES:
            raise CredentialsError(f"{path}, line {number}: expected ROOM ROLE TOKEN")
        found[words[0], words[1]] = words[2]
    return found


def load(environment: Mapping[str, str], token_file: str | None) -> Credentials:
    """From JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE and ROOMS_CLAIM, as the nodes read them, and from the file."""
    secret = environment.get("JWT_SECRET")
    issuer = None
    if secret:
        if len(secret) < MIN_SECRET or environment.get("JWT_ALG", "HS256") != "HS256":
            raise CredentialsError(
                f"JWT_SECRET: expected the secret of HS256 with at least {MIN_SECRET} characters; for another"
                " JWT_ALG make the tokens with your issuer and name them with --token-file"
            )
        issuer = Issuer(
            secret,
            environment.get("JWT_ISSUER") or None,
            environment.get("JWT_AUDIENCE") or None,
            environment.get("ROOMS_CLAIM") or "rooms",
        )
    return Credentials(issuer, read_tokens(Path(token_file)) if token_file else {})
