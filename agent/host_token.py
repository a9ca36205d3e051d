"""The variable with the host token, and the environment of what must not have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "TIGHTBEAM_HOST_TOKEN"


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """For processes that the agent starts: the token is for the node alone."""
    return {name: text for name, text in environment.items() if name != VARIABLE}
