"""`/drain`: whoever has the cluster's secret asks this node to drain, and sees how far it is.

The token comes in a header that no page of another origin may send (Fetch 4.8: it would be asked first).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cluster import metrics
from cluster.auth import Signer, TokenRefused
from cluster.drain import Drain
from cluster.store.base import StoreUnavailable

log = logging.getLogger(__name__)

SCHEME: Final = "bearer "


class DrainDesk:
    """POST begins the drain, once; GET only looks. Both answer node, draining, sockets, windowMs."""

    def __init__(self, node: str, drain: Drain, signer: Callable[[], Awaitable[Signer]]) -> None:
        self._node = node
        self._drain = drain
        self._signer = signer

    async def respond(self, request: Request) -> Response:
        """401 without a valid admin token; 503 while the cluster's secret is not known."""
        header = request.headers.get("authorization", "")
        token = header[len(SCHEME) :] if header.lower().startswith(SCHEME) else ""
        try:
            (await self._signer()).check_admin(token)
        except StoreUnavailable:
            return JSONResponse({"error": "Redis is away and with it the secret"}, 503)
        except TokenRefused as refused:
            metrics.AUTH_FAILURES.labels("admin").inc()
            log.info("drain refused: %s", refused)
            words = "expected a token of `tightbeam drain` under this cluster's secret"
            return JSONResponse({"error": words}, 401, {"WWW-Authenticate": "Bearer"})
        if request.method == "POST":
            self._drain.begin()
        return JSONResponse(
            {
                "node": self._node,
                "draining": self._drain.active,
                "sockets": self._drain.sockets,
                "windowMs": round(self._drain.limit_s * 1000),
            },
            headers={"Cache-Control": "no-store"},
        )
