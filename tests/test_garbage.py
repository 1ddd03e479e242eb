"""Python's search for cyclic garbage: off while a command imports, on when it trains."""

import gc
import importlib
import sys

import pytest

from xent_bench.process import garbage, ranks
from xent_bench.sweeps import fork_server


def test_what_was_imported_is_not_searched_again():
    frozen = gc.get_freeze_count()
    made = [[] for _ in range(100_000)]
    garbage.pause()
    assert not gc.isenabled()

    garbage.resume()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)


def test_a_program_that_imports_us_keeps_its_own_settings():
    frozen = gc.get_freeze_count()
    garbage.resume()

    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("imported", [fork_server.PRELOADED, ranks.preloaded(garbage.pause)])
def test_a_fork_server_pauses_it_first(imported):
    sys.modules.pop(imported[0], None)
    importlib.import_module(imported[0])
    paused = not gc.isenabled()
    garbage.resume()

    assert paused
