"""The model card of an exported net: a README.md for a person, made from the run.

Texts of the run, such as names of classes, are shown as text: neither HTML nor links become live.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from xent_bench.export.check import Check, check_sentence
from xent_bench.export.description import COLOURS, shape_text
from xent_bench.export.front_matter import front_matter
from xent_bench.export.use import NEEDS, picture_lines, use_lines
from xent_bench.metrics.reported import METRICS
from xent_bench.printable import printable
from xent_bench.runs.data_account import DataAccount, account_rows
from xent_bench.runs.result import Run

SHOWN = ("top1", "balanced_top1", "nll", "brier", "ece", "aurc")  # metrics of the table
MOST_CLASSES = 100  # that the card names; model.json has all
MARKUP = re.compile(r"[\\`<>\[\]|*]")  # what Markdown would take for more than text


class Card(NamedTuple):
    """The facts of a model card."""

    form: str  # onnx, pt2, safetensors
    file: str  # name of the exported file
    content: str  # what the file holds, in a few words
    description: Mapping[str, Any]
    run: Run
    account: DataAccount | None
    check: Check
    n_calib: int
    compared: str  # the conclusion of the comparison that the run is part of; empty without
    chosen: str  # why this run was taken from a folder of runs; empty where it was named
    has_picture: bool  # whether reliability.png lies beside the card


def model_card(card: Card) -> str:
    """Write the card as Markdown, with the front matter that Hugging Face reads."""
    parts = [
        front_matter(card.form, card.run, card.description),
        *_opening(card),
        *_use(card),
        *_trust(card),
        *_scores(card),
    ]
    parts += [*_training(card), *_comparison(card), *_limits(card), *_origin(card)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _opening(card: Card) -> Iterator[str]:
    run, description = card.run, card.description
    n = len(description["classes"])
    things = "images" if description["input"]["dtype"] == "uint8" else "vectors"
    loss, data, model = (plain(str(run.params[key])) for key in ("loss", "data", "model"))
    yield f"# {plain(run.name)}: {model} on {data}, trained with {loss}"
    yield (
        f"`{card.file}` ({card.content}) takes {things} and gives calibrated probabilities of "
        f"{n:,} classes. Everything between is inside: {plain(description['input']['inside'])}, "
        f"the net, its link ({plain(str(description['calibration']['link']))}) and its temperature."
    )


def _use(card: Card) -> Iterator[str]:
    input_form, output_form = card.description["input"], card.description["output"]
    yield "## Use it"
    yield NEEDS[card.form]
    yield f"```python\n{use_lines(card.form, input_form)}```"
    if lines := picture_lines(input_form):
        sized = "" if isinstance(input_form["shape"][2], str) else _fixed(input_form)
        yield f"The input from an image file{sized}:"
        yield f"```python\n{lines}```"
    yield _table(
        ("", "name", "type", "shape", "content"),
        [
            (kind, part["name"], part["dtype"], shape_text(part["shape"]), plain(part["content"]))
            for kind, part in (("input", input_form), ("output", output_form))
        ],
    )
    yield (
        "`n` may be any number, at least 1. `model.json`, which is in the file too, has all of "
        "this for programs."
    )


def _fixed(input_form: Mapping[str, Any]) -> str:
    h, w = input_form["shape"][2:]
    return (
        f" of {h} x {w} pixels; the run does not say how an image of another size would become "
        "one of these, so no other is taken"
    )


def _trust(card: Card) -> Iterator[str]:
    calibration, n = card.description["calibration"], f"{card.run.n_test:,}"
    yield "## Can the probabilities be trusted?"
    verdict = calibration["verdict"]
    sentences = {
        "within noise": f"Yes, as far as {n} test images can tell: confidence and accuracy differ "
        "by no more than chance allows.",
        "over-confident": f"No: on {n} test images the net is surer than it is right, by more than "
        "chance allows (over-confident).",
        "under-confident": f"No: on {n} test images the net is right more often than it is sure, "
        "by more than chance allows (under-confident).",
        "mixed": f"No: on {n} test images the net is too sure at some confidences and not sure "
        "enough at others, by more than chance allows (mixed).",
    }
    error = card.run.metrics.get("test_ts/ece")
    by_chance = calibration["by_chance"]
    text = sentences.get(str(verdict), "Not known: the run has no verdict on calibration.")
    if error is not None and "ece_high" in by_chance:
        low, high = (100 * by_chance[f"ece_{end}"] for end in ("low", "high"))
        text += (
            f" The calibration error (ECE) is {100 * error:.2f} %; a calibrated net with these "
            f"confidences shows {low:.2f} to {high:.2f} % in 95 of 100 such test sets, or in more."
        )
    gap = card.run.metrics.get("test_ts/overconfidence")
    if gap is not None and "overconfidence_high" in by_chance:
        low, high = (100 * by_chance[f"overconfidence_{end}"] for end in ("low", "high"))
        text += (
            f" Confidence less accuracy is {100 * gap:+.2f} points; such a net shows {low:+.2f} to "
            f"{high:+.2f}. The answer is no where this lies outside, or the ECE above its range. "
            "It is about this net with this temperature; a report judges the recipe, with a "
            "temperature fitted anew."
        )
    yield text
    deviation = calibration["temperature_standard_error"]
    spread = "calib leaves it open" if deviation is None else f"± {deviation:.2g}; standard error"
    yield (
        f"The temperature is T = {calibration['temperature']:.4g} ({spread}) in "
        f"{plain(str(calibration['map']))}, fitted on {card.n_calib:,} examples of calib, which "
        "neither trained the net nor scored it."
    )
    if card.has_picture:
        yield "![Reliability diagram: accuracy against confidence](reliability.png)"


def _scores(card: Card) -> Iterator[str]:
    metrics = card.description["metrics"]
    rows = []
    for name in SHOWN:
        if name not in metrics:
            continue
        metric, numbers = METRICS[name], metrics[name]
        unit = " %" if metric.unit == "%" else ""
        value, error = (
            "-" if (number := numbers.get(key)) is None else f"{metric.scale * number:.{places}f}"
            for key, places in (("value", metric.decimals), ("standard_error", metric.decimals))
        )
        nats = ", nats" if metric.unit == "nats" else ""
        rows.append((f"{name}{unit}", f"{metric.meaning}{nats}", value, error))
    yield "## Scores on test"
    yield _table(("metric", "meaning", "value", "standard error"), rows)
    n = f"{card.run.n_test:,}"
    note = f"After temperature scaling, on {n} test images that neither training nor calib has seen"
    note += ". The standard error is over these images; another seed varies on top of it."
    interval = metrics["top1"].get("interval_95")
    if interval:
        low, high = (100 * end for end in interval)
        note += f" The 95 % interval of top1 is {low:.2f} to {high:.2f} % (Wilson)."
    yield note


def _training(card: Card) -> Iterator[str]:
    run = card.run
    yield "## Trained on"
    rows = [("data", plain(str(run.params["data"])))]
    if card.account is not None:
        rows = [(plain(key), plain(text)) for key, text in account_rows(rows[0][1], card.account)]
    rows.append(("SHA-256", f"`{card.description['data']['sha256']}`"))
    rows.append(("classes", _classes(card.description["classes"])))
    yield _table(("", ""), rows)
    yield "The command that trains it:"
    yield f"```bash\n{_one_line(run.command)}\n```"


def _comparison(card: Card) -> Iterator[str]:
    yield "## Compared with"
    if card.chosen:
        yield plain(card.chosen)
    if card.compared:
        yield plain(card.compared)
    else:
        yield "Nothing: no finished run of another loss lies beside this one."


def _limits(card: Card) -> Iterator[str]:
    is_image = card.description["input"]["dtype"] == "uint8"
    things = "images" if is_image else "vectors"
    yield "## Limits"
    yield (
        f"- The classes are closed: {things} of anything else get probabilities of these classes "
        "too, and may get high ones.\n"
        f"- Scores and calibration hold for {things} drawn as those of test were. Other cameras, "
        "places, times or class frequencies change both.\n"
        "- The net computes in float32, whatever it was trained in."
        f"{_whole_images(card)}"
    )


def _whole_images(card: Card) -> str:
    """The limit of a file that resizes, as another item of the list; empty for the others."""
    files = card.check.files
    if files is None:
        return ""
    return (
        f"\n- It takes whole images as a file holds them, {_colour(card)}, and crops them itself: "
        "do not crop them before. Resizing inside rounds in other ways than in training: over "
        f"{files.n:,} of test's files, read by the lines above, a probability differs by at most "
        f"{files.largest:.2g}, and the answer is the same for {files.same:,}."
    )


def _colour(card: Card) -> str:
    channels = card.description["input"]["shape"][1]
    return COLOURS.get(channels, f"{channels} channels")


def _origin(card: Card) -> Iterator[str]:
    description = card.description
    versions = ", ".join(f"{name} {number}" for name, number in description["versions"].items())
    yield "## Provenance"
    yield _table(
        ("", ""),
        [
            ("licence", plain(description["licence"])),
            ("run", f"key `{description['run']['key']}`"),
            ("experiment", plain(description["run"]["experiment"])),
            ("commit", f"`{_one_line(description['commit'])}`"),
            ("trained with", plain(versions)),
            ("SHA-256 of the weights", f"`{description['weights_sha256']}`"),
            ("checked", plain(check_sentence(card.check, len(description["classes"])))),
        ],
    )


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return MARKUP.sub(lambda sign: f"\\{sign[0]}", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(printable(text).split()).replace("```", "'''")


def _classes(classes: list[str]) -> str:
    names = ", ".join(map(plain, classes[:MOST_CLASSES]))
    more = len(classes) - MOST_CLASSES
    return f"{names}, and {more:,} more in `model.json`" if more > 0 else names


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
