"""Python's search for cyclic garbage: off while a command imports, on when it trains."""

import gc
from multiprocessing.connection import Connection

from xent_bench import garbage
from xent_bench.sweeps.fork_server import fork


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


def answer(connection: Connection) -> None:
    connection.send(gc.isenabled())


def test_a_process_of_a_sweep_begins_without_the_search():
    process, connection = fork(answer)

    assert connection.recv() is False
    process.join()
