"""The message codec against the shared vectors and against random input."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.protocol import messages
from cluster.protocol.messages import MessageError
from tests.fuzz import fuzz_cases
from tests.vectors import load

VECTORS = load("messages")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_a_valid_message_survives_the_round_trip(vector: Any) -> None:
    message = messages.parse(json.dumps(vector["message"]))
    assert json.loads(messages.encode(message)) == vector["message"]


@pytest.mark.parametrize("vector", VECTORS["tolerated"], ids=lambda v: v["name"])
def test_a_tolerated_message_is_read_as_what_it_means(vector: Any) -> None:
    assert messages.message_object(messages.parse(vector["text"])) == vector["message"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["name"])
def test_an_invalid_message_is_refused(vector: Any) -> None:
    with pytest.raises(MessageError):
        messages.parse(vector["text"])


@pytest.mark.parametrize("kind", [None, 1, [], {}, "", "sync"])
def test_no_type_but_an_items_is_one(kind: Any) -> None:
    assert not messages.is_item({"type": kind})
    with pytest.raises(MessageError, match=r"^message\.type: "):
        messages.check_item({"type": kind})


def test_an_error_says_where_in_which_item() -> None:
    sync = next(v["message"] for v in VECTORS["valid"] if v["message"]["type"] == "sync")
    items = [{"type": "offer", "sdp": "v=0"}, {"type": "candidate", "candidate": "", "sdpMid": 1}]
    with pytest.raises(MessageError, match=r"^items\[1\]\.sdpMid: expected a string, got int$"):
        messages.check_object(sync | {"items": items})


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_null_is_no_value_of_a_required_key(vector: Any) -> None:
    for key in vector["message"].keys() - {"type"}:
        with pytest.raises(MessageError, match=f"^{key}: "):
            messages.check_object(vector["message"] | {key: None})


def test_a_credential_does_not_show_in_a_repr() -> None:
    hello = messages.parse('{"type":"hello","room":"desk","role":"player","token":"secret"}')
    assert "secret" not in repr(hello)


@fuzz_cases(2000)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_read_or_refused(frame: str | bytes) -> None:
    with pytest.raises(MessageError):
        messages.parse(frame)


VALID = [vector["message"] for vector in VECTORS["valid"]]


@fuzz_cases(3000)
@given(st.sampled_from(VALID), st.data())
def test_a_damaged_message_is_read_or_refused(message: dict[str, Any], data: st.DataObject) -> None:
    damaged = dict(message)
    key = data.draw(st.sampled_from(sorted(damaged)))
    damaged[key] = data.draw(JSON)
    try:
        parsed = messages.parse(json.dumps(damaged))
    except MessageError:
        return
    assert messages.parse(messages.encode(parsed)) == parsed


@pytest.mark.parametrize("vector", VALID, ids=lambda v: v["type"])
def test_a_truncated_message_is_refused_at_every_byte(vector: Any) -> None:
    text = json.dumps(vector).encode()
    for end in range(len(text)):
        with pytest.raises(MessageError):
            messages.parse(text[:end])


def test_deep_nesting_is_refused_without_a_crash() -> None:
    with pytest.raises(MessageError):
        messages.parse("[" * 100_000)
