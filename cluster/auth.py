"""Credentials: host, session and resume tokens (JWT, HS256) and pairing tokens. A core but for PyJWT.

The claims say everything that a token grants; none is looked up. A pairing token is 128 random bits that
nothing can be read from: only its sha256 is stored, and the join consumes it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import jwt
import orjson

from cluster.protocol.messages import ID_PATTERN, ROLES, ROOM_PATTERN, PeerId, Role, RoomId

Kind = Literal["host", "session", "resume"]
ADMIN: Final = "admin"
"""The audience of the one token that is for a node and not for a room: it may drain it."""
ADMIN_LIFE_S: Final = 60

ALGORITHM: Final = "HS256"
ISSUER: Final = "tightbeam"
LIFE_S: Final[dict[Kind, int]] = {"host": 365 * 86400, "session": 12 * 3600, "resume": 12 * 3600}
RANK: Final[dict[Role, int]] = {"viewer": 0, "player": 1, "host": 2}


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


_HEADER: Final = _base64url(b'{"alg":"HS256","typ":"JWT"}')


class TokenRefused(Exception):
    """The credential is not valid, or not valid any more; the text is for the log, not the peer."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says; `ends` (Unix seconds) is when all that was derived from its credential ends."""

    kind: Kind
    room: RoomId
    role: Role
    peer: PeerId | None = None
    generation: int = 0
    ends: int | None = field(default=None, compare=False)


def new_id() -> str:
    """128 random bits as 22 characters of base64url."""
    return secrets.token_urlsafe(16)


def is_pairing_token(text: str) -> bool:
    """A JWT has two dots; a pairing token has none."""
    return ID_PATTERN.fullmatch(text) is not None


def is_own(token: str) -> bool:
    """Whether a JWT says that it is one of ours; whether that is true its signature says."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError):
        return False
    return claims.get("aud") in [f"{ISSUER}:{kind}" for kind in LIFE_S]


def pairing_digest(token: str) -> str:
    """Under what a pairing token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


class Signer:
    """Makes and reads tokens under one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, grant: Grant, now: int) -> str:
        """`now` is in Unix seconds. A token never outlives the credential that it comes from."""
        life_ends = now + LIFE_S[grant.kind]
        ends = life_ends if grant.ends is None else grant.ends
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": f"{ISSUER}:{grant.kind}",
            "iat": now,
            "exp": min(life_ends, ends),
            "end": ends,
            "room": grant.room,
            "role": grant.role,
        }
        if grant.peer is not None:
            claims |= {"sub": grant.peer, "gen": grant.generation}
        return self._sign(claims)

    def read(self, token: str, kind: Kind) -> Grant:
        """The grant of a token of this kind; raises TokenRefused."""
        claims = self._claims(token, kind, ("room", "role"))
        room, role = claims["room"], claims["role"]
        if not isinstance(room, str) or not ROOM_PATTERN.fullmatch(room) or role not in ROLES:
            raise TokenRefused("room or role claim is not valid")
        peer, generation = claims.get("sub"), claims.get("gen", 0)
        if kind == "resume" and (
            not isinstance(peer, str)
            or not ID_PATTERN.fullmatch(peer)
            or not isinstance(generation, int)
        ):
            raise TokenRefused("a resume token names its peer and generation")
        ends = claims.get("end", claims["exp"])
        if type(ends) is not int:
            raise TokenRefused("end claim is not valid")
        return Grant(kind, RoomId(room), cast(Role, role), peer, generation, ends)

    def issue_admin(self, now: int) -> str:
        """A token for the commands of who runs the cluster; good for a minute."""
        claims = {"iss": ISSUER, "aud": f"{ISSUER}:{ADMIN}", "iat": now, "exp": now + ADMIN_LIFE_S}
        return self._sign(claims)

    def _sign(self, claims: dict[str, Any]) -> str:
        """RFC 7515 3.1 with HS256, for a sixth of PyJWT's time: two tokens go into each `welcome`."""
        signed = _HEADER + b"." + _base64url(orjson.dumps(claims))
        signature = hmac.digest(self._secret.encode(), signed, "sha256")
        return (signed + b"." + _base64url(signature)).decode()

    def check_admin(self, token: str) -> None:
        """Raises TokenRefused for anything but a valid token of `issue_admin`."""
        self._claims(token, ADMIN)

    def _claims(self, token: str, kind: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=f"{ISSUER}:{kind}",
                options={"require": ["exp", "iat", "aud", "iss", *required]},
            )
        except (jwt.PyJWTError, RecursionError) as error:
            raise TokenRefused(str(error)) from None


def covers(grant: Grant, room: RoomId, role: Role) -> bool:
    """Whether a grant is good for this room and role: less than granted is fine, more is not."""
    if grant.room != room:
        return False
    if (grant.role == "host") != (role == "host"):
        return False
    return RANK[role] <= RANK[grant.role]
