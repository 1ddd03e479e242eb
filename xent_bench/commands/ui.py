"""xent-ui: start MLflow's UI on the store of the runs, reachable from this machine alone."""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterable
from http.client import HTTPException
from threading import Thread

from xent_bench.addresses import masked, masked_address
from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.failures import Unavailable
from xent_bench.process.streams import replace_what_cannot_be_shown

LOOPBACK = ("127.0.0.1", "localhost", "::1")
START_TIMEOUT = 180  # seconds: MLflow's imports on a slow disk
LAST_LINES = 20  # of what the server prints, shown where it fails
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
# Settings that would open the server to others, or run what they name: all of the programs below,
# except where the server's own files are.
SETTINGS = ("MLFLOW_", "_MLFLOW_", "UVICORN_", "GUNICORN_", "WAITRESS_", "FLASK_", "WERKZEUG_")
OTHERS = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PROXY_ALLOW_IPS")
HARMLESS = ("MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_SQLALCHEMYSTORE_", "MLFLOW_ALLOW_FILE_STORE")
_IS_ERROR = re.compile(r"\b(ERROR|CRITICAL)\b")


def main() -> None:
    """Run the console script."""
    replace_what_cannot_be_shown()
    options, others = _parser().parse_known_args()
    if others:
        typed = masked(" ".join(others))
        print(
            f"xent-ui: {typed}: expected --store, --host, --port or --workers; other options might "
            "open another host than loopback: type `mlflow ui` for them",
            file=sys.stderr,
        )
        sys.exit(Exit.USAGE)
    with one_line_errors("xent-ui"):
        try:
            sys.exit(serve(options.store, options.host, options.port, options.workers))
        except KeyboardInterrupt:
            print("Stopped.")


def serve(store: str | None, host: str, port: int, workers: int) -> int:
    """Start the server, print its address when it answers, and return its exit code at its end."""
    from xent_bench.tracking.reach import tracking_uri

    uri = tracking_uri(store)
    if uri.lower().startswith("http"):
        raise Unavailable(f"{masked_address(uri)} is a server already: open it in a browser")
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    views = _views(uri, address)
    if _is_taken(host, port):
        raise Unavailable(f"something answers at {address} already: --port chooses another")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    command += ["--workers", str(workers)]
    for signum in (signal.SIGTERM, signal.SIGHUP):  # exit, so that `finally` ends the server
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    server = subprocess.Popen(  # in a session of its own: Ctrl-C makes it print a traceback
        command,
        env=_environment(uri),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=LAST_LINES)
    Thread(target=_listen, args=(server.stderr, lines), daemon=True).start()
    try:
        _await(server, address, lines)
        print(
            f"MLflow: {address}, runs by loss of", *views, "Ctrl-C stops it.", sep="\n", flush=True
        )
        return server.wait()
    finally:
        server.terminate()
        server.wait()


def _views(uri: str, address: str) -> list[str]:
    """A line with the address of its view for each experiment in the store."""
    from xent_bench.tracking.reach import one_line
    from xent_bench.tracking.saved_view import view_address
    from xent_bench.tracking.store import existing_store  # MLflow takes seconds

    client = existing_store(uri)
    try:
        experiments = client.search_experiments()
    except Exception as error:  # MLflow's, or that of the database below it
        raise Unavailable(one_line(uri, error)) from error
    return [
        f"  {experiment.name}: {address}/{view_address(experiment.experiment_id)}"
        for experiment in experiments
        if experiment.name != "Default"
    ]


def _environment(uri: str) -> dict[str, str]:
    """The server's environment: ours without settings of servers, and with the store's address.

    On the command line, every user of the machine would see the address with its password.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(HARMLESS) or not (name.startswith(SETTINGS) or name in OTHERS)
    }
    return kept | LIGHT | {"MLFLOW_BACKEND_STORE_URI": uri}


def _listen(stream: Iterable[str], lines: "deque[str]") -> None:
    """Keep the last lines that the server prints, and show its errors."""
    for line in stream:
        lines.append(masked(line.rstrip()))
        if _IS_ERROR.search(line):
            print(lines[-1], file=sys.stderr, flush=True)


def _is_taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _await(server: "subprocess.Popen[str]", address: str, lines: "deque[str]") -> None:
    end = time.monotonic() + START_TIMEOUT
    while not _answers(address):
        if server.poll() is not None:
            print(*lines, sep="\n", file=sys.stderr)
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


def _workers(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= 64):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 64, got {text}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-ui",
        description="Start MLflow's UI on the store of your runs, reachable from this machine "
        "alone.",
        epilog=exit_codes_help(Exit.USAGE, Exit.UNAVAILABLE),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store", metavar="URI", help="default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
    )
    parser.add_argument("--host", choices=LOOPBACK, default=LOOPBACK[0])
    parser.add_argument("--port", "-p", type=_port, default=5000)
    parser.add_argument(
        "--workers", "-w", type=_workers, default=1, help="processes of the server (default: 1)"
    )
    return parser
