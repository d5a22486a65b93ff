"""Measuring trained runs on held-out networks, and writing down what was measured: for ``evaluate`` and ``demo``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoovet.cli.compared_runs import measure_classifiers, measure_editors, measure_predictors
from zoovet.cli.trained_runs import RunsByKind, TrainedRun
from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.evaluation.detection import evaluate_detection
from zoovet.evaluation.edit_examples import collect_reconstructions
from zoovet.evaluation.examples import collect_examples
from zoovet.evaluation.figures import STATNN, headline_figures, write_figures
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.repair import evaluate_repair
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.source_images import sources_of
from zoovet.evaluation.zoo_summary import Reconstruction, dataset_name, summarize_zoo
from zoovet.rivals import StatNNDetector
from zoovet.tasks import Detector, TrainedRepairer
from zoovet.tasks.accuracy_data import AccuracyData, load_accuracies
from zoovet.tasks.checkpoints import library_versions
from zoovet.tasks.edited_images import load_originals, load_source_images
from zoovet.tasks.labelled import load_labelled
from zoovet.tasks.network_pool import NetworkPool
from zoovet.tasks.population import load_populations
from zoovet.zoo import Zoo
from zoovet.zoo.builders import images_of

__all__ = ["Tell", "measure_runs", "require_same_networks", "write_evaluation"]


class Tell(Protocol):
    """What shows lines of progress."""

    def __call__(self, text: str, *, important: bool = True) -> None:
        """Show a line; one that is not important may be left out."""


_NUM_RECONSTRUCTIONS = 12

_TRAINED_ON: dict[str, Callable[[Zoo, TrainedRun], NetworkPool]] = {
    "detector": lambda zoo, run: load_populations(zoo)[0],
    "repairer": lambda zoo, run: load_populations(zoo)[0],
    "classifier": lambda zoo, run: load_labelled(zoo, "label")[0],
    "inr_editor": lambda zoo, run: load_originals(zoo)[0],
    "accuracy_predictor": lambda zoo, run: load_accuracies(
        zoo, read_config(AccuracyData, run.facts.get("networks", {}), where=str(run.folder / "run.json"))
    )[0],
}
"""From a zoo to the networks that a run of each kind is trained on."""


def require_same_networks(runs: RunsByKind, zoo: Zoo) -> None:
    """Check that the zoo's training networks are those of the runs, so that its test networks were never trained on.

    Raises:
        ZoovetError: They are others, or networks of one base are in the test split and in another.
    """
    for run in (run for some in runs.values() for run in some):
        if run.train_fingerprint != _TRAINED_ON[run.kind](zoo, run).fingerprint():
            raise ZoovetError(
                f"{run.folder} was not trained on the training networks of {zoo.path} (but on those of {run.zoo}, as "
                "it was then), so that zoo's test networks may have been trained on; give the same zoo"
            )
    is_test = zoo.column("split") == "test"
    shared = np.intersect1d(zoo.column("base_id")[is_test], zoo.column("base_id")[~is_test])
    if len(shared):
        raise ZoovetError(
            f"the splits of the zoo {zoo.path} overlap: networks of base {shared[0]} are in test and in another split; "
            "split it by base_id"
        )


def measure_runs(
    runs: RunsByKind,
    zoo: Zoo,
    *,
    seed: int,
    device: str,
    data_root: Path | None,
    num_images: int | None = None,
    tell: Tell,
) -> Measured:
    """Measure runs on a zoo's test split.

    Args:
        runs: By kind; one of them a detector or a repairer at most, any number of the others.
        zoo: The zoo, opened; StatNN is fitted on its training split.
        seed: Of the examples that are drawn.
        device: ``cpu`` or ``cuda``.
        data_root: Where image datasets lie.
        num_images: Test images that repair is measured on; ``None`` for all that the zoo was measured on.
        tell: Told what is being done, and how far it is.

    Raises:
        ZoovetError: The test split does not suffice, the images are not those of the zoo, or runs cannot be compared.
    """
    test, measured = zoo.split("test"), Measured()
    if "detector" in runs:
        tell("scoring test networks")
        detector = Detector.load(runs["detector"][0].folder, device=device)
        are_chains = all(graph.is_chain for graph in zoo.graphs.values())  # StatNN reads nothing else
        rivals = {STATNN: StatNNDetector.fit(zoo)} if are_chains else {}
        measured = replace(measured, detection=evaluate_detection(detector, test, rivals=rivals))
    if "repairer" in runs:
        tell("repairing test networks, measuring them on test images")
        repairer = TrainedRepairer.load(runs["repairer"][0].folder, device=device)
        images = images_of(zoo, data_root).test
        repair = evaluate_repair(
            repairer,
            test,
            images,
            num_images=num_images,
            progress=lambda done, total: tell(f"measured {done} of {total}", important=False),
        )
        examples = collect_examples(repairer, test, images, np.random.default_rng([seed, 2]))
        measured = replace(measured, repair=repair, examples=examples)
    if "classifier" in runs:
        tell("classifying test networks")
        measured = replace(measured, classification=measure_classifiers(runs["classifier"], test, device))
    if "inr_editor" in runs:
        tell("editing test networks, measuring their pictures")
        generator = np.random.default_rng([seed, 6])
        editing, edit_examples = measure_editors(runs["inr_editor"], test, device, data_root, generator)
        measured = replace(measured, editing=editing, edit_examples=edit_examples)
    if "accuracy_predictor" in runs:
        tell("fitting StatNN, predicting accuracies of test networks")
        measured = replace(measured, generalization=measure_predictors(runs["accuracy_predictor"], zoo, device))
    return measured


def write_evaluation(
    out: Path,
    measured: Measured,
    runs: RunsByKind,
    zoo: Zoo,
    *,
    seed: int,
    device: str,
    data_root: Path | None,
    started: float,
    commands: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write ``report.html``, ``figures.json`` and the results network by network.

    Args:
        out: Folder.
        measured: What was measured.
        runs: Of what.
        zoo: The whole zoo.
        seed: Of the bootstrap, and of the INRs that are shown.
        device: What it ran on.
        data_root: Where image datasets lie.
        started: ``time.monotonic()`` when the work began.
        commands: How the same is made again.
        notes: What a reader must know besides.

    Returns:
        The content of ``figures.json``: the headline figures, ``dataset``, and ``cut_short``, the trainings that a time
        limit ended, with ``steps``, ``max_steps`` and ``max_minutes``.
    """
    for name, results in measured.parts.items():
        results.save(out / f"{name}.parquet")
    reconstructions, remarks = _reconstructions(zoo, np.random.default_rng([seed, 7]), data_root)
    seconds = time.monotonic() - started
    cut_short = [run.cut_short for some in runs.values() for run in some if run.cut_short is not None]
    contents = {
        "dataset": dataset_name(zoo),
        "cut_short": [asdict(one) for one in cut_short],
        **headline_figures(measured, seed=seed, wall_time_seconds=seconds, commands=commands),
    }
    provenance = Provenance(
        zoo=str(zoo.path),
        commands=commands,
        versions=library_versions(),
        device=device,
        finished=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        notes=[*notes, *remarks],
        warnings=[one.describe() for one in cut_short],
    )
    summary = summarize_zoo(zoo, reconstructions)
    write_report(out / "report.html", figures=contents, zoo=summary, measured=measured, provenance=provenance)
    write_figures(out / "figures.json", contents)
    return contents


def _reconstructions(
    zoo: Zoo, generator: np.random.Generator, data_root: Path | None
) -> tuple[list[Reconstruction], list[str]]:
    """Some INRs beside their images, where the zoo's networks are INRs; or a remark on why none can be shown."""
    if any(graph.input_shape != (2,) for graph in zoo.graphs.values()):
        return [], []
    originals = np.flatnonzero(zoo.column("copy") <= 0)
    places = np.sort(generator.choice(originals, min(_NUM_RECONSTRUCTIONS, len(originals)), replace=False))
    try:
        images = sources_of(zoo, load_source_images(zoo, data_root), places)
    except ZoovetError as error:
        return [], [f"INRs are not shown beside their images: {error}"]
    return collect_reconstructions(zoo, images.pixels.float() / 255, places), []
