"""The stored host token on Windows: encrypted, and readable again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import dpapi, enrolment
from agent.enrolment import Enrolment
from agent.settings import SettingsError


def test_the_token_is_stored_encrypted_and_read_again(tmp_path: Path) -> None:
    row = Enrolment("https://node.example", "desk", None, "host-token-in-clear")
    path = tmp_path / "Tightbeam" / "enrolment.json"
    enrolment.store(row, path)
    assert b"host-token-in-clear" not in path.read_bytes()
    assert enrolment.read(path) == row


def test_a_secret_that_was_changed_is_refused(tmp_path: Path) -> None:
    protected = dpapi.protect("secret")
    assert dpapi.reveal(protected) == "secret"
    path = tmp_path / "enrolment.json"
    path.write_text('{"url": "http://a", "room": "b", "token": "AAAA"}')
    with pytest.raises(SettingsError, match="damaged"):
        enrolment.read(path)
