"""What `make load ARGS="--help"` teaches."""

from __future__ import annotations

from benchmarks import load


def test_the_help_has_the_options_of_the_load_tests_users() -> None:
    """Locust prints its own help before it reads the file that adds them."""
    said = load.parser().format_help()
    for name in (
        "--users",
        "--tls",
        "--hold",
        "--talk-every",
        "--shape",
        "--token-file",
        "--max-answer-p95",
    ):
        assert said.count(f"\n  {name} ") == 1, name
