"""Holds the stub node of the page's tests to what the real node does."""

import json
from pathlib import Path

from cluster.page import SECURITY_HEADERS


def test_the_stub_node_serves_the_page_under_the_same_policy() -> None:
    headers = json.loads((Path(__file__).parent / "headers.json").read_text(encoding="utf-8"))
    assert headers == dict(SECURITY_HEADERS)
