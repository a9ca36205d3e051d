"""The house rules that can be checked: who imports whom, that cores stay cores, and how big rooms get."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("cluster", "agent", "client", "loadtests")
MAX_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 5

CORES = (
    "cluster/protocol",
    "cluster/room.py",
    "cluster/limits.py",
    "cluster/proxies.py",
    "cluster/turn.py",
    "agent/rtp",
    "agent/audio/plan.py",
    "agent/clipboard/wire.py",
    "agent/congestion",
    "agent/cursor/wire.py",
    "agent/input/events.py",
    "agent/input/effects.py",
    "agent/input/guard.py",
    "agent/input/pad_events.py",
    "agent/input/pad_guard.py",
    "agent/input/spare_keys.py",
    "agent/presence/chord.py",
    "agent/frames.py",
    "agent/capture/pacing.py",
    "agent/encode/refresh.py",
    "agent/service/keeper.py",
)
NOT_IN_A_CORE = {
    "aiortc", "asyncio", "av", "httptools", "logging", "os", "redis", "socket", "starlette",
    "subprocess", "threading", "time", "uvicorn", "websockets",
}  # fmt: skip

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            yield node.module or ""


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_core(path: Path) -> bool:
    name = name_of(path)
    return any(name == core or name.startswith(core + "/") for core in CORES)


@pytest.mark.parametrize("core", CORES)
def test_every_core_exists(core: str) -> None:
    assert (ROOT / core).exists()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    package = name_of(path).split("/")[0]
    for module in imports(path):
        top = module.split(".")[0]
        if top not in PACKAGES or top == package:
            continue
        shared = module == "cluster.protocol" or module.startswith("cluster.protocol.")
        page = package == "cluster" and module == "client"
        assert shared or page, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [path for path in SOURCES if is_core(path)], ids=name_of)
def test_a_core_has_no_clock_and_no_io(path: Path) -> None:
    used = {module.split(".")[0] for module in imports(path)}
    assert not used & NOT_IN_A_CORE


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_transport_knows_aiortc(path: Path) -> None:
    used = {module.split(".")[0] for module in imports(path)}
    private = used & {"aiortc", "aioice", "pylibsrtp"}
    assert not private or name_of(path).startswith("agent/transport/")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_begins_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_are_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{lines} lines"
    for function in functions(path):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{function.name}: {length} lines"
        taken = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        count = len([arg for arg in taken if arg.arg not in ("self", "cls")])
        assert count <= MAX_PARAMETERS, f"{function.name}: {count} parameters"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_exception_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.id if isinstance(node.type, ast.Name) else None
        broad = node.type is None or caught in ("Exception", "BaseException")
        silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
        assert not (broad and silent), f"line {node.lineno}"


def test_the_page_never_sets_inner_html() -> None:
    for path in (ROOT / "client").rglob("*.js"):
        assert "innerHTML" not in path.read_text(encoding="utf-8"), name_of(path)


def test_the_page_loads_nothing_from_another_host() -> None:
    for path in (ROOT / "client").rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text(encoding="utf-8")
            assert "http://" not in text.replace("http://www.w3.org/", ""), name_of(path)
            assert "https://" not in text, name_of(path)


def test_the_locks_name_no_registry() -> None:
    locks = ("requirements.lock", "package-lock.json", "deploy/image/requirements.lock")
    windows = ("tests/windows/packages.lock", "tests/windows/python.lock")
    for lock in (*locks, *windows):
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert '"resolved"' not in text
        assert "--index-url" not in text
        assert "://files." not in text


def test_the_windows_lock_has_the_versions_of_the_other() -> None:
    """But numpy's (tests/windows/constraints.txt)."""

    def pins(lock: str) -> set[str]:
        lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
        return {line.split()[0] for line in lines if "==" in line and "--hash" not in line}

    foreign = pins("tests/windows/packages.lock") - pins("requirements.lock")
    assert {pin.partition("==")[0] for pin in foreign} <= {"numpy", "colorama"}
