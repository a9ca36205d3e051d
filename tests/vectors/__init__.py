"""Golden vectors, run by the Python and the JavaScript implementation alike."""

import json
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """The vectors of `name`.json."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
