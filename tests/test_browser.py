"""The page and MLflow's UI as a person sees them, in a real browser."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from xent_bench.commands.report import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
XENT_UI = str(Path(sys.executable).with_name("xent-ui"))
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")
PATIENCE = 40_000  # ms: the machine may be busy

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        yield started
        started.close()


@pytest.fixture
def tab(browser):
    """A page of a laptop's size that reaches this machine alone; errors of its scripts fail."""
    page = browser.new_page(viewport={"width": 1366, "height": 800})
    page.set_default_timeout(PATIENCE)
    local = re.compile(r"^(http://127\.0\.0\.1|file:|data:|blob:|about:)")
    page.route(lambda url: not local.match(url), lambda route: route.abort())
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="module")
def addresses(swept, tmp_path_factory):
    """Of the UI on the store with the published report: of itself, and of the view it names."""
    folder, store = swept
    main([str(folder), "--rank-anyway", "--publish"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [XENT_UI, "--store", store, "--port", str(port)]
    errors = tmp_path_factory.mktemp("ui") / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as server,
    ):
        try:
            first, view, _ = (server.stdout.readline() for _ in range(3))
            yield re.search(r"http[^,\s]+", first).group(), view.partition(": ")[2].strip()
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
        with pytest.raises(OSError, match="refused"):  # it has left nothing running
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
    assert errors.read_text() == ""  # MLflow prints a page of lines


def test_the_view_opens_on_losses_with_test_scores_as_bars(tab: Page, addresses):
    tab.goto(addresses[1])

    for loss in ("ce", "sparse_ce", "hinge", "square"):
        expect(tab.get_by_text(f"Group: {loss}", exact=True).first).to_be_visible()
    for chart in ("test/top1", "test/nll", "test/ece"):
        expect(tab.get_by_text(chart, exact=True).first).to_be_visible()
    # among the pages for training, not those for language models, where runs are hard to find
    expect(tab.get_by_role("link", name="Models", exact=True)).to_be_visible()
    expect(tab.get_by_text("8 matching runs")).to_be_visible()  # of each loss the chosen trial
    expect(tab.locator("svg.main-svg").first).to_be_visible()


def test_a_runs_reliability_diagram_opens(tab: Page, addresses):
    tab.goto(addresses[1])
    tab.locator("[row-id='param.loss.ce'] span[role=button]").first.click()
    tab.get_by_role("link", name="ce-s0", exact=True).first.click()
    tab.get_by_text("Artifacts", exact=True).first.click()
    tab.get_by_text("pictures", exact=True).click()
    tab.get_by_text("reliability.png", exact=True).click()
    picture = tab.locator("img[src^='blob:']").first
    expect(picture).to_be_visible()

    assert picture.evaluate("each => each.naturalWidth") > 500


def test_two_runs_are_compared(tab: Page, addresses):
    tab.goto(addresses[1])
    tab.locator("[row-id='param.loss.ce'] span[role=button]").first.click()
    boxes = tab.locator("[row-id^='param.loss.ce.'] input.ag-checkbox-input")
    for place in (0, 1):
        boxes.nth(place).click()
    tab.get_by_role("button", name="Compare").click()

    expect(tab.get_by_text("Comparing 2 Runs").first).to_be_visible()


def test_the_report_opens_from_the_experiment(tab: Page, addresses):
    address, view = addresses
    tab.goto(re.sub(r"\?.*", "", view))
    with tab.expect_popup() as opened:
        tab.get_by_role("link", name="The report").first.click()
    page = opened.value.frame_locator("iframe").first

    expect(page.get_by_role("heading", name="swept: synthetic with mlp")).to_be_visible()
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()
    assert opened.value.url.startswith(address)


def test_the_page_opens_from_disk_and_prints(tab: Page, swept, tmp_path):
    main([str(swept[0]), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"file://{tmp_path}/page.html")
    charts = tab.locator(".chart")
    expect(charts).to_have_count(7)
    for place in range(7):
        expect(charts.nth(place).locator("svg.main-svg").first).to_be_visible()

    assert asked == [f"file://{tmp_path}/page.html"]
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 1366  # nothing to scroll sideways for
    tab.emulate_media(media="print")
    # a browser tells the page a moment later; 703: A4 less its margins, in px of 1/96 inch
    tab.wait_for_function(
        """() => [...document.querySelectorAll(".chart svg.main-svg")]
            .every(drawn => drawn.clientWidth <= 703)"""
    )
    assert tab.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--store", "sqlite:///none.db"], 4, "no store at sqlite:///none.db"),
        (["--store", "http://127.0.0.1:9"], 4, "is a server already"),
        (["--host", "0.0.0.0"], 2, "--host"),
        (["--port", "99999"], 2, "expected a port from 1 to 65535, got 99999"),
        (["--uvicorn-opts", "--host 0.0.0.0"], 2, "another host than loopback"),
        (["--gunicorn-opts=--bind 0.0.0.0:1"], 2, "another host than loopback"),
        (["--waitress-opts=--listen=*:1"], 2, "another host than loopback"),
        (["--hos", "0.0.0.0"], 2, "another host than loopback"),
        (["--allowed-hosts", "*"], 2, "another host than loopback"),
        (["--cors-allowed-origins=*"], 2, "another host than loopback"),
        (["--disable-security-middleware"], 2, "another host than loopback"),
        (["--app-name", "mine"], 2, "another host than loopback"),
        (["--workers", "0"], 2, "expected a number from 1 to 64, got 0"),
    ],
)
def test_a_mistake_gets_a_line(tmp_path, arguments, code, complaint):
    refused = subprocess.run(
        [XENT_UI, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert refused.returncode == code
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named(swept, addresses):
    port = addresses[0].rpartition(":")[2]
    refused = subprocess.run(
        [XENT_UI, "--store", swept[1], "--port", port], capture_output=True, text=True, check=False
    )

    assert refused.returncode == 4
    assert "something answers at" in refused.stderr
