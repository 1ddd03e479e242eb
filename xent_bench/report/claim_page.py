"""The page of a published claim: its verdict and rules, then the report of each protocol."""

from pathlib import Path

from xent_bench.claims.standing import Standing
from xent_bench.report import claim_words as words
from xent_bench.report.page import Preface, page
from xent_bench.report.page_runs import Surroundings
from xent_bench.runs.whole_files import write_whole


def write_claim_page(standing: Standing, file: Path) -> None:
    """Write the page of a claim that was judged; the file is either complete or not there."""
    write_whole(file, claim_page(standing, Surroundings(file.parent)))


def claim_page(standing: Standing, around: Surroundings | None = None) -> str:
    """Build the HTML: both protocols side by side, and below them what a report shows of each."""
    judgement = standing.judgement
    assert judgement is not None
    preface = Preface(
        f"Claim: {standing.asked.name}",
        "The claim",
        words.verdict_sentence(judgement),
        words.about(standing.asked),
        [words.parts_table(judgement), words.protocols_table(standing)],
        words.edit_lines(standing),
        [
            *words.rules_in_words(standing.asked.claim),
            *words.remarks(standing),
            words.cost_sentence(standing),
        ],
    )
    comparisons = [judged.comparison for judged in judgement.protocols]
    return page(comparisons, around=around, preface=preface)
