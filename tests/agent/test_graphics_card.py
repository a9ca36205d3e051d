"""How busy the graphics card is: NVML's calls on a stand-in in C, and what is told without a driver."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from agent import graphics_card
from agent.graphics_card import GraphicsCard, Load, Nvml
from tests.eventually import eventually

SOURCE = Path(__file__).parents[1] / "card" / "fake_nvml.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", str(SOURCE), "-o", str(made)], check=True)
    return str(made)


@pytest.fixture
def driver(library: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(graphics_card, "LIBRARY", library)
    monkeypatch.setattr(graphics_card, "EVERY_S", 0.01)
    return monkeypatch


def test_a_cards_load_is_told_while_its_driver_answers(driver: pytest.MonkeyPatch) -> None:
    card = GraphicsCard()
    assert eventually(lambda: card.load() != Load() and card.load()) == Load(0.63, 0.2)
    driver.setattr(graphics_card, "STALE_S", 0.05)
    card.close()
    card.close()
    eventually(lambda: card.load() == Load(), "what is old is not told")


def test_a_card_that_is_lost_is_told_no_more_and_logged(
    driver: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver.setenv("FAKE_NVML_FAILS", "nvmlDeviceGetUtilizationRates")
    card = GraphicsCard()
    eventually(lambda: "nvmlDeviceGetUtilizationRates: NVML's error 15" in caplog.text, "the log")
    assert card.load() == Load()
    card.close()


@pytest.mark.usefixtures("driver")
def test_a_driver_that_refuses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlInit_v2")
    with pytest.raises(OSError, match="nvmlInit_v2: NVML's error 15"):
        Nvml()


def test_without_a_driver_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphics_card, "LIBRARY", f"libno-such-{time.time_ns()}.so")
    with caplog.at_level("DEBUG"):
        card = GraphicsCard()
        eventually(lambda: "no figures of a graphics card" in caplog.text, "the log")
    assert card.load() == Load()
