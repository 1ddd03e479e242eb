"""The page of xent-report in a real browser: widths, themes, tables, data, paper, and access."""

import csv
import hashlib
import io
import json
import re
import shutil
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from compared_losses import compared, write_loss
from playwright.sync_api import Page, expect, sync_playwright
from plotly.offline import get_plotlyjs_version
from searched_losses import RATES, write_paused, write_trial
from test_claim_picture import claim_with_every_kind_of_part

from xent_bench.commands.report import main
from xent_bench.comparison.compare import compare
from xent_bench.comparison.stats import Estimate
from xent_bench.comparison.yardsticks import by_key
from xent_bench.palette import on_dark
from xent_bench.report import chart_library
from xent_bench.report.bounds import shown_within, within_bounds
from xent_bench.report.claim_page import write_claim_page
from xent_bench.report.page import write_page
from xent_bench.report.page_runs import Surroundings
from xent_bench.runs.files import RUN_ID
from xent_bench.runs.result import load_runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")
PATIENCE = 40_000  # ms: the machine may be busy
HOSTILE = "</script><img src=x onerror=alert(1)>'\""
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        yield started
        started.close()


@pytest.fixture
def tab(browser):
    """A page of a laptop's size; errors of its scripts, and requests to any server, fail."""
    page = browser.new_page(viewport={"width": 1366, "height": 800})
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.append(asked.url) if "http" in asked.url[:5] else None)
    yield page
    page.close()
    assert faults == []


@pytest.fixture(scope="module")
def files(swept, tmp_path_factory):
    """Pages of several kinds of reports, by name."""
    root = tmp_path_factory.mktemp("pages")
    runs = shutil.copytree(swept[0], root / "runs" / "swept")
    main([str(runs), "--rank-anyway", "--page", str(root / "sweep.html")])
    for number in range(14):
        write_loss(root / "many", f"loss_{number:02}" if number else "ce", 0.999 - number / 50)
    write_page([compared(root / "many")], root / "many.html")
    for rate in RATES:
        write_trial(root / "search", "ce", 0.9, **{"optimizer.lr": rate})
        write_trial(root / "search", "focal", 0.8 + rate, **{"optimizer.lr": rate})
    write_paused(root / "search", "ce", 3, **{"optimizer.lr": 0.5})
    write_page([compared(root / "search")], root / "search.html")
    write_loss(root / "tasks", "ce", 0.9, experiment=HOSTILE, data=HOSTILE)
    write_loss(root / "tasks", HOSTILE, 0.95, experiment=HOSTILE, data=HOSTILE)
    write_loss(root / "tasks", "ce", 0.8, model="mlp")
    write_page(compare(load_runs(root / "tasks")), root / "tasks.html", over_tasks=True)
    write_claim_page(claim_with_every_kind_of_part(), root / "claim.html")
    return {file.stem: file for file in root.glob("*.html")}


def opened(tab: Page, file, width=1366, scheme="light") -> Page:
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme=scheme)
    tab.goto(file.as_uri())
    expect(tab.locator("html[data-charts=drawn]")).to_be_attached()
    return tab


def column(tab: Page, table: str, place: int) -> list[str]:
    cells = tab.locator(f"table[aria-label^='{table}'] tbody tr:visible td:nth-child({place})")
    return cells.all_inner_texts()


@in_browser
def test_charts_are_as_wide_as_their_column_on_a_phone_and_on_a_wide_screen(tab, files):
    opened(tab, files["sweep"], 400)
    for width in (400, 1366, 2560):  # the same page in a window that changes
        tab.set_viewport_size({"width": width, "height": 800})
        tab.wait_for_function(
            """() => [...document.querySelectorAll(".chart")].every((box) =>
                Math.abs(box.querySelector("svg.main-svg").clientWidth - box.clientWidth) < 2)"""
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".chart").first.evaluate("box => box.clientWidth") > 650


@in_browser
@pytest.mark.parametrize("kind", ["sweep", "many", "search", "tasks", "claim"])
def test_nothing_keeps_a_reader_out(tab, files, kind):
    for width, scheme in ((1366, "light"), (400, "dark")):
        opened(tab, files[kind], width, scheme)
        found = Axe().run(tab).response["violations"]
        serious = [
            (rule["id"], node["html"][:200], node["failureSummary"][:300])
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"][:2]
        ]
        assert serious == []
        levels = tab.locator("h1, h2, h3").evaluate_all("all => all.map(one => +one.tagName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert files[kind].stat().st_size < 2_000_000


@in_browser
@pytest.mark.parametrize("width", [400, 1366])
def test_the_words_of_a_claims_picture_are_whole(tab, files, width):
    opened(tab, files["claim"], width)
    charts = tab.locator("section[aria-labelledby=preface] .chart")
    texts = charts.locator(".ytick text, .annotation text")

    assert charts.count() == 2
    assert "third against ce by top-1; expected:" in " ".join(texts.all_text_contents())
    outside = texts.evaluate_all(
        """texts => texts.filter((text) => {
            const inner = text.getBoundingClientRect();
            const outer = text.closest(".chart").getBoundingClientRect();
            return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top;
        }).map((text) => text.textContent)"""
    )
    assert outside == []


@in_browser
def test_a_table_sorts_by_number_and_back_from_the_keyboard(tab, files):
    opened(tab, files["many"])
    before = column(tab, "Means", 1)
    heading = tab.locator("table[aria-label^='Means'] th", has_text="top-1")
    heading.get_by_role("button").focus()
    tab.keyboard.press("Enter")
    rising = [float(re.match(r"[\d.]+", cell)[0]) for cell in column(tab, "Means", 3)]

    assert heading.get_attribute("aria-sort") == "ascending"
    assert rising == sorted(rising)
    assert len(set(rising)) == 14
    tab.keyboard.press("Enter")
    assert column(tab, "Means", 3)[0].startswith("100.0 +0.0 −")
    assert heading.get_attribute("aria-sort") == "descending"
    tab.keyboard.press("Enter")
    assert column(tab, "Means", 1) == before


@in_browser
def test_a_long_table_is_filtered_and_a_short_one_is_not(tab, files):
    opened(tab, files["many"])
    tab.get_by_label("Filter the rows of: Against ce").fill("loss_03 NLL")

    assert set(column(tab, "Against", 1)) == {"loss_03"}
    assert column(tab, "Against", 2) == ["NLL raw", "NLL scaled"]
    expect(tab.get_by_text(re.compile(r"^2 of \d+ rows$"))).to_be_visible()
    assert tab.get_by_label("Filter the rows of: Cost").count() == 1
    assert opened(tab, files["sweep"]).get_by_label("Filter the rows of: Cost").count() == 0


@in_browser
def test_the_records_saved_from_the_page_are_those_of_the_csv(tab, files, capsys):
    runs = files["sweep"].parent / "runs" / "swept"
    capsys.readouterr()
    main([str(runs), "--rank-anyway", "--format", "csv"])
    printed = capsys.readouterr().out
    opened(tab, files["sweep"])
    texts = []
    for form in ("CSV", "JSON"):
        with tab.expect_download() as saved:
            tab.get_by_label(f"Save as {form}: all numbers of the report").click()
        texts.append(saved.value.path().read_bytes().decode())
    rows, objects = list(csv.DictReader(io.StringIO(printed, newline=""))), json.loads(texts[1])

    assert texts[0] == printed
    assert [record["loss"] for record in objects] == [row["loss"] for row in rows]
    for record, row in zip(objects, rows, strict=True):
        assert {key for key, cell in row.items() if cell} <= record.keys()
        for key, value in record.items():
            if isinstance(value, str | bool):
                assert str(value) == row[key]
            else:
                assert value == float(row[key])


@in_browser
def test_a_table_is_saved_as_it_is_shown(tab, files):
    opened(tab, files["many"])
    tab.get_by_label("Filter the rows of: Cost").fill("loss_03")
    with tab.expect_download() as saved:
        tab.get_by_label("Save as CSV: Cost").click()
    rows = list(csv.reader(io.StringIO(saved.value.path().read_text())))

    assert rows == [
        ["loss", "n", "seconds a run", "examples / s"],
        ["loss_03", "4", "1.5", "1,000"],
    ]


@in_browser
def test_the_theme_changes_while_the_page_is_open_and_paper_is_light(tab, files):
    opened(tab, files["sweep"], scheme="light")
    text = "() => document.querySelector('.chart .xtick text').style.fill"
    colours = "() => getComputedStyle(document.body).backgroundColor"
    light = (tab.evaluate(text), tab.evaluate(colours))
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function(f"({text})() !== '{light[0]}'")
    dark = (tab.evaluate(text), tab.evaluate(colours))
    tab.emulate_media(media="print")
    tab.wait_for_function(f"({text})() === '{light[0]}'")

    assert dark == ("rgb(230, 233, 239)", "rgb(20, 24, 31)")
    assert (tab.evaluate(text), tab.evaluate(colours)) == light


@in_browser
def test_paper_has_everything_open_and_nothing_cut(tab, files):
    opened(tab, files["sweep"], scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print", color_scheme="dark")
    tab.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins, 1/96 inch

    assert tab.locator("details:not([open])").count() == 1  # the contents, which are not printed
    assert tab.locator(".contents").is_hidden()
    # charts are drawn again when the window has changed, a moment later
    tab.wait_for_function(
        """() => [...document.querySelectorAll("table, .chart svg.main-svg")]
            .every(one => one.getBoundingClientRect().right <= 704)"""
    )
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details:not([open])").count() > 1
    assert tab.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@in_browser
def test_a_row_leads_to_its_run_and_a_command_is_copied(tab, files):
    opened(tab, files["sweep"])
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.locator("table[aria-label^='Means'] a", has_text="hinge").first.click()
    row = tab.locator("tr:target")
    expect(row).to_be_visible()

    assert row.locator("td").first.inner_text() == "hinge"
    link = row.locator("a").first
    assert (files["sweep"].parent / link.get_attribute("href") / "result.json").exists()
    row.locator("button.copy").last.click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("xent-train loss=hinge")


@in_browser
def test_a_legend_hides_a_line(tab, files):
    opened(tab, files["sweep"])
    chart = tab.locator("figure", has_text="Share of wrong answers")
    lines = chart.locator(".scatterlayer .trace")
    before = lines.count()
    chart.get_by_role("button", name="ce", exact=True).press("Enter")

    expect(lines).to_have_count(before - 1)
    assert chart.locator("[aria-pressed=false]").inner_text() == "ce"


@in_browser
def test_a_hostile_name_is_text_everywhere(tab, files):
    opened(tab, files["tasks"])

    assert tab.locator("img").count() == 0
    assert tab.locator("h2", has_text="onerror").count() == 1
    assert tab.locator("table[aria-label^='Runs']").first.get_by_text(HOSTILE).count() >= 1


@in_browser
def test_without_scripts_all_is_readable(browser, files):
    page = browser.new_page(java_script_enabled=False)
    page.goto(files["sweep"].as_uri())

    expect(page.get_by_text("All numbers stand in the tables")).to_be_visible()
    assert page.locator("table").count() > 5
    assert page.locator("button:visible").count() == 0
    page.close()


def test_the_chart_library_is_the_one_that_its_package_names():
    source = chart_library.chart_library()

    assert get_plotlyjs_version() == chart_library.VERSION  # else: scripts/renew-plotly
    assert hashlib.sha256(source.encode()).hexdigest() == chart_library.SHA256
    assert "Licensed under the MIT license" in source[:300]


@pytest.mark.parametrize(
    ("key", "mean", "half", "shown"),
    [
        ("test/top1", 0.98, 0.01, "±1.0"),
        ("test/top1", 0.998, 0.005, " +0.2 −0.5"),
        ("test/ece", 0.01, 0.03, " +3.0 −1.0"),
        ("test/nll", 0.01, 0.5, " +0.500 −0.010"),
        ("test/nll", 5.0, 0.5, "±0.500"),
        ("test/brier", 1.9, 0.2, " +0.100 −0.200"),
        ("test/top1", 1.0, None, ""),
    ],
)
def test_an_interval_ends_where_no_value_can_lie(key, mean, half, shown):
    estimate = Estimate(mean, half, 3)

    assert shown_within(estimate, by_key()[key]) == shown
    bar = within_bounds(estimate, key)
    assert 0 <= mean - bar.down <= mean + bar.up <= {"test/nll": 9, "test/brier": 2}.get(key, 1)


@pytest.mark.parametrize("colour", ["#0072b2", "#333333", "#000000", "#b5bd00", "#ffffff"])
def test_a_colour_on_a_dark_page_can_be_seen(colour):
    def luminance(text):
        shares = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        parts = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    ratio = (luminance(on_dark(colour)) + 0.05) / (luminance("#14181f") + 0.05)

    assert ratio >= 4.5


def test_a_run_links_to_its_server_without_the_password(tmp_path):
    write_loss(tmp_path / "runs", "ce", 0.9)
    comparison = compared(tmp_path / "runs")
    for run in comparison.runs:
        run.tags[RUN_ID] = "ab12"
    around = Surroundings(tmp_path, lambda _: "https://ann:secret@host.example:5000/ml/")
    write_page([comparison], tmp_path / "page.html", around=around)
    text = (tmp_path / "page.html").read_text()

    assert 'href="https://host.example:5000/ml/#/runs/ab12"' in text
    assert "secret" not in text
    assert 'href="./runs/tested/ce-0/"' in text
