"""Where the numbers of a comparison come from, and whether from one place."""

from collections.abc import Sequence

from xent_bench.runs import Run

MUST_AGREE = (
    *("commit", "dirty", "hardware", "torch", "torchvision", "pytorch-lightning", "xent-bench"),
    *("numpy", "python", "compile"),
)
BEFORE = {"compile": "none"}  # of runs from before the tag was kept


def provenance(runs: Sequence[Run]) -> str:
    """Runs, images, machines, versions, commits; of several, all."""
    if not runs:
        return "No run has finished."
    commits = {run.tags.get("commit", "unknown")[:10] for run in runs}
    dirty = any(run.tags.get("dirty") == "true" for run in runs)
    sizes = sorted({run.n_test for run in runs})
    return (
        f"{len(runs)} run{'s' * (len(runs) > 1)}, "
        f"{' and '.join(f'{size:,}' for size in sizes)} test images; "
        f"{_named(runs, 'hardware')}; torch {_named(runs, 'torch')}; "
        f"commit {' and '.join(sorted(commits))}{' with uncommitted changes' * dirty}."
    )


def mixed(runs: Sequence[Run]) -> list[str]:
    """What differs between the runs that should not: 'commit (a and b)'."""
    found = [
        f"{tag} ({_named(runs, tag)})"
        for tag in MUST_AGREE
        if len({_tag(run, tag) for run in runs}) > 1
    ]
    splits: dict[str, set[str | None]] = {}
    for run in runs:
        splits.setdefault(str(run.params["seed"]), set()).add(run.tags.get("split_sha256"))
    seeds = [seed for seed, hashes in splits.items() if len(hashes) > 1]
    return found + [f"splits of seed {', '.join(seeds)}"] * bool(seeds)


def _named(runs: Sequence[Run], tag: str) -> str:
    return " and ".join(sorted({_tag(run, tag) for run in runs}))


def _tag(run: Run, tag: str) -> str:
    return run.tags.get(tag, BEFORE.get(tag, "unknown"))
