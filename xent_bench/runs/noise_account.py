"""The account of a run's label noise: how many labels changed, and how that fits what was asked.

It is kept in the run's folder as `noise.json`, and the counts of every change of class in train as
`noise.csv`. PyTorch is not needed to read it.
"""

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64

from xent_bench.runs.files import NOISE, TRANSITIONS, write_json
from xent_bench.runs.whole_files import write_lasting

Transitions: TypeAlias = Int64[np.ndarray, "c c"]


@dataclass(frozen=True)
class NoiseAccount:
    """Facts about the noisy labels of a run, in plain values.

    - `kind`, `rate`: as in `noise=symmetric noise.rate=0.4`; rate is None for kinds without one.
    - `images`, `changed`: split -> number of its images, and of those whose label changed; of the
      splits train, val and calib.
    - `changed_sha256`: a hash of the ids of the images whose label changed, and of the new labels.
    - `p`: of the counts of changes from one class to another in train, the p value of the least
      likely one under the transition matrix that was asked for, two-sided, times the number of
      counts (Bonferroni); None where no matrix is asked for.
    """

    kind: str
    rate: float | None
    images: dict[str, int]
    changed: dict[str, int]
    changed_sha256: str
    p: float | None

    def realised(self, *splits: str) -> float:
        """The share of the labels of these splits that changed."""
        images = sum(self.images[split] for split in splits)
        return sum(self.changed[split] for split in splits) / images

    def tags(self) -> dict[str, str]:
        """The tags of the run: realised rates of train, and of val and calib, and the hash."""
        return {
            "noise_rate": f"{self.realised('train'):.4f}",
            "noise_rate_val": f"{self.realised('val', 'calib'):.4f}",
            "noise_sha256": self.changed_sha256,
        }

    def line(self) -> str:
        """The account in a line: 'pair at a rate of 0.4: 40.2 % of train changed (...)'."""
        changed, images = self.changed["train"], self.images["train"]
        asked = self.kind if self.rate is None else f"{self.kind} at a rate of {self.rate:g}"
        share = f"{100 * self.realised('train'):.1f} %"
        text = f"{asked}: {share} of train changed ({changed:,} of {images:,})"
        if self.p is not None:
            text += f", p = {self.p:.2g} for the matrix that is asked for (binomial, corrected)"
        others = [split for split in ("val", "calib") if self.changed[split]]
        if others:
            return f"{text}; {' and '.join(others)} are noisy too, test is not"
        return f"{text}; val, calib and test are clean"


def save_noise(
    account: NoiseAccount, counts: Transitions, classes: tuple[str, ...], folder: Path
) -> None:
    """Write `noise.json` and `noise.csv`: a row for each clean class, a column for each new one."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["clean class", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, counts.tolist(), strict=True))
    write_lasting(folder / TRANSITIONS, rows.getvalue())
    write_json(folder / NOISE, asdict(account))
