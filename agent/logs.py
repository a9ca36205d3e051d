"""The agent's log lines, readable or JSON, on standard error. Never SDP, tokens or keystrokes."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_LEVELS: Final = {"WARNING": "warning", "ERROR": "error", "CRITICAL": "error", "DEBUG": "debug"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; its time is RFC 3339 in UTC, as in the nodes' logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        row: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _LEVELS.get(record.levelname, "info"),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row)


def configure(log_format: str) -> None:
    """Set the root logger up; the libraries' own chatter only from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in ("agent", "__main__"):
        logging.getLogger(package).setLevel(logging.INFO)
