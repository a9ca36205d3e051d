"""The service's log: a file that rotates. Its one writer is the supervisor; the worker's lines reach it by a pipe."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

NAME: Final = "agent.log"
WORKER: Final = "agent.service.worker"
"""The logger of the worker's own lines, which begin with a time and a level."""
MAX_BYTES: Final = 2 << 20
KEPT: Final = 5
"""Files beside the newest."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        if record.name == WORKER:
            return f"{self.formatTime(record, '%Y-%m-%d')} {record.getMessage()}"
        return super().format(record)


def open_in(folder: Path) -> None:
    """Make the folder if it is not there, and have the root logger write there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        folder / NAME, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8"
    )
    handler.setFormatter(
        _Formatter("%(asctime)s %(levelname)-7s service: %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("agent").setLevel(logging.INFO)
