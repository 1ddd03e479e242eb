"""The end of a run: the trained net evaluated, and all of it written to the run's folder."""

import math
from pathlib import Path

import torch
from omegaconf import DictConfig

from xent_bench.config.calibrators import Calibrator
from xent_bench.config.schema import TrainingTarget
from xent_bench.data.image_set import ImageSet
from xent_bench.evaluation.classes_file import write_classes
from xent_bench.evaluation.draw import draw_pictures
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.class_sizes import class_counts, differ, is_uneven
from xent_bench.metrics.last_tenth import last_tenth
from xent_bench.runs.files import PICTURES, PREDICTIONS, RUN_ID
from xent_bench.runs.predictions import Predicted, Predictions, Subgroups, save
from xent_bench.runs.result import Run, save_run
from xent_bench.trained_net.record import net_record, save_record
from xent_bench.trained_net.weights import save_weights, weights_sha256
from xent_bench.training.build import Built
from xent_bench.training.records import Record
from xent_bench.training.user_code import blaming


def finish(
    config: DictConfig,
    built: Built,
    folder: Path,
    record: Record,
    calib: Predicted,
    test: Predicted,
) -> None:
    """Evaluate what was predicted, and write the folder's files, `result.json` last."""
    data, curves, begun = built.data, record.tracking.curves, record.begun
    link = built.classifier.link
    predictions = Predictions(
        *(calib, test, link, data.classes, record.true_posterior),
        train_counts=_train_counts(config, built),
        subgroups=_subgroups(data, calib, test),
    )
    save(predictions, folder / PREDICTIONS)
    with blaming("loss", "when its link read the predictions"):
        evaluation = evaluate(predictions, [config.calibrator.name])
    speed, seconds = curves.speed(len(built.splits.train)), round(record.seconds(), 2)
    if config.machine.save_weights:
        save_weights(folder)
    if config.machine.pictures:
        draw_pictures(evaluation, data.classes, begun.params, folder / PICTURES)
    write_classes(evaluation, data.classes, predictions.train_counts, folder)
    best = built.classifier.best_epoch
    val = curves.val(None if best is None else best.evaluated)
    metrics = val | last_tenth(curves.steps) | evaluation.metrics
    tags = record.tags | evaluation.words | _infinite(metrics)
    tags |= {} if best is None else best.tags(config.epochs)
    tags["weights_sha256"] = weights_sha256(built.classifier.evaluated)
    net = net_record(
        config,
        data,
        built.loaders.test,
        link,
        evaluation.metrics,
        tags,
        threads=torch.get_num_threads(),
        processes=built.share.of,
    )
    save_record(net, folder)
    if record.tracking.run_id is not None:
        tags[RUN_ID] = record.tracking.run_id
    result = Run(
        name=begun.name,
        experiment=begun.experiment,
        params=begun.params,
        metrics=metrics,
        tags=tags,
        command=begun.command,
        n_test=len(built.splits.test),
        seconds=seconds,
        examples_per_second=speed,
    )
    save_run(result, folder)  # done: what follows is MLflow's
    if config.machine.log_model:
        from xent_bench.export.mlflow_model import keep_model  # MLflow's part takes seconds

        keep_model(folder)


def _subgroups(data: ImageSet, calib: Predicted, test: Predicted) -> Subgroups | None:
    if data.attribute is None:
        return None
    name, values, of_image = data.attribute
    places = of_image.numpy()
    return Subgroups(name, values, places[calib.id], places[test.id])


def _train_counts(config: DictConfig, built: Built) -> PerClass | None:
    """The number of images of each class in train, by the labels that were trained on.

    None where class sizes are of no interest: nobody asked for the correction that needs them, the
    classes of train are about equally large, and about as frequent as in test. Noise of labels,
    which changes their counts too, makes no class rare: the clean labels decide.
    """
    data, splits = built.data, built.splits
    labels = data.labels if data.clean is None else data.clean
    c = len(data.classes)
    train, test = (class_counts(labels[ids].numpy(), c) for ids in (splits.train, splits.test))
    asked = config.calibrator is Calibrator.prior_correction
    if not (asked or is_uneven(train) or differ(train, test)):
        return None
    seen = data.index if config.target is TrainingTarget.majority else data.labels
    return class_counts(seen[splits.train].numpy(), c)


def _infinite(metrics: dict[str, float]) -> dict[str, str]:
    """A tag that names the metrics that are infinite, which MLflow would draw as 1.8e308."""
    keys = [key for key, value in metrics.items() if value == math.inf]
    return {"infinite": " ".join(keys)} if keys else {}
