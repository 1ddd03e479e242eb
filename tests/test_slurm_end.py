"""The end of a SLURM job as the watching command tells it; no SLURM is needed."""

from written_run import write_run

from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.slurm import Slurm
from xent_bench.sweeps.slurm_queue import JobState


def ended(tmp_path, config, calibrator: str) -> Tally:
    folder = write_run(tmp_path, "ce", 0)
    run = Planned("ce-s0", "xent-train", [], folder, calibrator, weights=False, offline=True)
    tally = Tally(1, 1)
    Slurm(submitit_folder=str(tmp_path))._end(
        "7", [(run, config())], JobState("COMPLETED", ""), tally
    )
    return tally


def test_a_job_submitted_before_a_calibrator_was_asked_for_has_not_all_of_it(
    tmp_path, config, capsys
):
    tally = ended(tmp_path, config, "isotonic")

    assert tally.codes == [1]
    assert "trained without isotonic, which the same command adds" in capsys.readouterr().out


def test_a_job_with_all_that_is_asked_for_is_done(tmp_path, config):
    assert ended(tmp_path, config, "temperature").codes == []
