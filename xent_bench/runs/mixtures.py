"""Checks that the runs of a comparison saw the same code, data and machine."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

MUST_AGREE = (
    *("commit", "dirty", "hardware", "torch", "torchvision", "pytorch-lightning", "xent-bench"),
    *("numpy", "python", "compile"),
)
CODE = {"loss": "loss", "model": "net", "optimizer": "optimizer", "schedule": "schedule"}
MOST_NAMED = 4  # runs in a line


def origin_line(runs: Sequence[Run]) -> str:
    """Say in a line how many runs, images, machines, versions and commits there are, and which."""
    if not runs:
        return "No run has finished."
    commits = {run.tags.get("commit", "unknown")[:10] for run in runs}
    dirty = any(run.tags.get("dirty") == "true" for run in runs)
    sizes = sorted({run.n_test for run in runs})
    return (
        f"{len(runs)} run{'s' * (len(runs) > 1)}, "
        f"{' and '.join(f'{size:,}' for size in sizes)} test image{'s' * (sizes != [1])}; "
        f"{_named(runs, 'hardware')}; torch {_named(runs, 'torch')}; "
        f"commit {' and '.join(sorted(commits))}{' with uncommitted changes' * dirty}."
    )


def mixed(runs: Sequence[Run]) -> list[str]:
    """List what should agree and differs: commit, versions, hardware, splits, code.

    An item reads 'commit (a and b)'.
    """
    mixtures = [
        f"{tag} ({_named(runs, tag)})"
        for tag in MUST_AGREE
        if len({_tag(run, tag) for run in runs}) > 1
    ]
    splits: dict[str, set[str | None]] = {}
    for run in runs:
        splits.setdefault(str(run.params["seed"]), set()).add(run.tags.get("split_sha256"))
    seeds = [seed for seed, hashes in splits.items() if len(hashes) > 1]
    return mixtures + [f"splits of seed {', '.join(seeds)}"] * bool(seeds) + mixed_code(runs)


def mixed_code(runs: Sequence[Run | Unfinished]) -> list[str]:
    """List the losses, nets, ... whose code differs between runs: 'code of loss focal (...)'.

    Runs that ended before their code was hashed are left out.
    """
    mixtures = []
    for group, word in CODE.items():
        versions = _versions(
            (str(run.params.get(group)), run, run.tags.get(f"{group}_sha256")) for run in runs
        )
        mixtures += [
            f"code of {word} {choice.rpartition('.')[2]} ({_minority(by_hash)})"
            for choice, by_hash in versions.items()
            if len(by_hash) > 1
        ]
    return mixtures


def mixed_data(runs: Sequence[Run | Unfinished]) -> list[str]:
    """List the data sets whose images or labels differ between runs: 'images or labels ...'.

    A report compares such runs separately.
    """
    versions = _versions((_data_of(run), run, run.tags.get("data_sha256")) for run in runs)
    return [
        f"images or labels of {choice} ({_minority(by_hash)})"
        for choice, by_hash in versions.items()
        if len(by_hash) > 1
    ]


def separated(runs: Sequence[Run]) -> list[str]:
    """Say why runs of one experiment on one data set are in several comparisons."""
    experiments = sorted({run.experiment for run in runs})
    return [
        f"Compared separately, since runs of one experiment saw different {mixture}."
        for experiment in experiments
        for mixture in mixed_data([run for run in runs if run.experiment == experiment])
    ] + _chosen_apart(runs)


def _chosen_apart(runs: Sequence[Run]) -> list[str]:
    """Say why runs whose epochs were chosen in several ways are in several comparisons."""
    losses: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        keys = [key for key in ("choose", "choose_by", "patience") if key in run.params]
        rule = " ".join(f"{key}={run.params[key]}" for key in keys) or "choose=last"
        losses[rule].add(str(run.params["loss"]))
    if len(losses) < 2:
        return []
    listed = "; ".join(f"{rule} for {', '.join(sorted(names))}" for rule, names in losses.items())
    return [
        f"Compared separately, since epochs were chosen in several ways: {listed}. Every loss has "
        "val/top1 to choose by."
    ]


def _data_of(run: Run | Unfinished) -> str:
    """Name the choice of data and its parameters: 'image_folder root=images size=64'."""
    keys = sorted(key for key in run.params if key.startswith("data."))
    parameters = [f"{key.removeprefix('data.')}={run.params[key]}" for key in keys]
    return " ".join([str(run.params.get("data")), *parameters])


def _versions(
    items: Iterable[tuple[str, Run | Unfinished, str | None]],
) -> dict[str, dict[str, list[str]]]:
    """Collect for each choice the names of the runs by the hash that they saw, if it is known."""
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for choice, run, digest in items:
        if digest is not None:
            versions[choice][digest].append(run.name)
    return versions


def _minority(by_hash: dict[str, list[str]]) -> str:
    """Name the runs that saw another version: 'focal-s0 differs from the other 4 runs'."""
    most, *others = sorted(by_hash.values(), key=len, reverse=True)
    names = sorted(name for group in others for name in group)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    verb = "differs" if len(names) == 1 else "differ"
    others_are = "the other run" if len(most) == 1 else f"the other {len(most)} runs"
    return f"{', '.join(names[:MOST_NAMED])}{more} {verb} from {others_are}"


def _named(runs: Sequence[Run], tag: str) -> str:
    return " and ".join(sorted({_tag(run, tag) for run in runs}))


def _tag(run: Run, tag: str) -> str:
    return run.tags.get(tag, "unknown")
