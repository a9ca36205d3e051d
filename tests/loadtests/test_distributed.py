"""Master and worker as their manifests start them, with other addresses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import manifests
from tests.eventually import eventually
from tests.loadtests.test_runs import ROOT, ask
from tests.ports import free_port


def container(objects: list[Any], name: str) -> Any:
    found = manifests.find(objects, "Deployment", name)
    return found["spec"]["template"]["spec"]["containers"][0]


async def test_a_worker_of_the_manifests_finds_its_master(tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all(manifests.kustomize(manifests.LOAD)))
    master, worker = (container(objects, f"locust-{name}") for name in ("master", "worker"))
    service = manifests.find(objects, "Service", "locust")
    assert worker["args"][-1] == service["metadata"]["name"]
    defaults = {port["name"]: port["containerPort"] for port in master["ports"]}
    assert defaults == {"master": 5557, "web": 8089}
    ports = {name: str(free_port()) for name in defaults}
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LOCUST_LOCUSTFILE": str(ROOT / "loadtests" / "locustfile.py"),
    }
    argvs = [
        [*master["args"], "--master-bind-port", ports["master"], "--web-port", ports["web"]],
        [*worker["args"][:-1], "127.0.0.1", "--master-port", ports["master"]],
    ]
    argvs[0] += ["--master-bind-host", "127.0.0.1", "--web-host", "127.0.0.1"]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "locust",
            *argv,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for argv in argvs
    ]

    def has_worker() -> bool:
        try:
            stats = json.loads(ask(f"http://127.0.0.1:{ports['web']}/stats/requests"))
        except OSError:
            return False
        return len(stats["workers"]) == 1

    try:
        await asyncio.to_thread(eventually, has_worker, "a worker")
    finally:
        for process in processes:
            process.terminate()
        codes = [await asyncio.wait_for(process.wait(), 30) for process in processes]
    # Locust takes SIGTERM in hand only after its worker has spoken to the master.
    assert codes[1] in (0, -signal.SIGTERM)
