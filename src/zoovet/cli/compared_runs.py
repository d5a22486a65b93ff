"""Measuring several runs of one kind side by side: classifiers and editors of INRs, predictors of accuracies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import nn

from zoovet.cli.trained_runs import TrainedRun
from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.evaluation.classification import evaluate_classification
from zoovet.evaluation.edit_examples import EditExample, collect_edit_examples
from zoovet.evaluation.editing import evaluate_editing
from zoovet.evaluation.generalization import AccuracyGuesser, evaluate_generalization
from zoovet.evaluation.model_names import model_key, model_name
from zoovet.evaluation.results import (
    ClassificationResults,
    ComparedModel,
    EditingResults,
    GeneralizationResults,
)
from zoovet.evaluation.source_images import sources_of
from zoovet.rivals.statnn_regressor import StatNNRegressor
from zoovet.tasks.accuracy_data import select_networks
from zoovet.tasks.accuracy_predictor import AccuracyPredictor
from zoovet.tasks.classifier import Classifier
from zoovet.tasks.edited_images import edited, load_source_images
from zoovet.tasks.inr_editor import InrEditor
from zoovet.zoo import Zoo

__all__ = ["measure_classifiers", "measure_editors", "measure_predictors"]

_ORDER = ("scalegmn", "scalegmn_canonicalized", "permutation", "permutation_canonicalized", "mlp", "mlp_canonicalized")
"""Order of a comparison: the first of those that are there is what the others are compared with."""


class _Trained(Protocol):
    @property
    def description(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=_Trained)


def measure_classifiers(runs: Sequence[TrainedRun], test: Zoo, device: str) -> ClassificationResults:
    """Classify the networks of a test split by every run.

    Raises:
        ZoovetError: Two runs go by the same name, or the test split does not suffice.
    """
    classifiers, models = _load(runs, lambda run: Classifier.load(run.folder, device=device), _metanetwork_of)
    return evaluate_classification(classifiers, models, test)


def measure_editors(
    runs: Sequence[TrainedRun], test: Zoo, device: str, data_root: Path | None, generator: np.random.Generator
) -> tuple[EditingResults, list[EditExample]]:
    """Edit the networks of a test split by every run, and draw some to show.

    Raises:
        ZoovetError: Two runs go by the same name or make different edits, the test split does not suffice, or the
            source images are not to be had.
    """
    editors, models = _load(runs, lambda run: InrEditor.load(run.folder, device=device), lambda own: own.editor)
    edits = {str(editor.description["config"]["edit"]) for editor in editors.values()}
    if len(edits) > 1:
        raise ZoovetError(f"the editors make different edits ({', '.join(sorted(edits))}); evaluate each by itself")
    (edit,) = edits
    images = sources_of(test, load_source_images(test, data_root))
    sources = images.pixels.float() / 255
    targets = edited(images.pixels, "dilation" if edit == "dilation" else "contrast").float() / 255
    results = evaluate_editing(editors, models, test, targets, edit=edit)
    return results, collect_edit_examples(editors, test, sources, targets, generator)


def measure_predictors(runs: Sequence[TrainedRun], zoo: Zoo, device: str) -> GeneralizationResults:
    """Predict the test accuracies of a test split's networks by every run and by StatNN, fitted on what they were.

    Raises:
        ZoovetError: Two runs go by the same name or count different networks, or the test split does not suffice.
    """
    predictors, models = _load(runs, lambda run: AccuracyPredictor.load(run.folder, device=device), _metanetwork_of)
    data = next(iter(predictors.values())).data
    for key, predictor in predictors.items():
        if predictor.data != data:
            raise ZoovetError(
                f"the accuracy predictors count different networks: {config_to_dict(data)} and, of {key}, "
                f"{config_to_dict(predictor.data)}; evaluate each by itself"
            )
    started = time.monotonic()
    statnn = StatNNRegressor.fit(zoo, data)
    rival = ComparedModel(key="statnn", name="StatNN", training_seconds=time.monotonic() - started)
    guessers: dict[str, AccuracyGuesser] = {**predictors, rival.key: statnn}
    return evaluate_generalization(guessers, [*models, rival], select_networks(zoo.split("test"), data))


def _metanetwork_of(own: Classifier | AccuracyPredictor) -> nn.Module:
    return own.metanetwork


def _load(
    runs: Sequence[TrainedRun], load: Callable[[TrainedRun], T], module_of: Callable[[T], nn.Module]
) -> tuple[dict[str, T], list[ComparedModel]]:
    """What the runs trained, by key, and what each is called, in the order of the comparison."""
    found: dict[str, tuple[TrainedRun, T, ComparedModel]] = {}
    for run in runs:
        trained = load(run)
        canonicalized = bool(trained.description.get("canonicalized", False))
        metanetwork = trained.description["metanetwork"]
        key = model_key(metanetwork, canonicalized=canonicalized)
        if key in found:
            raise ZoovetError(
                f"{found[key][0].folder} and {run.folder} are both called {key!r}, from their configurations; "
                f"evaluate one at a time, each with its own --out"
            )
        model = ComparedModel(
            key=key,
            name=model_name(metanetwork, canonicalized=canonicalized),
            num_parameters=_num_parameters(module_of(trained)),
            training_seconds=run.seconds,
            run=str(run.folder),
        )
        found[key] = run, trained, model
    order = sorted(found, key=lambda key: (_ORDER.index(key) if key in _ORDER else len(_ORDER), key))
    return {key: found[key][1] for key in order}, [found[key][2] for key in order]


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
