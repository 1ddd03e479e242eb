"""A real MLflow server on loopback, to be killed, frozen and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 120  # seconds: MLflow's imports and migrations on a busy machine
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class Server:
    """An MLflow server whose processes are one group, so that a signal reaches all of them."""

    def __init__(self, backend_uri: str, folder: Path, port: int) -> None:
        """Serve the store `backend_uri`; artifacts and the log go to `folder`."""
        self.backend_uri, self.folder, self.port = backend_uri, folder, port
        self.uri = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers=1"]
        command += ["--port", str(self.port), "--backend-store-uri", self.backend_uri]
        command += ["--artifacts-destination", (self.folder / "artifacts").resolve().as_uri()]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | LIGHT, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < end, f"no answer in {PATIENCE} s"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server at once, as a power cut would."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server within the block: it accepts connections and answers none."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _answers(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False


@contextmanager
def serve(backend_uri: str, folder: Path, port: int | None = None) -> Iterator[Server]:
    """A server that answers at `.uri` within the block, and is killed after it."""
    server = Server(backend_uri, folder, port or free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A port of loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
