"""The page's own files, from the `client` package, with a policy that allows this origin only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cluster import metrics
from cluster.access import AccessRule

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "media", "manifest")),
        "img-src 'self' data:",  # the page's pointer, which it draws itself
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
MAX_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, as it was when it was read."""

    body: bytes
    media_type: str
    etag: str


def refused_host() -> Response:
    """The answer under a name that is not one of ours."""
    metrics.AUTH_FAILURES.labels("host").inc()
    words = "This name is not one of this node's: add it to TIGHTBEAM_ALLOWED_HOSTS.\n"
    return PlainTextResponse(words, 403)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


class Page:
    """Serves GET and HEAD; the file is looked up by listing folders, so no path can lead outside."""

    def __init__(self, access: AccessRule) -> None:
        self._access = access
        self._root = files("client")

    async def respond(self, request: Request) -> Response:
        """One file, 304, 403 for a foreign Host, or 404."""
        if not self._access.host_allowed(request.headers.get("host")):
            return refused_host()
        found = self._read(request.url.path)
        if found is None:
            return PlainTextResponse("Not found.\n", 404)
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type=found.media_type)

    def _read(self, path: str) -> File | None:
        names = ["index.html"] if path == "/" else path.removeprefix("/").split("/")
        media_type = TYPES.get(_suffix(names[-1]))
        if media_type is None or len(names) > MAX_DEPTH:
            return None
        at: Traversable = self._root
        for name in names:
            if not at.is_dir():
                return None
            child = next((entry for entry in at.iterdir() if entry.name == name), None)
            if child is None:
                return None
            at = child
        if not at.is_file():
            return None
        body = at.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:32]
        return File(body, media_type, f'"{digest}"')
