"""The operator's issuer for the tests: its keys, its tokens, and a real small web server for its key set."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET: Final = "0123456789abcdef" * 2
PRIVATE: Final[dict[str, Any]] = {
    "HS256": SECRET,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "RS256": rsa.generate_private_key(65537, 2048),
}


def public_pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def setting(algorithm: str) -> str:
    """What JWT_SECRET holds for this algorithm."""
    key = PRIVATE[algorithm]
    return SECRET if algorithm == "HS256" else public_pem(key)


def token(algorithm: str = "HS256", key: Any = None, kid: Any = None, **claims: Any) -> str:
    """A token of the issuer that is good for an hour; a claim that is None is left out."""
    everything = {"exp": int(time.time()) + 3600, "rooms": ["p"]} | claims
    return jwt.encode(
        {name: value for name, value in everything.items() if value is not None},
        PRIVATE[algorithm] if key is None else key,
        algorithm,
        headers=None if kid is None else {"kid": kid},
    )


def jwk(key: Any, kid: str | None, **changes: Any) -> dict[str, Any]:
    """The public key as an entry of a key set."""
    kinds: dict[type, Any] = {
        ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
        rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
    }
    public = key.public_key()
    kind = next(algorithm for base, algorithm in kinds.items() if isinstance(public, base))
    entry: dict[str, Any] = json.loads(kind.to_jwk(public))
    return entry | ({} if kid is None else {"kid": kid}) | changes


@dataclass
class Provider:
    """What the key server answers next, and how often it was asked."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    drip_s: float = 0.0
    asked: int = 0
    url: str = ""


class _Handler(http.server.BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        provider = self.provider
        provider.asked += 1
        body = provider.body or json.dumps({"keys": provider.keys}).encode()
        self.send_response(provider.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if provider.status == 302:
            self.send_header("Location", provider.url)
        self.end_headers()
        with contextlib.suppress(OSError):
            while provider.drip_s and body:
                self.wfile.write(body[:1])
                body = body[1:]
                time.sleep(provider.drip_s)
            self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def provider(*keys: dict[str, Any], context: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """A web server on loopback that gives this key set; with a context by TLS."""
    answers = Provider(list(keys))
    handler = type("Handler", (_Handler,), {"provider": answers})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        answers.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/keys?for=tightbeam"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()
