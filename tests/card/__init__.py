"""A graphics card for tests: FFmpeg's real CUDA code on a driver that stands for NVIDIA's (fake_cuda.c)."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

import pytest
from av import VideoFrame
from av.filter import Graph

SONAME = "libcuda.so.1"
WIDTH, HEIGHT = 320, 240


@dataclass(frozen=True, slots=True)
class Counts:
    """Pieces of the card's memory that are alive, copies into it, and copies out of it."""

    alive: int
    copied_in: int
    copied_out: int


@functools.cache
def _driver() -> ctypes.CDLL:
    """Loaded under the name by which FFmpeg then asks for it, for the rest of this process."""
    if find_library("cuda") is not None:
        pytest.skip("this machine has NVIDIA's own driver, which the stand-in would hide")
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder, SONAME))
        source = str(Path(__file__).with_name("fake_cuda.c"))
        command = ["gcc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{SONAME}", source, "-o", library]
        subprocess.run(command, check=True)
        return ctypes.CDLL(library)


def counts() -> Counts:
    """Of the driver, since it was loaded."""
    return Counts(*(_driver().fake_count(number) for number in range(3)))


def screen(seen_fps: int, source: str, options: str) -> Graph:
    """What one of FFmpeg's sources shows, on the card: so many pictures a second, each repeated as ddagrab does."""
    _driver()
    graph = Graph()
    steps = (
        (source, f"size={WIDTH}x{HEIGHT}:rate={seen_fps}{options}"),
        ("format", "bgra"),
        ("hwupload_cuda", None),
        ("fps", str(3 * seen_fps)),
        ("realtime", None),
        ("buffersink", None),
    )
    filters = [graph.add(name, said) for name, said in steps]
    graph.link_nodes(*filters).configure()
    return graph


def address(surface: VideoFrame) -> int:
    """Where on the card a picture is."""
    return int(surface.planes[0].buffer_ptr)
