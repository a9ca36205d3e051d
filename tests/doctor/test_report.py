"""What follows from what the doctor found."""

import json

from agent.doctor.report import FAMILIES, Check, Family, Needs, State, as_json, judge, table

NEEDS = Needs(source="x11", audio=True, node=True)


def row(family: Family, name: str, state: State = "works", codec: str = "") -> Check:
    return Check(family, name, state, "words", {"codec": codec} if codec else {})


ALL = (
    row("capture", "x11"),
    row("encoder", "x264 H264", codec="H264"),
    row("audio", "pulse"),
    row("injector", "xtest"),
    row("gamepad", "uinput"),
    row("network", "node"),
    row("network", "nat"),
)


def without(name: str, *instead: Check) -> list[Check]:
    return [*(check for check in ALL if check.name != name), *instead]


def test_a_machine_on_which_all_works_is_ready() -> None:
    verdict = judge(ALL, NEEDS, FAMILIES)
    assert (verdict.problems, verdict.notes) == ((), ())


def test_what_sessions_cannot_do_without_is_a_problem() -> None:
    needed: tuple[tuple[str, Family, str], ...] = (
        ("x11", "capture", "no picture"),
        ("x264 H264", "encoder", "no video"),
        ("xtest", "injector", "no input"),
    )
    for name, family, words in needed:
        for checks in (without(name), without(name, Check(family, name, "fails", "w"))):
            (problem,) = judge(checks, NEEDS, FAMILIES).problems
            assert problem.startswith(words)
    (problem,) = judge(without("node", row("network", "node", "fails")), NEEDS, FAMILIES).problems
    assert problem.startswith("no signaling")
    vp9 = row("encoder", "vpx VP9", codec="VP9")
    assert judge(without("x264 H264", vp9), NEEDS, FAMILIES).problems


def test_what_sessions_must_do_without_is_a_note() -> None:
    checks = without("pulse", row("audio", "tone"), row("network", "turn:a:1", "fails"))
    checks.remove(row("gamepad", "uinput"))
    verdict = judge(checks, NEEDS, FAMILIES)
    assert verdict.problems == ()
    assert verdict.notes == ("no sound", "no gamepads", "turn:a:1 does not work")


def test_only_what_is_configured_and_was_looked_at_is_judged() -> None:
    pattern = Needs(source="testpattern", audio=False, node=False)
    checks = [row("capture", "testpattern"), row("encoder", "v", codec="VP8")]
    checks.append(row("network", "node", "absent"))
    assert judge(checks, pattern, FAMILIES).problems == ()
    assert judge([], NEEDS, ["display"]).problems == ()


def test_the_table_fits_its_width_and_the_json_has_everything() -> None:
    long = Check("capture", "gdi", "absent", "far too many words for one line " * 6)
    verdict = judge([*ALL, long], NEEDS, FAMILIES)
    text = table([*ALL, long], verdict, "versions", 100)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "encoder   x264 H264  works     words" in text
    assert text.endswith("Ready: nothing that was looked at keeps sessions from working.")
    got = json.loads(as_json([*ALL, long], verdict, {"tightbeam": "1"}))
    assert got["ready"] is True
    assert got["checks"][1] == {
        "family": "encoder", "name": "x264 H264", "state": "works", "words": "words", "figures": {"codec": "H264"},
    }  # fmt: skip
