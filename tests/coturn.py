"""A real coturn for tests, on loopback, over UDP, TCP and TLS: the server that TURN credentials are made for."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.up import tls
from tests.eventually import eventually
from tests.ports import free_port

SECRET = "coturn-and-the-nodes-share-this-one"


class Coturn:
    """One turnserver process; `log` is what it said."""

    def __init__(self, folder: Path, *options: str, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        self._log = folder / "coturn.log"
        self.port, self.tls_port = free_port(), free_port()
        made = tls.ensure(folder / "tls", ["127.0.0.1"])
        self.authority = made.authority
        self.trusting = ssl.create_default_context(cafile=str(made.authority))
        self._config = folder / "turnserver.conf"
        self._config.write_text(
            "\n".join(
                (
                    *(f"listening-ip={address}" for address in addresses),
                    f"listening-port={self.port}",
                    f"tls-listening-port={self.tls_port}",
                    f"cert={made.certificate}",
                    f"pkey={made.key}",
                    "use-auth-secret",
                    f"static-auth-secret={SECRET}",
                    "realm=tightbeam",
                    "allow-loopback-peers",
                    "relay-threads=1",
                    "no-cli",
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
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = ["turnserver", "-c", str(self._config)]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self._config.parent
            )

    def restart(self) -> None:
        """Killed, with all that it relays, and started again where it was."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()
        eventually(self.answers, "coturn answers again")

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}"

    @property
    def urls(self) -> dict[str, str]:
        """By the way that a client takes."""
        tls_url = f"turns:127.0.0.1:{self.tls_port}?transport=tcp"
        return {"udp": self.url, "tcp": f"{self.url}?transport=tcp", "tls": tls_url}

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def answers(self) -> bool:
        """Its TCP listeners are there: the UDP one of the same port came before them."""
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError):
            for address in self._addresses:
                for port in (self.port, self.tls_port):
                    socket.create_connection((address, port), timeout=1).close()
            return True
        return False


@contextlib.contextmanager
def coturn(*options: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Coturn]:
    folder = Path(tempfile.mkdtemp(prefix="tightbeam-coturn-"))
    server = Coturn(folder, *options, addresses=addresses)
    try:
        eventually(server.answers, "coturn answers")
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(folder)
