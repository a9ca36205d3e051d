"""What peers show to be let in, read at one place for both dialects: tokens of our own and of the operator."""

from __future__ import annotations

from cluster.auth import Grant, Kind, Signer, covers, is_own
from cluster.jwks import Jwks
from cluster.operator_tokens import (
    KeySource,
    KeysUnavailable,
    OneKey,
    OperatorTokens,
    Rules,
    parse_key,
)
from cluster.protocol.messages import Role, RoomId
from cluster.settings import Settings
from cluster.store.base import Store, StoreUnavailable


class Credentials:
    """Redis is asked for nothing but the cluster's own secret, once, where none is configured."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._secret = settings.secret
        self._operator = _operator(settings)

    async def signer(self) -> Signer:
        """The signer of the cluster's secret; raises StoreUnavailable before Redis was ever reached."""
        return Signer(self._secret or await self._store.secret())

    async def own(self, token: str, kind: Kind, room: RoomId, role: Role) -> Grant:
        """What one of our own JWTs of this kind grants; raises as `grant`."""
        return _covering((await self.signer()).read(token, kind), room, role)

    async def grant(self, token: str, kind: Kind, room: RoomId, role: Role) -> Grant:
        """What a JWT grants: one of our own of this kind, or one of the operator's, good for what a session is.

        Raises TokenRefused, PermissionError when it is valid but not for this room and role, or StoreUnavailable.
        """
        if self._operator is None or is_own(token):
            return await self.own(token, kind, room, role)
        try:
            granted = await self._operator.read(token)
        except KeysUnavailable as error:
            raise StoreUnavailable(str(error)) from None
        if room not in granted.rooms:
            raise PermissionError("the credential does not grant this room")
        return _covering(Grant("session", room, granted.role, ends=granted.ends), room, role)


def _covering(grant: Grant, room: RoomId, role: Role) -> Grant:
    if not covers(grant, room, role):
        raise PermissionError("the credential does not grant this room and role")
    return grant


def _operator(settings: Settings) -> OperatorTokens | None:
    keys: KeySource
    if settings.jwks_url is not None:
        keys = Jwks(settings.jwks_url, settings.jwt_alg)
    elif settings.jwt_secret is not None:
        keys = OneKey(parse_key(settings.jwt_alg, settings.jwt_secret))
    else:
        return None
    rules = Rules(
        settings.jwt_alg, settings.rooms_claim, settings.jwt_issuer, settings.jwt_audience
    )
    return OperatorTokens(rules, keys)
