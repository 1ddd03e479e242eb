"""The page of a published claim: verdict, picture and rules, then the report of each protocol."""

from pathlib import Path

from markupsafe import Markup

from xent_bench.claims.standing import Standing
from xent_bench.report import claim_words as words
from xent_bench.report.charts.as_json import chart_json
from xent_bench.report.charts.claim import claim_pictures
from xent_bench.report.page import loss_colours, page
from xent_bench.report.page_runs import Surroundings
from xent_bench.report.preface import Preface, PrefaceChart
from xent_bench.runs.whole_files import write_whole

CAPTION = (
    "Each difference is of the first arm minus the second, paired by seed. Line: 95 % interval "
    "over seeds; vertical line: no difference; shaded: a tie, within the margin of the part. "
    "Diamond: as published; dot: fair, which decides; cross: not judged, since a pair is missing. "
    "Verdicts are corrected over the parts, intervals are not."
)


def write_claim_page(standing: Standing, file: Path) -> None:
    """Write the page of a claim that was judged; the file is either complete or not there."""
    write_whole(file, claim_page(standing, Surroundings(file.parent)))


def claim_page(standing: Standing, around: Surroundings | None = None) -> str:
    """Build the HTML: both protocols side by side, and below them what a report shows of each."""
    judgement = standing.judgement
    assert judgement is not None
    comparisons = [judged.comparison for judged in judgement.protocols]
    pictures = claim_pictures(judgement, standing.asked.design.seeds, loss_colours(comparisons))
    preface = Preface(
        f"Claim: {standing.asked.name}",
        "The claim",
        words.verdict_sentence(judgement),
        words.about(standing.asked),
        [
            PrefaceChart(
                Markup(chart_json(picture.figure)),
                picture.words,
                CAPTION if picture is pictures[-1] else "",
            )
            for picture in pictures
        ],
        [words.parts_table(judgement), words.protocols_table(standing)],
        words.edit_lines(standing),
        [
            *words.rules_in_words(standing.asked.claim),
            *words.remarks(standing),
            words.cost_sentence(standing),
        ],
    )
    return page(comparisons, around=around, preface=preface)
