"""The agent's log lines."""

from __future__ import annotations

import json
import logging
import time

import pytest

from agent.logs import JsonFormatter


def test_time_of_a_line_is_utc_whatever_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord("agent", logging.INFO, "", 0, "begun", None, None)
    record.created = 1_700_000_000.25
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        row = json.loads(JsonFormatter().format(record))
    time.tzset()
    assert row["time"] == "2023-11-14T22:13:20.250+00:00"
