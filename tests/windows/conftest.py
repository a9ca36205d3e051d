"""What all tests under Wine share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.browser import Browser
    from tests.cluster.processes import NodeProcess
    from tests.windows.text_field import TextField
    from tests.windows.wine import Desktop

collect_ignore = [] if sys.platform == "win32" else ["inside"]
"""Those run in Windows's Python, called by the tests of this folder."""


@pytest.fixture(scope="package")
def windows() -> Iterator[Desktop]:
    from tests.windows.wine import desktop  # where Xlib is; not inside

    with desktop() as made:
        yield made


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    from tests.cluster import support
    from tests.cluster.processes import node_process
    from tests.eventually import eventually

    folder = tmp_path_factory.mktemp("node")
    with support.valkey() as valkey, node_process(valkey.url, folder) as node:
        eventually(node.ready, "the node")
        yield node


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    from tests.browser.browser import Browser

    with Browser() as running:
        yield running


@pytest.fixture
def field(windows: Desktop) -> Iterator[TextField]:
    from tests.windows.text_field import TextField

    with windows.start("-m", "tests.windows.inside.window") as program:
        yield TextField(program)
