"""xent-ui: start MLflow's UI on the store of the runs, reachable from this machine alone."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.failures import Unavailable

LOOPBACK = ("127.0.0.1", "localhost", "::1")
START_TIMEOUT = 180  # seconds: MLflow's imports on a slow disk
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def main() -> None:
    """Run the console script."""
    options, mlflow_options = _parser().parse_known_args()
    # also within the options that MLflow hands on to its server
    if any("--host" in word for word in mlflow_options):
        typed = " ".join(mlflow_options)
        print(f"xent-ui: {typed}: another host than loopback is refused", file=sys.stderr)
        sys.exit(Exit.USAGE)
    with one_line_errors("xent-ui"):
        try:
            sys.exit(serve(options.store, options.host, options.port, mlflow_options))
        except KeyboardInterrupt:
            print("Stopped.")


def serve(store: str | None, host: str, port: int, mlflow_options: Sequence[str]) -> int:
    """Start the server, print its address when it answers, and return its exit code at its end."""
    from xent_bench.tracking.reach import tracking_uri
    from xent_bench.tracking.saved_view import view_address
    from xent_bench.tracking.store import existing_store  # MLflow takes seconds

    uri = tracking_uri(store)
    if uri.startswith("http"):
        raise Unavailable(f"{uri} is a server already: open it in a browser")
    client = existing_store(uri)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    views = [
        f"  {experiment.name}: {address}/{view_address(experiment.experiment_id)}"
        for experiment in client.search_experiments()
        if experiment.name != "Default"
    ]
    if _is_taken(host, port):
        raise Unavailable(f"something answers at {address} already: --port chooses another")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", host, "--port", str(port), "--workers", "1", *mlflow_options]
    for signum in (signal.SIGTERM, signal.SIGHUP):  # exit, so that `finally` ends the server
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    server = subprocess.Popen(  # in a session of its own: Ctrl-C makes it print a traceback
        command, env=os.environ | LIGHT, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _await(server, address)
        print(
            f"MLflow: {address}, runs by loss of", *views, "Ctrl-C stops it.", sep="\n", flush=True
        )
        return server.wait()
    finally:
        server.terminate()
        server.wait()


def _is_taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _await(server: "subprocess.Popen[bytes]", address: str) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not _answers(address):
        if server.poll() is not None:
            raise Unavailable(f"the server ended with code {server.returncode}; see above")
        if time.monotonic() > end:
            raise Unavailable(f"no answer from {address} within {START_TIMEOUT} s")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{address}/health", timeout=2):
            return True
    except (urllib.error.HTTPError, HTTPException):  # another program perhaps, but it answers
        return True
    except OSError:
        return False


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-ui",
        description="Start MLflow's UI on the store of your runs, reachable from this machine "
        "alone. Options that are not listed here go to `mlflow ui`.",
        epilog=exit_codes_help(Exit.USAGE, Exit.UNAVAILABLE),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store", metavar="URI", help="default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
    )
    parser.add_argument("--host", choices=LOOPBACK, default=LOOPBACK[0])
    parser.add_argument("--port", "-p", type=_port, default=5000)
    return parser
