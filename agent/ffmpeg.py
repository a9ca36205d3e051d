"""How FFmpeg's errors are said: by what it logged, where it did."""

from __future__ import annotations

from typing import Any

import av

av.logging.set_level(av.logging.ERROR)


def words(problem: Exception) -> str:
    """What FFmpeg itself logged, where it did: its error's own text may have all options in it."""
    logged: Any = problem.log if isinstance(problem, av.FFmpegError) else None  # level, name, text
    return str(logged[2]).strip() if logged else str(problem)
