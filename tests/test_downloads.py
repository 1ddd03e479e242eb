"""Downloads of timm's weights: without a network they end at once, a slow one is waited for."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="the extra timm is not installed")

CONTENT = b"weights"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DOWNLOAD = (
    "from xent_bench.models.timm_weights import _Download\n"
    "print(_Download('owner/net', ('model.safetensors',), None)())"
)


def downloaded(cache: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Download the file of a repository from the Hub at this port of this machine."""
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    environment = {k: v for k, v in os.environ.items() if k not in proxies}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": f"http://127.0.0.1:{port}"}
    return subprocess.run(
        [sys.executable, "-c", DOWNLOAD],
        env=environment | {"HF_HUB_ETAG_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextmanager
def slow_hub() -> Iterator[int]:
    """The port of a Hub whose first answer comes after the library's patience of one second."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            if len(asked) == 1:
                time.sleep(2.5)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_without_a_connection_a_download_ends_within_seconds(tmp_path):
    start = time.monotonic()
    done = downloaded(tmp_path, port=9)  # where nothing listens

    assert time.monotonic() - start < 20  # the library itself would try for 100 s
    line = done.stderr.splitlines()[-1]
    assert "DataError: cannot download model.safetensors of owner/net (model.weights=FILE" in line
    assert "no connection to http://127.0.0.1:9/owner/net/" in line


def test_a_slow_answer_is_waited_for(tmp_path):
    with slow_hub() as port:
        done = downloaded(tmp_path, port)

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == CONTENT
