"""The runs that a sweep consists of, as far as the results so far tell."""

from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger


def ask_for_runs(ledger: Ledger, designed: Designed) -> None:
    """Ask the ledger for all runs that are known by now."""
    if not designed.design.has_rounds:
        for words in designed.combinations:
            ledger.ask(tuple(words))
        return
    from xent_bench.designs.rounds import ask_for_rounds  # SciPy is slow to import

    ask_for_rounds(ledger, designed)
