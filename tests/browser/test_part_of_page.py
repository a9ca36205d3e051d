"""A page of which a part did not come, as when the network changes while it loads."""

from __future__ import annotations

import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

from tests.browser.browser import ROOT, Browser
from tests.eventually import eventually


def test_a_page_without_its_scripts_says_so_and_keeps_the_link(tmp_path: Path) -> None:
    folder = tmp_path / "client"
    shutil.copytree(ROOT / "client", folder)
    (folder / "words.js").unlink()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        Browser("chromium") as browser,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            page = browser.open(f"http://127.0.0.1:{server.server_port}/#room=desk&token=once")
            shown = "getComputedStyle(document.getElementById('status')).visibility"
            assert page.evaluate(shown) == "hidden"
            eventually(lambda: page.evaluate(shown) == "visible", "its words")
            assert "Reload" in page.words
            page.evaluate("document.getElementById('connect').click()")
            assert page.evaluate("location.hash") == "#room=desk&token=once"
        finally:
            server.shutdown()
