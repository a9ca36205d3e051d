"""Keys by JWKS_URL from a real web server: kept, rotated, bounded, and what happens when it is down."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from cluster import jwks
from cluster.auth import TokenRefused
from cluster.jwks import FRESH_S, KEPT_S, RETRY_S, Jwks, fetch, parse_keys
from cluster.operator_tokens import ALGORITHMS, KeysUnavailable, OperatorTokens, Rules, fits
from cluster.up import tls
from tests.cluster import operator, support
from tests.cluster.operator import jwk, token
from tests.cluster.support import closing, hello, plain
from tests.fuzz import fuzz_cases

ONE, TWO = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def reader(url: str, clock: Clock, algorithm: str = "ES256") -> OperatorTokens:
    return OperatorTokens(Rules(algorithm, "rooms"), Jwks(url, algorithm, clock))


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
async def test_key_is_found_by_its_id_and_kept(algorithm: str) -> None:
    key = operator.PRIVATE[algorithm]
    with operator.provider(jwk(ONE, "other"), jwk(key, "k"), jwk(TWO, "last")) as there:
        tokens = reader(there.url, Clock(), algorithm)
        for _ in range(3):
            assert (await tokens.read(token(algorithm, kid="k"))).rooms == {"p"}
        assert there.asked == 1


async def test_token_without_an_id_means_the_only_key() -> None:
    with operator.provider(jwk(ONE, None)) as there:
        tokens = reader(there.url, Clock())
        assert (await tokens.read(token("ES256", ONE))).rooms == {"p"}
        with pytest.raises(TokenRefused):
            await tokens.read(token("ES256", TWO))
    with (
        operator.provider(jwk(ONE, "1"), jwk(TWO, "2")) as there,
        pytest.raises(TokenRefused, match="kid"),
    ):
        await reader(there.url, Clock()).read(token("ES256", ONE))


async def test_token_with_the_id_of_another_key_is_refused() -> None:
    with operator.provider(jwk(ONE, "1"), jwk(TWO, "2")) as there, pytest.raises(TokenRefused):
        await reader(there.url, Clock()).read(token("ES256", TWO, kid="1"))


async def test_new_key_is_fetched_and_a_withdrawn_one_is_refused() -> None:
    clock = Clock()
    with operator.provider(jwk(ONE, "1")) as there:
        tokens = reader(there.url, clock)
        await tokens.read(token("ES256", ONE, kid="1"))
        there.keys = [jwk(TWO, "2")]
        clock.now += RETRY_S + 1
        await tokens.read(token("ES256", TWO, kid="2"))
        with pytest.raises(TokenRefused, match="kid"):
            await tokens.read(token("ES256", ONE, kid="1"))
        there.keys = [jwk(ONE, "3")]
        clock.now += FRESH_S + 1
        with pytest.raises(TokenRefused, match="kid"):  # though its id was known
            await tokens.read(token("ES256", TWO, kid="2"))


async def test_made_up_ids_do_not_drive_the_provider() -> None:
    clock = Clock()
    with operator.provider(jwk(ONE, "1")) as there:
        tokens = reader(there.url, clock)
        made_up = [token("ES256", TWO, kid=f"x{number}") for number in range(50)]
        for outcome in await asyncio.gather(
            *(tokens.read(text) for text in made_up), return_exceptions=True
        ):
            assert isinstance(outcome, TokenRefused)
        assert there.asked == 1
        clock.now += RETRY_S + 1
        for text in made_up:
            with pytest.raises(TokenRefused):
                await tokens.read(text)
        assert there.asked == 2
        await tokens.read(token("ES256", ONE, kid="1"))
        other_algorithm = token("HS256", kid="y")
        clock.now += RETRY_S + 1
        with pytest.raises(TokenRefused):
            await tokens.read(other_algorithm)
        assert there.asked == 2


async def test_last_good_keys_serve_for_a_while_when_the_provider_is_down() -> None:
    clock = Clock()
    fine = token("ES256", ONE, kid="1", exp=2**40)
    with operator.provider(jwk(ONE, "1")) as there:
        tokens = reader(there.url, clock)
        await tokens.read(fine)
        there.status = 500
        clock.now += FRESH_S + 1
        assert (await tokens.read(fine)).rooms == {"p"}
        there.status, there.body = 200, b"<html>"
        clock.now += RETRY_S + 1
        assert (await tokens.read(fine)).rooms == {"p"}
        assert there.asked == 3
    clock.now += RETRY_S + 1
    assert (await tokens.read(fine)).rooms == {"p"}
    clock.now += KEPT_S
    with pytest.raises(KeysUnavailable):
        await tokens.read(fine)


async def test_provider_that_comes_up_late_is_asked_again_soon() -> None:
    clock = Clock()
    with operator.provider(jwk(ONE, "1")) as there:
        there.status = 503
        tokens = reader(there.url, clock)
        for _ in range(2):
            with pytest.raises(KeysUnavailable):
                await tokens.read(token("ES256", ONE, kid="1"))
        assert there.asked == 1
        there.status = 200
        clock.now += 3
        assert (await tokens.read(token("ES256", ONE, kid="1"))).rooms == {"p"}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302},
        {"status": 404},
        {"body": b"x" * (jwks.MAX_BYTES + 1)},
        {"body": b'{"keys":"x"}'},
        {"body": b"[" * 100_000},
        {"body": b'{"keys":[]}'},
        {"body": b"\xff"},
    ],
    ids=str,
)
async def test_bad_answer_gives_no_keys(answer: dict[str, Any]) -> None:
    with operator.provider(jwk(ONE, "1")) as there:
        for name, value in answer.items():
            setattr(there, name, value)
        with pytest.raises(KeysUnavailable):
            await reader(there.url, Clock()).read(token("ES256", ONE, kid="1"))
        assert there.asked == 1


async def test_slow_answer_ends_at_the_limit_and_holds_nobody_up() -> None:
    with operator.provider(jwk(ONE, "1")) as there:
        there.drip_s = 0.05
        slow = asyncio.create_task(fetch(there.url, 1.0))
        beats = 0
        while not slow.done():
            await asyncio.sleep(0.01)
            beats += 1
        with pytest.raises(TimeoutError):
            await slow
        assert beats > 5  # the loop went on meanwhile
        await support.until(lambda: not _fetching())  # each byte came in time, and the thread ended


async def test_silent_provider_ends_at_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        await fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.3)
    await support.until(lambda: not _fetching())


def _fetching() -> bool:
    return any(thread.name == "tightbeam-jwks" for thread in threading.enumerate())


async def test_provider_whose_certificate_nobody_vouches_for_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tls.ensure(tmp_path, ["127.0.0.1", "localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with operator.provider(jwk(ONE, "1"), context=context) as there:
        with pytest.raises(ssl.SSLError):
            await fetch(there.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        assert parse_keys(await fetch(there.url), "ES256").keys() == {"1"}


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "1"},
        jwk(ec.generate_private_key(ec.SECP384R1()), "1"),
        jwk(ed25519.Ed25519PrivateKey.generate(), "1"),
        jwk(ONE, "1", use="enc"),
        jwk(ONE, "1", alg="ES384"),
        jwk(ONE, "1", crv="P-384"),
        jwk(ONE, "1", x="AAAA"),
        jwk(ONE, "1", x=None),
        jwk(ONE, None) | {"kid": 7},
        jwk(ONE, "1", kty=["EC"]),
        jwk(ONE, "1") | {"d": "AAAA"},
        {},
        "x",
        None,
    ],
    ids=str,
)
def test_entry_that_is_no_public_key_of_the_algorithm_is_left_out(entry: Any) -> None:
    assert parse_keys(json.dumps({"keys": [entry, jwk(TWO, "2")]}).encode(), "ES256").keys() == {
        "2"
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
WORDS = st.sampled_from(
    ["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "sig", "ES256", "AQAB", "A" * 43]
)
ENTRY = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "use", "alg", "kid", "x5c"]),
    WORDS | JSON,
    max_size=8,
)
BODY = (
    st.builds(lambda keys: json.dumps({"keys": keys}).encode(), st.lists(ENTRY | JSON, max_size=3))
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
)


@fuzz_cases(2000)
@given(body=BODY, algorithm=st.sampled_from(ALGORITHMS[1:]))
def test_key_set_of_any_content_is_keys_or_a_value_error(body: bytes, algorithm: str) -> None:
    try:
        keys = parse_keys(body, algorithm)
    except ValueError:
        return
    assert all(fits(algorithm, key) for key in keys.values())


async def test_node_takes_tokens_by_key_set_and_says_unavailable_without_it(redis_url: str) -> None:
    with operator.provider(jwk(ONE, "1")) as there:
        settings = support.base_settings(
            redis_url, enable_auth=True, jwks_url=there.url, jwt_alg="ES256"
        )
        async with support.node(settings) as here:
            fine = token("ES256", ONE, kid="1")
            there.status = 500
            assert await closing(await plain(here.url, query=f"&token={fine}")) == (
                1013,
                "Service unavailable",
            )
            page = await hello(here.url, "p", token=fine)
            assert page.welcome["code"] == "unavailable"
            assert page.welcome["retryAfterMs"] > 0
            there.status = 200
            async with asyncio.timeout(support.LIMIT_S):
                while page.welcome["type"] == "error":
                    page = await hello(here.url, "p", token=fine)
            assert (page.welcome["type"], page.welcome["role"]) == ("welcome", "player")
            forged = token("ES256", TWO, kid="1")
            assert await closing(await plain(here.url, query=f"&token={forged}")) == (
                1008,
                "Unauthorized",
            )
