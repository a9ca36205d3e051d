"""The table and the JSON that every benchmark ends with."""

import json
from pathlib import Path

from benchmarks.report import Environment, Metric, Report, Results

LATENCY = Metric("present p50", "ms")


def results() -> Results:
    """Two rounds of ours and one peer, of which one round is slow for both."""
    table = Results()
    for ours, peer in ((10.0, 20.0), (40.0, 50.0), (12.0, 20.0)):
        table.add("static", LATENCY, "ours", ours)
        table.add("static", LATENCY, "selkies", peer)
    return table


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert results().ratio("static", LATENCY, "selkies") == 0.6
    assert results().median("static", LATENCY, "ours") == 12


def test_a_missing_subject_is_a_dash_and_not_an_error() -> None:
    table = results().table(["ours", "selkies", "aiortc"])
    row = table.splitlines()[2]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "static", "present p50 (ms)", "12.0", "20.0", "-", "0.60", "-",
    ]  # fmt: skip


def test_without_ours_there_is_no_ratio_column() -> None:
    assert "ours" not in results().table(["selkies"])


def test_a_peer_at_zero_gives_no_ratio() -> None:
    table = Results()
    table.add("static", LATENCY, "ours", 1.0)
    table.add("static", LATENCY, "selkies", 0.0)
    assert table.ratio("static", LATENCY, "selkies") is None


def test_text_and_json_say_where_when_and_who_was_skipped(tmp_path: Path) -> None:
    report = Report(
        title="A run",
        environment=Environment.now({"ours": "tightbeam 1"}),
        results=results(),
        subjects=["ours", "selkies"],
        skipped={"aiortc": "not installed"},
    )
    assert "skipped aiortc: not installed" in report.text()
    assert "tightbeam 1" in report.text()
    path = tmp_path / "run.json"
    report.write_json(path, [{"round": 1}])
    document = json.loads(path.read_text())
    assert document["rows"][0]["ratio"] == {"selkies": 0.6}
    assert document["trials"] == [{"round": 1}]
    assert document["environment"]["cores"] >= 1
