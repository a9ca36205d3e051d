"""What runs beside a cluster that is tried: fleet exporter and Prometheus, and Locust until it is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.local import LocalCluster
from benchmarks.processes import Nursery, Process
from deploy.observability import ask, prometheus
from tests.eventually import eventually
from tests.outages.cluster import status
from tests.ports import free_port

START_LIMIT_S: Final = 60.0
LOCUST_ENDS_S: Final = 120.0
TALLY: Final = ("                sessions", "tightbeam     ", "plain         ")
"""How the lines begin of what Locust counted at its end."""


def say(words: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {words}", flush=True)


class Monitoring:
    """The exporter, and a Prometheus that reads it and all nodes every second, with these rules."""

    def __init__(self, nursery: Nursery, cluster: LocalCluster, rules: str) -> None:
        place = f"127.0.0.1:{free_port()}"
        env = {
            "PATH": os.environ["PATH"],
            "TIGHTBEAM_REDIS_URL": cluster.redis_url,
            "TIGHTBEAM_PORT": place.rpartition(":")[2],
        }
        argv = [sys.executable, "-P", "-m", "cluster.cli", "fleet-exporter"]
        self.exporter: Process = nursery.start("exporter", argv, env=env)
        ready = f"http://{place}/readyz"
        eventually(lambda: status(ready) == 200, "the exporter is ready", START_LIMIT_S)
        file, config = nursery.folder / "rules.yml", nursery.folder / "prometheus.json"
        file.write_text(rules)
        nodes = [node.url("").removeprefix("http://") for node in cluster.nodes]
        jobs = {"tightbeam-node": nodes, "tightbeam-fleet-exporter": [place]}
        config.write_text(prometheus.config(jobs, file, 1, 1))
        listens = f"127.0.0.1:{free_port()}"
        nursery.start("prometheus", prometheus.command(nursery.folder, config, listens))
        self.url = f"http://{listens}"
        ready = f"{self.url}/-/ready"
        eventually(lambda: status(ready) == 200, "Prometheus is ready", START_LIMIT_S)

    def fired(self, since: float) -> list[str]:
        """Alerts that were firing at some time from then (Unix seconds) until now."""
        expr = 'count by (alertname) (ALERTS{alertstate="firing"})'
        found = ask.lately(self.url, expr, (since, time.time()), 1.0)
        return sorted(series.labels["alertname"] for series in found)

    def ended(self, alert: str) -> bool:
        """Whether it does not fire now."""
        return not ask.now(self.url, f'ALERTS{{alertname="{alert}",alertstate="firing"}}')

    def value(self, expr: str) -> float:
        """What an expression without labels is now; NaN where it has no value."""
        found = ask.now(self.url, expr)
        return found[0].points[0][1] if found else float("nan")


@contextlib.contextmanager
def locust(argv: Sequence[str], secret: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Locust by this command, its words in `log`, until the block is left; `end` it before, to hear its judgement."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=load.ROOT,
            env={**os.environ, "JWT_SECRET": secret},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes], log: Path) -> list[str]:
    """Let its sessions end in order, print what it counted, and say what failed, in words."""
    if process.poll() is not None:
        return [f"Locust ended early with {process.returncode}: see {log}"]
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(LOCUST_ENDS_S)
    except subprocess.TimeoutExpired:
        return [f"Locust did not end within {LOCUST_ENDS_S:.0f} s: see {log}"]
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(line for line in lines if line.startswith(TALLY)))
    if code == 0:
        return []
    passed = [line.partition("threshold: ")[2] for line in lines if "threshold: " in line]
    return [f"Locust: {line}" for line in passed] or [f"Locust ended with {code}: see {log}"]
