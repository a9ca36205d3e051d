"""A real coturn for tests, on loopback: the server that TURN credentials are made for."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.eventually import eventually
from tests.ports import free_port

SECRET = "coturn-and-the-nodes-share-this-one"


class Coturn:
    """One turnserver process; `log` is what it said."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._log = folder / "coturn.log"
        self.port = free_port()
        config = folder / "turnserver.conf"
        config.write_text(
            "\n".join(
                (
                    "listening-ip=127.0.0.1",
                    f"listening-port={self.port}",
                    "use-auth-secret",
                    f"static-auth-secret={SECRET}",
                    "realm=tightbeam",
                    "allow-loopback-peers",
                    "relay-threads=1",
                    "no-cli",
                    "no-tls",
                    "no-dtls",
                    "verbose",
                    "log-file=stdout",
                    "simple-log",
                    f"userdb={folder / 'turndb'}",
                    f"pidfile={folder / 'pid'}",
                    *options,
                )
            )
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["turnserver", "-c", str(config)], stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def answers(self) -> bool:
        """Its TCP listener is there: the UDP one of the same port came before it."""
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False


@contextlib.contextmanager
def coturn(*options: str) -> Iterator[Coturn]:
    folder = Path(tempfile.mkdtemp(prefix="tightbeam-coturn-"))
    server = Coturn(folder, *options)
    try:
        eventually(server.answers, "coturn answers")
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(folder)
