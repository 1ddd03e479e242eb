"""Train a sweep beside an MLflow server that fails; compare it with one that logs to a file.

`resets`: a proxy lets the server do what it is asked, and resets connections instead of answering.
`outages`: the server cannot be reached for seconds, again and again, from the start.
"""

import argparse
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stress import LONGEST, MOST, _differences, _sweep

XENT_SYNC = str(Path(sys.executable).with_name("xent-sync"))
PATIENCE = 120  # seconds: MLflow's imports on a busy machine
HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


class Proxy(ThreadingHTTPServer):
    """A proxy on loopback before the server at `port`, which loses answers, or is down."""

    daemon_threads = True

    def __init__(self, port: int, resets: float, rng: random.Random) -> None:
        """Lose the share `resets` of all answers; `is_up` says whether requests get through."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.resets, self.rng = port, resets, rng
        self.is_up, self.counts, self.lock = True, Counter[str](), threading.Lock()

    @property
    def uri(self) -> str:
        """The address to give to a sweep."""
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, event: str) -> None:
        """Count a request that was answered, lost after it was done, or not let through."""
        with self.lock:
            self.counts[event] += 1

    def handle_error(self, *_: object) -> None:
        """Print nothing for a client that has gone."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.server.is_up:
            self.server.count("not let through")
            self._reset()
            return
        upstream = HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        with self.server.lock:
            is_lost = self.server.rng.random() < self.server.resets
        if is_lost or not self.server.is_up:
            self.server.count("done, and the answer lost")
            self._reset()
            return
        self.server.count("answered")
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in HOP:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # close() then sends a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        with suppress(OSError):
            os.close(self.connection.detach())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815  names of http.server

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main() -> int:
    """0 if the disturbed sweep left in its folders and in MLflow what the undisturbed one did."""
    arguments = _arguments()
    rng = random.Random(arguments.seed)
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="xent-stress-store-"))
    folder.mkdir(parents=True, exist_ok=True)
    _write_net(folder)
    start = time.monotonic()
    print(f"In {folder}, seed {arguments.seed}. Undisturbed ...", flush=True)
    if (code := _sweep(folder, "straight", arguments).wait(LONGEST)) != 0:
        raise SystemExit(f"the undisturbed sweep ended with {code}: see {folder}/straight.log")
    server, port = _serve(folder)
    try:
        resets = arguments.resets if arguments.form == "resets" else 0.0
        proxy = Proxy(port, resets, rng)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        if arguments.form == "outages":
            proxy.is_up = False  # at the start, too
            threading.Thread(target=_come_and_go, args=(proxy, rng), daemon=True).start()
        typed, synced = _trained(folder, arguments, proxy)
        proxy.shutdown()
    finally:
        server.terminate()
        server.wait()
    counts = ", ".join(f"{number} {event}" for event, number in sorted(proxy.counts.items()))
    print(f"requests: {counts}; the command was typed {typed} times, xent-sync {synced} times")
    wrong = list(_differences(folder, arguments.runs))
    for line in wrong:
        print(f"WRONG {line}")
    agree = "differ" if wrong else "agree in every weight, prediction, metric, curve and point"
    print(f"{arguments.runs} runs: the two sweeps {agree}; {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", choices=("resets", "outages"))
    parser.add_argument("--resets", type=float, default=0.1, help="share of answers that are lost")
    parser.add_argument("--runs", type=int, default=20, help="a multiple of 5")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--folder", help="to keep everything in; by default a temporary one")
    return parser.parse_args()


def _write_net(folder: Path) -> None:
    from stress import DROPPING

    (folder / "dropping.py").write_text(DROPPING)


def _serve(folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """Start an MLflow server on `cut.db`, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers=1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/cut.db"]
    command += ["--artifacts-destination", (folder / "artifacts").resolve().as_uri()]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=os.environ | quiet, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError, HTTPException):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return server, port
        time.sleep(0.1)
    server.terminate()
    raise SystemExit(f"no server: see {folder}/server.log")


def _come_and_go(proxy: Proxy, rng: random.Random) -> None:
    while True:
        time.sleep(rng.expovariate(1 / 3))
        proxy.is_up = not proxy.is_up


def _trained(folder: Path, arguments: argparse.Namespace, proxy: Proxy) -> tuple[int, int]:
    """Type the command until it is done, then xent-sync; return how often each was typed."""
    typed, code = 0, 4
    while code == 4 and typed < MOST:
        typed, code = typed + 1, _sweep(folder, "cut", arguments, proxy.uri).wait(LONGEST)
    if code != 0:
        raise SystemExit(f"ended with {code}: see {folder}/cut.log")
    for synced in range(1, MOST):
        done = subprocess.run([XENT_SYNC, "cut"], cwd=folder, check=False, timeout=LONGEST)
        if done.returncode == 0 and not list(folder.glob("cut/*/*/not_in_mlflow")):
            return typed, synced
        if done.returncode not in (0, 4):
            raise SystemExit(f"xent-sync ended with {done.returncode}")
    raise SystemExit("xent-sync never ended")


if __name__ == "__main__":
    sys.exit(main())
