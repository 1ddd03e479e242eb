"""Pictures of a run: what is on them. (How they look, a person must see.)"""

from functools import partial
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from xent_bench.config.schema import CONF
from xent_bench.evaluation.draw import draw_pictures, drawings
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.evaluation.pictures import reliability_diagram, risk_frame
from xent_bench.links import Link, margin, softmax
from xent_bench.metrics.reliability import confusion_matrix, reliability, top_confusions
from xent_bench.palette import OTHERS, TABLE, colour_of, colours_of
from xent_bench.runs.predictions import Predictions, predicted

PARAMS = {"loss": "focal", "loss.gamma": 2.0, "data": "digits", "model": "cnn", "seed": 3}
QUICKSTART = ("ce", "mse", "hinge", "focal", "sparse_ce")
NAMES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))


def predictions(n: int = 500, classes: int = 10, link: Link = softmax) -> Predictions:
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(n, classes)).astype(np.float32)
    target = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    splits = (predicted(each, logits, target, np.arange(n)) for each in ("calib", "test"))
    return Predictions(*splits, partial(link), tuple(f"class {k}" for k in range(classes)))


def texts(figure) -> str:
    return " ".join(each.get_text() for each in figure.findobj(lambda x: hasattr(x, "get_text")))


@pytest.mark.parametrize("link", [softmax, margin])
@pytest.mark.parametrize("classes", [2, 10, 50])
def test_every_picture_is_drawn_for_every_kind_of_run(tmp_path, link, classes):
    made = predictions(classes=classes, link=link)
    files = draw_pictures(evaluate(made, ["isotonic"]), made.classes, PARAMS, tmp_path / "p")

    assert [file.name for file in files] == [
        *("reliability.png", "risk_coverage.png", "confusions.png"),
    ]
    for file in files:
        image = np.asarray(Image.open(file).convert("L"))
        assert (image < 250).mean() > 0.02  # more than a title on a blank page


def test_a_diagram_shows_counts_intervals_band_and_verdict():
    made = predictions()
    shown = texts(drawings(evaluate(made), made.classes, PARAMS)["reliability"].figure())

    assert "focal (gamma 2.0) on digits, cnn, seed 3; n = 500 test images" in shown
    assert "as trained" in shown
    assert "over-confident" in shown
    assert "temperature scaling" in shown
    assert "within noise" in shown
    assert "95 % if calibrated" in shown
    found = reliability(evaluate(made).readings["test"].ranked)
    assert all(str(n) in shown for n in found.n)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def runs_of_a_group() -> list[tuple[Predictions, dict[str, object]]]:
    """Runs whose pictures share frames, and some that do not, in a mixed order."""
    losses = ("focal", "ce", "mse", "hinge", "ce")
    made = [
        (predictions(n, 10, margin if loss == "hinge" else softmax), PARAMS | {"loss": loss})
        for n, loss in zip((500, 15, 90, 400, 500), losses, strict=True)
    ]
    return [*made, (predictions(300, 30), PARAMS), (predictions(200, 30), PARAMS), made[0]]


def test_a_picture_in_a_frame_that_earlier_runs_have_left_has_the_pixels_of_a_new_figure():
    for made, params in runs_of_a_group():
        for name, drawing in drawings(evaluate(made), made.classes, params).items():
            png, alone = drawing.png(), BytesIO()
            drawing.figure().savefig(alone, format="png")

            np.testing.assert_array_equal(pixels(png), pixels(alone.getvalue()), err_msg=name)


def test_a_picture_that_fails_leaves_nothing_in_the_next_one():
    made = predictions()
    drawing = drawings(evaluate(made), made.classes, PARAMS)["risk_coverage"]
    before = drawing.png()
    title, curves, colour = drawing.content
    broken = drawing._replace(content=(title, {**curves, "third": np.full(9, "x")}, colour))
    with pytest.raises(TypeError):
        broken.png()

    assert drawing.png() == before


def test_a_panel_without_probabilities_says_so():
    ranked = evaluate(predictions()).readings["test_ts"].ranked
    figure = reliability_diagram("t", {"raw": None, "scaled": reliability(ranked)}, "#000000")

    assert "no probabilities" in texts(figure)


def test_many_classes_are_shown_by_their_top_confusions():
    made = predictions(classes=50)
    evaluation = evaluate(made)
    top = top_confusions(confusion_matrix(evaluation.readings["test"], 50), 20)
    figure = drawings(evaluation, made.classes, PARAMS)["confusions"].figure()

    assert f"class {top[0].true} → class {top[0].answer}" in texts(figure)


def test_curves_differ_in_more_than_colour():
    figure = risk_frame().filled("t", {"one": np.ones(9), "other": np.zeros(9)}, "#000000")
    lines = figure.axes[0].get_lines()

    assert len({line.get_linestyle() for line in lines}) == 2


@pytest.mark.parametrize("loss", QUICKSTART)
def test_a_loss_has_the_colour_in_its_picture_that_it_has_on_a_page(loss):
    drawn = predictions()
    drawing = drawings(evaluate(drawn), drawn.classes, PARAMS | {"loss": loss})["risk_coverage"]
    colours = {line.get_color() for line in drawing.figure().axes[0].get_lines()}

    assert colours == {colours_of(QUICKSTART)[loss]}


def test_the_losses_of_the_quickstart_keep_their_colours_beside_any_other():
    shown = colours_of(NAMES)

    assert {loss: shown[loss] for loss in QUICKSTART} == TABLE
    colours = np.array([to_rgb(colour) for colour in TABLE.values()])
    distance = np.abs(colours[:, None] - colours).sum(axis=2)
    assert distance[~np.eye(len(QUICKSTART), dtype=bool)].min() > 0.2


def test_losses_that_are_shown_together_differ_and_up_to_ten_have_the_ten_colours():
    ten = {*TABLE.values(), *OTHERS}
    draw = np.random.default_rng(0)
    for number in range(1, 11):
        for _ in range(20):
            shown = colours_of(draw.choice(NAMES, number, replace=False).tolist())

            assert len(set(shown.values())) == number
            assert set(shown.values()) <= ten
    assert len(set(colours_of(NAMES).values())) == len(NAMES)


def test_colours_do_not_depend_on_the_order_in_which_losses_are_given():
    shuffled = np.random.default_rng(0).permutation(NAMES).tolist()

    assert colours_of(NAMES) == colours_of(shuffled) == colours_of([*shuffled, *NAMES])


def test_of_two_losses_with_one_colour_only_the_later_moves():
    assert colour_of("bce") == colour_of("gce")
    shown = colours_of(["gce", "poly1", "bce"])

    assert shown == {"bce": colour_of("bce"), "poly1": colour_of("poly1"), "gce": TABLE["ce"]}


def test_names_with_signs_of_mathematics_are_shown_as_they_are(tmp_path):
    made = predictions(classes=3)._replace(classes=("$5 and $10", r"\alpha_", "a_b^c$"))
    odd = PARAMS | {"loss": "my_loss$", "loss.weights": [1, 2], "loss.name": None}
    draw_pictures(evaluate(made), made.classes, odd, tmp_path / "p")
