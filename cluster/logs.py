"""Logs: one JSON object a line, or readable lines on a terminal. Never tokens, never SDP."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

FIELDS: Final = ("connection", "room", "peer", "role", "resumed", "node")


_to_json: Final = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """Time (RFC 3339, UTC), level, logger, message, and the known extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = record.__dict__
        row |= {name: known[name] for name in FIELDS if name in known}
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return _to_json(row)


class TextFormatter(logging.Formatter):
    """For eyes."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback when there is one."""
        extra = " ".join(
            f"{name}={getattr(record, name)}" for name in FIELDS if hasattr(record, name)
        )
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {record.name}: "
        line += record.getMessage() + (f" [{extra}]" if extra else "")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(log_format: str, level: str = "info") -> None:
    """Set the root logger up.

    Lines of uvicorn and websockets carry query strings (tokens) and frames, so only their warnings pass.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # No line says where in the code, thread or process it comes from: to look that up is a quarter of a line's cost.
    logging._srcfile = None  # so the logging HOWTO, "Optimization"
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("websockets").setLevel(logging.WARNING)
