"""The operator's tokens: what is taken, and every trick that must not be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from cluster.auth import Grant, Signer, TokenRefused, is_own
from cluster.operator_tokens import (
    ALGORITHMS,
    OneKey,
    OperatorGrant,
    OperatorTokens,
    Rules,
    key_id,
    parse_key,
)
from cluster.operator_tokens import read as read_token
from cluster.protocol.messages import ROLES, RoomId
from cluster.settings import SettingsError, load
from tests.cluster import operator
from tests.fuzz import fuzz_cases


def reader(algorithm: str = "HS256", **rules: Any) -> OperatorTokens:
    key = parse_key(algorithm, operator.setting(algorithm))
    return OperatorTokens(Rules(algorithm, **({"rooms_claim": "rooms"} | rules)), OneKey(key))


async def read(token: str, algorithm: str = "HS256", **rules: Any) -> OperatorGrant:
    return await reader(algorithm, **rules).read(token)


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token that PyJWT would not make: signed with HMAC whatever the header says."""
    signed = f"{_part(header)}.{_part(claims)}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_token_of_the_configured_algorithm_is_taken(algorithm: str) -> None:
    ends = int(time.time()) + 60
    token = operator.token(algorithm, rooms=["a", "b"], exp=ends)
    assert await read(token, algorithm) == OperatorGrant(frozenset({"a", "b"}), "player", ends)


@pytest.mark.parametrize("configured", ALGORITHMS)
@pytest.mark.parametrize("used", ALGORITHMS)
async def test_token_of_another_algorithm_is_refused(configured: str, used: str) -> None:
    if used != configured:
        with pytest.raises(TokenRefused, match="alg"):
            await read(operator.token(used), configured)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["none", "None", "NONE", "", None, 1, ["HS256"]])
async def test_unsigned_tokens_are_refused(algorithm: str, name: Any) -> None:
    claims = {"exp": int(time.time()) + 60, "rooms": ["p"]}
    for signature in ("", "AAAA", _part("x")):
        token = f"{_part({'alg': name, 'typ': 'JWT'})}.{_part(claims)}.{signature}"
        with pytest.raises(TokenRefused):
            await read(token, algorithm)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_public_key_is_no_shared_secret(algorithm: str) -> None:
    """The attacker knows the public key, signs with it as if it were a secret, and says so, or lies."""
    pem = operator.setting(algorithm)
    claims = {"exp": int(time.time()) + 60, "rooms": ["p"]}
    for said in ("HS256", algorithm):
        for secret in (pem, pem.strip(), pem.replace("\n", "")):
            token = by_hand({"alg": said, "typ": "JWT"}, claims, secret.encode())
            with pytest.raises(TokenRefused):
                await read(token, algorithm)


async def test_header_chooses_no_key() -> None:
    mine = ec.generate_private_key(ec.SECP256R1())
    for header in (
        {"jwk": operator.jwk(mine, "x")},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/cert"},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"crit": ["exp"]},
    ):
        token = jwt.encode({"exp": int(time.time()) + 60, "rooms": ["p"]}, mine, "ES256", header)
        with pytest.raises(TokenRefused):
            await read(token, "ES256")
    with pytest.raises(TokenRefused):
        await read(by_hand({"alg": "HS256", "kid": 7}, {}, operator.SECRET.encode()))


async def test_expiry_is_required_and_times_are_checked() -> None:
    now = int(time.time())
    for claims in (
        {"exp": None},
        {"exp": now - 60},
        {"exp": "soon"},
        {"exp": [now + 60]},
        {"nbf": now + 60},
        {"iat": now + 60},
    ):
        with pytest.raises(TokenRefused):
            await read(operator.token(**claims))
    endless = '{"exp":1e999,"rooms":["p"]}'
    signed = f"{_part({'alg': 'HS256'})}.{base64.urlsafe_b64encode(endless.encode()).rstrip(b'=').decode()}"
    mac = hmac.new(operator.SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    with pytest.raises(TokenRefused):
        await read(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    assert (await read(operator.token(exp=now - 2))).ends == now - 2  # clocks differ by a little


async def test_issuer_and_audience_are_checked_where_they_are_configured() -> None:
    rules = {"issuer": "https://id.example", "audience": "desk"}
    fine = operator.token(iss="https://id.example", aud=["other", "desk"])
    assert (await read(fine, **rules)).rooms == {"p"}
    for claims in (
        {},
        {"iss": "https://id.example"},
        {"aud": "desk"},
        {"iss": "https://evil.example", "aud": "desk"},
        {"iss": "https://id.example", "aud": "tables"},
    ):
        with pytest.raises(TokenRefused):
            await read(operator.token(**claims), **rules)
    assert (await read(operator.token(aud="x", iss="y", sub=7, jti=8))).rooms == {"p"}


@pytest.mark.parametrize(
    ("claims", "rooms"),
    [
        ({"rooms": None}, set()),
        ({"rooms": "one"}, {"one"}),
        ({"rooms": ["a", 1, None, ["b"]]}, {"a"}),
        ({"rooms": {"a": True}}, set()),
        ({"rooms": True}, set()),
        ({"rooms": "*"}, {"*"}),  # no room has this name
        ({"rooms": None, "room": "a"}, set()),
    ],
)
async def test_claim_grants_the_rooms_that_it_names_only(
    claims: dict[str, Any], rooms: set[str]
) -> None:
    assert (await read(operator.token(**claims))).rooms == rooms


async def test_claim_has_the_configured_name_and_role_is_one_of_three() -> None:
    claims: dict[str, Any] = {"https://example/rooms": ["a"], "role": "host"}
    token = operator.token(**claims)
    grant = await read(token, rooms_claim="https://example/rooms")
    assert grant.rooms == {"a"}
    assert grant.role == "host"
    for role in ("admin", "", ["host"], 1):
        with pytest.raises(TokenRefused):
            await read(operator.token(role=role))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "A" * 8000,
        f"{_part([])}.{_part({})}.AAAA",
        base64.urlsafe_b64encode(b'{"alg":' + b"[" * 3000 + b"]" * 3000 + b"} ").decode()
        + ".e30.AAAA",
        f"{_part({'alg': 'HS256'})}.{base64.urlsafe_b64encode(b'[' * 3000 + b']' * 3000).decode()}.AAAA",
    ],
    ids=range(9),
)
async def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        await read(text)
    assert not is_own(text)


PART = st.binary(max_size=40) | st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "exp", "aud", "iss", "rooms", "role"]),
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.lists(st.text(max_size=3), max_size=2)
    | st.sampled_from([*ALGORITHMS, "none"]),
    max_size=5,
).map(lambda value: json.dumps(value).encode())


@fuzz_cases(2000)
@given(
    parts=st.lists(PART, min_size=2, max_size=4),
    signed=st.booleans(),
    algorithm=st.sampled_from(ALGORITHMS),
)
def test_token_of_any_content_is_a_grant_or_refused(
    parts: list[bytes], signed: bool, algorithm: str
) -> None:
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    if signed:
        mac = hmac.new(operator.SECRET.encode(), text.encode(), hashlib.sha256).digest()
        text += f".{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert is_own(text) in (True, False)
    key = parse_key(algorithm, operator.setting(algorithm))
    try:
        key_id(text, algorithm)
        grant = read_token(text, key, Rules(algorithm, "rooms"))
    except TokenRefused:
        return
    assert signed
    assert algorithm == "HS256"
    assert grant.role in ROLES


def test_own_tokens_are_told_from_the_operators() -> None:
    own = Signer("s" * 32).issue(Grant("session", RoomId("r"), "player"), int(time.time()))
    assert is_own(own)
    assert not is_own(operator.token(aud="tightbeam"))
    assert not is_own(operator.token(aud=["tightbeam:session"]))


P384 = ec.generate_private_key(ec.SECP384R1())
REFUSED_SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "auth without a key": ({"ENABLE_AUTH": "true"}, "JWT_SECRET or JWKS_URL"),
    "default": ({"JWT_SECRET": "changeme"}, "JWT_SECRET: expected at least 32"),
    "default, longer": ({"JWT_SECRET": "please-change-me-please-change-me"}, "nobody can guess"),
    "tutorial": ({"JWT_SECRET": "a-string-secret-at-least-256-bits-long"}, "nobody can guess"),
    "short": ({"JWT_SECRET": "x" * 31}, "at least 32"),
    "own default": ({"TIGHTBEAM_SECRET": "Change_Me!" * 4}, "TIGHTBEAM_SECRET"),
    "the same twice": (
        {"JWT_SECRET": operator.SECRET, "TIGHTBEAM_SECRET": operator.SECRET},
        "another one than TIGHTBEAM_SECRET",
    ),
    "unknown algorithm": ({"JWT_ALG": "none"}, "JWT_ALG: expected one of HS256"),
    "public key as a secret": ({"JWT_SECRET": operator.setting("ES256")}, "JWT_ALG"),
    "secret as a public key": (
        {"JWT_SECRET": "x" * 32, "JWT_ALG": "ES256"},
        "public key for ES256",
    ),
    "broken PEM": (
        {"JWT_SECRET": "-----BEGIN PUBLIC KEY-----\nx\n-----END", "JWT_ALG": "EdDSA"},
        "public key for EdDSA",
    ),
    "another type": ({"JWT_SECRET": operator.setting("ES256"), "JWT_ALG": "EdDSA"}, "EdDSA in PEM"),
    "another curve": (
        {"JWT_SECRET": operator.public_pem(P384), "JWT_ALG": "ES256"},
        "ES256 in PEM",
    ),
    "small RSA": (
        {
            "JWT_SECRET": operator.public_pem(rsa.generate_private_key(65537, 1024)),
            "JWT_ALG": "RS256",
        },
        "RS256 in PEM",
    ),
    "private key": (
        {
            "JWT_SECRET": operator.private_pem(ed25519.Ed25519PrivateKey.generate()),
            "JWT_ALG": "EdDSA",
        },
        "EdDSA in PEM",
    ),
    "key set and key": (
        {"JWKS_URL": "https://a/k", "JWT_SECRET": operator.SECRET, "JWT_ALG": "ES256"},
        "set one of them",
    ),
    "key set by HS256": ({"JWKS_URL": "https://a/k"}, "JWT_ALG: JWKS_URL has public keys"),
    "key set in the clear": ({"JWKS_URL": "http://id.example/k"}, "expected https://"),
    "key set in a file": ({"JWKS_URL": "file:///etc/passwd"}, "expected https://"),
    "key set with a password": ({"JWKS_URL": "https://a:b@c/k"}, "expected https://"),
    "pure with auth": (
        {"TIGHTBEAM_MODE": "pure", "ENABLE_AUTH": "1", "JWT_SECRET": operator.SECRET},
        "--mode secure",
    ),
    "secure without pairing": (
        {"TIGHTBEAM_MODE": "secure", "TIGHTBEAM_PAIRING": "0"},
        "--no-pairing",
    ),
    "unknown mode": ({"TIGHTBEAM_MODE": "open"}, "expected one of pure, scalable, secure"),
    "our subprotocol": ({"SUBPROTOCOL": "tightbeam.v1"}, "SUBPROTOCOL"),
    "no subprotocol": ({"SUBPROTOCOL": "a b"}, "SUBPROTOCOL"),
    "reserved code": ({"SHUTDOWN_CLOSE_CODE": "1006"}, "SHUTDOWN_CLOSE_CODE"),
    "one port twice": ({"PORT": "9000", "HEALTH_PORT": "9000"}, "HEALTH_PORT"),
}


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_unsafe_setting_is_refused_in_words(name: str) -> None:
    environ, words = REFUSED_SETTINGS[name]
    with pytest.raises(SettingsError, match=words) as refused:
        load(None, environ)
    assert environ.get("JWT_SECRET", "\0") not in str(refused.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_operator_settings_have_the_predecessors_names(algorithm: str) -> None:
    pem_in_one_line = operator.setting(algorithm).replace("\n", "\\n")
    settings = load(
        None,
        {
            "ENABLE_AUTH": "true",
            "JWT_SECRET": pem_in_one_line,
            "JWT_ALG": algorithm,
            "JWT_ISSUER": "i",
            "JWT_AUDIENCE": "a",
            "ROOMS_CLAIM": "r",
        },
    )
    assert settings.auth_required
    assert (settings.jwt_issuer, settings.jwt_audience, settings.rooms_claim) == ("i", "a", "r")
    assert pem_in_one_line not in repr(settings)
    assert load(None, {"TIGHTBEAM_MODE": "secure"}).auth_required
    loopback = load(
        None, {"JWKS_URL": "http://127.0.0.1:9/k", "JWT_ALG": algorithm.replace("HS", "ES")}
    )
    assert loopback.jwks_url == "http://127.0.0.1:9/k"
