"""Every setting and every close is in the help and in the documentation, under all of its names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import cli, settings
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.settings import ROWS, SettingsError, load
from tests.cluster import operator

DOCS = Path(__file__).parents[2] / "docs"
PREDECESSOR = """
PORT WS_PORT HEALTH_PORT REDIS_URL ROOM_CAPACITY ROOM_TTL_SECONDS MESSAGE_MAX_BYTES
BACKPRESSURE_CLOSE_THRESHOLD_BYTES HEARTBEAT_INTERVAL_MS RATE_LIMIT_MESSAGES_PER_10S
RATE_LIMIT_CONN_PER_10S RATE_LIMIT_IP_MSGS_PER_10S RATE_LIMIT_ROOM_MSGS_PER_10S
DRAIN_TIMEOUT_MS SHUTDOWN_CLOSE_CODE ALLOWED_ORIGINS SUBPROTOCOL REQUIRE_WSS ENABLE_AUTH
JWT_SECRET JWT_ALG JWT_ISSUER JWT_AUDIENCE JWKS_URL ROOMS_CLAIM
"""
"""What an operator of the earlier Node.js servers has in the environment."""
BY_PARENT = {"listen_fd", "parent_fd"}
"""Set by `tightbeam up` only."""
BY_FLAG = {"host", "pairing", "tls_cert", "tls_key"}


def documented() -> str:
    return "".join(path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")))


@pytest.mark.parametrize("name", PREDECESSOR.split())
def test_name_of_the_earlier_servers_sets_something_and_is_documented(name: str) -> None:
    assert any(name in row.names for row in ROWS)
    assert name in cli.NODE_HELP or name == "WS_PORT"
    assert f"`{name}`" in documented()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.field))
def test_setting_is_in_the_help(row: settings._Row) -> None:
    if row.field in BY_FLAG:
        assert any(f"--{row.field.replace('_', '-')}" in flag for flag in node_flags())
    elif row.field not in BY_PARENT:
        assert any(name in cli.NODE_HELP for name in row.names)


def node_flags() -> set[str]:
    commands = next(action for action in cli.parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    return {
        flag.replace("--no-", "--")
        for action in commands.choices["node"]._actions
        for flag in action.option_strings
    }


@pytest.mark.parametrize(
    "close", [close for close in vars(closes).values() if isinstance(close, Close)], ids=str
)
def test_close_is_documented(close: Close) -> None:
    text = (DOCS / "protocol.md").read_text("utf-8")
    assert str(close.code) in text
    assert f"`{close.reason}`" in text


def test_flag_beats_environment() -> None:
    flags = cli.parser().parse_args(["node", "--mode", "pure", "--port", "9"])
    chosen = load(flags, {"TIGHTBEAM_MODE": "secure", "PORT": "8"})
    assert (chosen.mode, chosen.port) == ("pure", 9)
    with pytest.raises(SettingsError, match="--mode secure"):
        load(flags, {"ENABLE_AUTH": "true", "JWT_SECRET": operator.SECRET})


@pytest.mark.parametrize("text", ["abc", "1e3", "-1", "", "99999999999999"])
def test_number_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^DRAIN_TIMEOUT_MS: expected a whole number from"):
        load(None, {"DRAIN_TIMEOUT_MS": text or " "})
