"""The image without a container engine: its Containerfile carried out on this system's files, run as a kubelet would.

Linux namespaces stand for the engine: a root of its own with this system's programs, all of it read-only, a process
tree and a network of its own. The base image is the one thing that is not the real one.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

NEEDS: Final = "needs root, util-linux and iproute2: namespaces stand for a container engine"
PROGRAMS: Final = ("unshare", "setpriv", "chroot", "ip", "nsenter")
WHEELS: Final = Path(__file__).parents[2] / ".cache" / "image-wheels"
DEVICES: Final = ("null", "zero", "random", "urandom", "full")

_ENTER: Final = textwrap.dedent(
    """\
    set -eu
    root=$1 binds=$2 user=$3
    shift 3
    mount -t tmpfs -o mode=0755 root "$root"
    mkdir -p "$root/proc" "$root/dev" "$root/usr"
    mount --bind /usr "$root/usr"
    mount -o remount,bind,ro "$root/usr"
    for name in bin sbin lib lib32 lib64; do
        [ ! -L "/$name" ] || ln -s "$(readlink "/$name")" "$root/$name"
    done
    mount -t proc proc "$root/proc"
    for name in {devices}; do
        : >"$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    done
    while read -r mode from to; do
        mkdir -p "$(dirname "$root$to")"
        if [ "$mode" = memory ]; then
            mkdir -p "$root$to"
            mount -t tmpfs -o "$from" memory "$root$to"
            continue
        fi
        if [ -d "$from" ]; then mkdir -p "$root$to"; else : >"$root$to"; fi
        mount --bind "$from" "$root$to"
        [ "$mode" = rw ] || mount -o remount,bind,ro "$root$to"
    done <"$binds"
    mount -o remount,ro "$root"
    cd /
    exec /usr/sbin/chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \\
        --bounding-set=-all --pdeathsig KILL "$@"
    """
).replace("{devices}", " ".join(DEVICES))


def possible() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@dataclass
class Image:
    """What the Containerfile makes: its own files by path within, and its configuration."""

    files: dict[str, Path] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    user: int = 0
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)


class Network:
    """A network namespace with nothing but loopback and some addresses of its own."""

    def __init__(self, name: str, *addresses: str) -> None:
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.inside("ip", "link", "set", "lo", "up")
        if addresses:  # not on loopback: some programs see no address there
            self.inside("ip", "link", "add", "pods", "type", "veth", "peer", "name", "away")
            self.inside("ip", "link", "set", "pods", "up")
            self.inside("ip", "link", "set", "away", "up")
        for address in addresses:
            self.inside("ip", "address", "add", f"{address}/32", "dev", "pods")

    def inside(self, *command: str, timeout: float = 60) -> str:
        """Run a command there and give its output."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


@contextlib.contextmanager
def network(name: str, *addresses: str) -> Iterator[Network]:
    made = Network(f"tb-{name}-{os.getpid()}", *addresses)
    try:
        yield made
    finally:
        made.remove()


def _entering(folder: Path, binds: Sequence[str], user: int) -> list[str]:
    """The command before the command."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root").mkdir(exist_ok=True)
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    links = folder / "python" / "bin"
    links.mkdir(parents=True, exist_ok=True)
    (links / "python").unlink(missing_ok=True)
    (links / "python").symlink_to(python)
    lines = [*binds, f"ro {folder / 'python'} /python"]
    if not python.is_relative_to("/usr"):
        lines.append(f"ro {python.parent.parent} {python.parent.parent}")
    (folder / "binds").write_text("".join(f"{line}\n" for line in lines))
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
    return [
        *enter,
        "sh",
        "-c",
        _ENTER,
        "enter",
        str(folder / "root"),
        str(folder / "binds"),
        str(user),
    ]


def start(
    folder: Path,
    command: Sequence[str],
    *,
    user: int,
    env: Mapping[str, str],
    binds: Sequence[str],
    net: Network,
    log: IO[bytes] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Run a container's command as its process 1; `binds` are lines `ro|rw FROM TO` or `memory OPTIONS TO`."""
    return subprocess.Popen(
        ["ip", "netns", "exec", net.name, *_entering(folder, binds, user), *command],
        env=dict(env),
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def first_process(outer: subprocess.Popen[bytes]) -> int | None:
    """The id, out here, of what is process 1 in there; None before it runs as itself."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    return int(children[0]) if children else None


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert not line.endswith("\\"), "one instruction is one line here"
            word, _, rest = line.partition(" ")
            yield word, rest


def fetch_wheels(lock: Path) -> None:
    """What the locked packages are made of, once for each lock: installing asks nobody then."""
    stamp = WHEELS / hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists():
        return
    shutil.rmtree(WHEELS, ignore_errors=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    subprocess.run(
        [*download, "--no-deps", "--require-hashes", "-r", str(lock), "-d", str(WHEELS)],
        check=True,
        timeout=240,
    )
    stamp.touch()


class Build:
    """Carries a Containerfile out, one instruction after the other."""

    def __init__(self, context: Path, folder: Path) -> None:
        self._context, self._folder = context, folder
        self._stages: dict[str, Image] = {}
        self._image = Image()

    def run(self, text: str) -> Image:
        """The last stage's image."""
        for word, rest in _instructions(text):
            getattr(self, f"_{word.lower()}")(rest)
        return self._image

    def _from(self, rest: str) -> None:
        _, _, name = rest.partition(" AS ")
        self._image = self._stages[name] = Image()
        self._stage = self._folder / f"stage-{len(self._stages)}"

    def _place(self, path: str) -> Path:
        """The folder that is /<first part of the path> in there."""
        top = "/" + path.split("/")[1]
        own = self._image.files.setdefault(top, self._stage / top[1:])
        own.mkdir(parents=True, exist_ok=True)
        return own / path.removeprefix(top).lstrip("/")

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        place = self._place(target)
        if sources[0].startswith("--from="):
            stage = self._stages[sources.pop(0).removeprefix("--from=")]
            top = "/" + sources[0].split("/")[1]
            shutil.copytree(
                stage.files[top] / sources[0].removeprefix(top)[1:], place, symlinks=True
            )
            return
        for pattern in sources:
            found = glob.glob(pattern, root_dir=self._context)
            assert len(found) == 1, f"COPY {pattern}: {found}"
            shutil.copy(self._context / found[0], place)

    def _run(self, rest: str) -> None:
        binds = [f"rw {self._place(top)} {top}" for top in ("/opt", "/build")]
        binds += ["ro /etc /etc", "memory mode=1777 /tmp", f"ro {WHEELS} /wheels"]
        env = os.environ | {"PATH": "/python/bin:/usr/bin:/bin", "HOME": "/tmp"}
        env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        command = _entering(self._folder / "enter", binds, 0)
        done = subprocess.run(
            [*command, "sh", "-c", rest],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"RUN {rest}: {done.stdout}{done.stderr}"

    def _env(self, rest: str) -> None:
        self._image.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    def _user(self, rest: str) -> None:
        self._image.user = int(rest.partition(":")[0])

    def _expose(self, rest: str) -> None:
        self._image.ports = set(map(int, rest.split()))

    def _stopsignal(self, rest: str) -> None:
        assert rest == "SIGTERM"

    def _entrypoint(self, rest: str) -> None:
        self._image.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self._image.cmd = json.loads(rest)
