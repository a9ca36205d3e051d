"""The operator's own tokens: JWTs that another issuer signs and that let peers into rooms (docs/protocol.md 2.3).

A core but for PyJWT. One algorithm is taken, the configured one, and only with a key of its own type: a token's
header chooses nothing but which of the configured keys is tried (`kid`); its jku, jwk, x5u and x5c are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cluster.auth import TokenRefused
from cluster.protocol.messages import ROLES, Role

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey
Key = str | PublicKey

SHARED: Final = "HS256"
ALGORITHMS: Final = (SHARED, "ES256", "EdDSA", "RS256")
RSA_BITS: Final = 2048
"""RFC 7518 3.3: a key of 2048 bits or larger."""
LEEWAY_S: Final = 5
"""Of the issuer's clock to this one's."""


class KeysUnavailable(Exception):
    """The keys cannot be had now; trying later may help."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must say; `issuer` and `audience` None: any."""

    algorithm: str
    rooms_claim: str
    issuer: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorGrant:
    """What a token says; `ends` in Unix seconds."""

    rooms: frozenset[str]
    role: Role
    ends: int


class KeySource(Protocol):
    """Where the key of a token comes from."""

    async def key(self, kid: str | None) -> Key:
        """The key that the token names; raises TokenRefused when there is none, or KeysUnavailable."""


class OneKey:
    """The key of a setting; which one a token names does not matter then."""

    def __init__(self, key: Key) -> None:
        self._key = key

    async def key(self, kid: str | None) -> Key:
        """See KeySource."""
        return self._key


def fits(algorithm: str, key: object) -> bool:
    """Whether a public key is one for this algorithm."""
    match algorithm:
        case "ES256":
            return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
        case "EdDSA":
            return isinstance(key, Ed25519PublicKey)
        case "RS256":
            return isinstance(key, RSAPublicKey) and key.key_size >= RSA_BITS
    return False


def parse_key(algorithm: str, text: str) -> Key:
    """The key that JWT_SECRET holds: the shared secret, or a public key in PEM. Raises ValueError in words."""
    pem = text.lstrip().startswith("-----BEGIN")
    if algorithm == SHARED:
        if pem:
            raise ValueError("holds a key in PEM: set JWT_ALG to its algorithm, not HS256")
        return text
    # An environment variable of one line often has the line ends written out.
    lines = text.strip().replace("\\n", "\n")
    try:
        key = load_pem_public_key(lines.encode()) if pem else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not fits(algorithm, key):
        raise ValueError(f"expected a public key for {algorithm} in PEM")
    return cast(PublicKey, key)


def key_id(token: str, algorithm: str) -> str | None:
    """Which key the token names; raises TokenRefused when it is of another algorithm."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError) as error:
        raise TokenRefused(f"not a JWT: {error}") from None
    if header.get("alg") != algorithm:
        raise TokenRefused(f"alg: expected {algorithm}")
    return cast("str | None", header.get("kid"))


def read(token: str, key: Key, rules: Rules) -> OperatorGrant:
    """What a token grants; raises TokenRefused."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[rules.algorithm],
            issuer=rules.issuer,
            audience=rules.audience,
            leeway=LEEWAY_S,
            options={
                "require": ["exp"],
                "verify_aud": rules.audience is not None,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
        ends = int(claims["exp"])
    except (jwt.PyJWTError, RecursionError, TypeError, ValueError, OverflowError) as error:
        raise TokenRefused(str(error)) from None
    role = claims.get("role", "player")
    if role not in ROLES:
        raise TokenRefused(f"role: expected one of {', '.join(ROLES)}")
    return OperatorGrant(_rooms(claims.get(rules.rooms_claim)), role, ends)


def _rooms(claim: object) -> frozenset[str]:
    """A claim that is absent, or anything but a room or a list of rooms, grants none."""
    listed: Iterable[object] = claim if isinstance(claim, list) else (claim,)
    return frozenset(room for room in listed if isinstance(room, str))


class OperatorTokens:
    """Reads tokens under the rules, with the key that each one names."""

    def __init__(self, rules: Rules, keys: KeySource) -> None:
        self._rules = rules
        self._keys = keys

    async def read(self, token: str) -> OperatorGrant:
        """What a token grants; raises TokenRefused or KeysUnavailable."""
        key = await self._keys.key(key_id(token, self._rules.algorithm))
        return read(token, key, self._rules)
