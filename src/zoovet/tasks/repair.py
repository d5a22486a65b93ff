"""Repair: training an editor of weights, so that the networks' triggers stop working and all else stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion
from zoovet.images import Images
from zoovet.networks import Graph, Networks
from zoovet.tasks.augmentation import View, draw_augmented
from zoovet.tasks.distribution_fitting import fit_training_distribution
from zoovet.tasks.edit_sizes import MAX_NETWORKS, EditSize, edit_sizes_to_json, scale_free_changes
from zoovet.tasks.editor import Edit, Editor
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.tasks.evidence_views import evidence_in_view
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.inversion_images import give_images
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.last_layer_refit import LastLayerRefit
from zoovet.tasks.measurement import Measurement, measure
from zoovet.tasks.metanetworks import metanetwork_to_json
from zoovet.tasks.network_pool import Batch
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.repair_config import RepairConfig
from zoovet.tasks.repair_losses import FunctionLoss, function_losses, weight_losses
from zoovet.tasks.repairer import REPAIRER, TrainedRepairer, build_editor, edited_networks
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress
from zoovet.tasks.training_distribution import TrainingDistribution
from zoovet.zoo import Zoo

__all__ = ["RepairModule", "train_repairer"]


class RepairModule(TaskModule):
    """Trains an editor on trojaned and healthy networks.

    Args:
        editor: What edits.
        train, validation: The networks.
        pools: Training images, and those held out to validate on.
        config: How.
        inversions: What inversion found so far, where that is shared with other trainings.
        with_distribution: Whether the checkpoint says what the training networks look like.
    """

    def __init__(
        self,
        editor: Editor,
        train: Population,
        validation: Population,
        pools: tuple[ImagePool, ImagePool],
        config: RepairConfig,
        inversions: InversionMemory | None = None,
        *,
        with_distribution: bool = True,
    ) -> None:
        super().__init__(editor, config.training)
        self._task, self._while_closing = config, config.while_closing()
        self._with_distribution = with_distribution
        self._inversions = inversions or InversionMemory()
        self._train, self._validation = train, validation
        self._pool, self._held_out = pools
        self._before: Measurement | None = None
        size = config.training.batch_size
        self._num_trojaned = min(size - 1, max(1, round(size * config.trojaned_share)))
        self._streams = [
            IndexStream(indices, groups=None, seed=config.training.seed, purpose=purpose)
            for indices, purpose in ((_repairable(train, config.loss), "trojaned"), (train.healthy_indices, "healthy"))
        ]

    def on_fit_start(self) -> None:
        """Put networks and images beside the editor."""
        self._train, self._validation = self._train.to(self.device), self._validation.to(self.device)
        if self._inversion is not None:
            both = (self._train, self._validation)
            self._train, self._validation = self._inversions.populations(self._inversion, both, self.tell_inverted)
        self._pool, self._held_out = self._pool.to(self.device), self._held_out.to(self.device)

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The batch's mean loss, and its parts."""
        counts = (self._num_trojaned, self.config.batch_size - self._num_trojaned)
        drawn = [stream.take(step * count, count) for stream, count in zip(self._streams, counts, strict=True)]
        generator = seeded_generator(self.config.seed, "augmentation", step)
        whole, views = draw_augmented(self._train, torch.cat(drawn), self._task.augmentation, generator)
        batch, views = whole.of_share(self.share), self.share.of(views, whole.sizes)
        trojaned = self._train.trojaned[batch.indices].to(self.device)
        viewed = [view.apply(own) for view, own in zip(views, batch.networks, strict=True)]
        seen = self._editor.changed(viewed, self._evidence(batch, views))
        changed = [view.undo(own) for view, own in zip(views, seen.edited, strict=True)]
        edit = Edit(self._editor.refitted(changed), seen.gate_logits)
        if self._task.loss == "function":
            loss, figures = self._function_loss(batch, edit, trojaned, self._images(whole, step), step)
        else:
            loss, figures = self._weight_loss(batch, edit), {}
        if edit.gate_logits is not None and self._task.gate_weight > 0:
            gate = functional.binary_cross_entropy_with_logits(edit.gate_logits, trojaned.float())
            loss, figures = loss + self._task.gate_weight * gate, {**figures, "gate_loss": float(gate.detach())}
        return loss, figures

    def _evidence(self, batch: Batch, views: Sequence[View]) -> list[Evidence] | None:
        """What was found out about the batch's networks, as it is for them in these views."""
        if batch.evidence is None:
            return None
        parts = zip(batch.evidence, batch.networks, views, strict=True)
        return [evidence_in_view(own, networks.graph, view) for own, networks, view in parts]

    @property
    def _inversion(self) -> Inversion | None:
        """What finds something in networks, where what says how to change their weights asks for it."""
        return inversion_of(self._editor.changes)

    @property
    def _editor(self) -> Editor:
        assert isinstance(self.model, Editor)
        return self.model

    def _of_step(self, step: int) -> RepairConfig:
        return self._while_closing if self.is_closing(step) else self._task

    def _images(self, whole: Batch, step: int) -> list[tuple[Tensor, Tensor]]:
        """Images and labels for this share's networks, drawn for all of a batch's."""
        task, generator = self._of_step(step), seeded_generator(self.config.seed, "images", step)
        count = task.num_clean_images + task.num_triggered_images
        drawn = [self._pool.draw(size, count, generator) for size in whole.sizes]
        images, labels = (self.share.of(some, whole.sizes) for some in zip(*drawn, strict=True))
        return list(zip(images, labels, strict=True))

    def _function_loss(
        self, batch: Batch, edit: Edit, trojaned: Tensor, images: Sequence[tuple[Tensor, Tensor]], step: int
    ) -> tuple[Tensor, dict[str, float]]:
        task = self._of_step(step)
        pieces = zip(batch.networks, edit.edited, self._wanted(batch.indices), _split(batch), images, strict=True)
        parts = [
            function_losses(
                own, edited, healthy, [self._train.triggers[i] for i in indices], labelled, task.num_clean_images
            )
            for own, edited, healthy, indices, labelled in pieces
        ]
        loss = FunctionLoss.concatenate(parts)
        losses = (
            torch.lerp(loss.clean, loss.told, task.sibling_share)
            + task.error_weight * loss.wrong
            + task.triggered_weight * torch.lerp(loss.triggered, loss.triggered_told, task.triggered_sibling_share)
            + torch.where(trojaned, task.attack_weight * loss.attacked, task.keep_weight * loss.kept)
        )
        figures = {
            "clean_loss": loss.clean.detach().mean(),
            "error_loss": loss.wrong.detach().mean(),
            "triggered_loss": loss.triggered.detach()[trojaned].mean(),
            "attack_loss": loss.attacked.detach()[trojaned].mean(),
            "kept_loss": loss.kept.detach()[~trojaned].mean(),
        }
        return losses.mean(), {name: float(value) for name, value in figures.items()}

    def _weight_loss(self, batch: Batch, edit: Edit) -> Tensor:
        """Distance to the healthy sibling's weights; a healthy network's own are wanted."""
        pieces = zip(batch.networks, edit.edited, self._wanted(batch.indices), strict=True)
        return torch.cat([weight_losses(own, edited, healthy) for own, edited, healthy in pieces]).mean()

    def _wanted(self, indices: Tensor) -> list[Networks]:
        """Trojaned networks' healthy siblings, and healthy networks themselves."""
        siblings = self._train.sibling_or_self(indices)
        return self._train.batch(torch.where(self._train.trojaned[indices], siblings, indices)).networks

    def validate(self, model: nn.Module) -> Validation:
        """Clean accuracy, ASR and RA of the validation networks after the edit, on held-out training images.

        All are those of the best strength, which is among them.
        """
        assert isinstance(model, Editor)
        batch = self._validation.batch(torch.arange(len(self._validation)))
        if self._before is None:
            self._before = self._measured(batch.networks, batch)
        changed = edited_networks(model.changed, batch.networks, 2 * self.config.batch_size, batch.evidence)
        tried = []
        for strength in self._task.strengths:
            edited = model.refitted(
                [_between(own, after, strength) for own, after in zip(batch.networks, changed, strict=True)]
            )
            tried.append(self._figures_after(edited, strength, batch, self._before))
        figures = min(tried, key=lambda some: some["score"])
        if not all(map(math.isfinite, figures.values())):
            raise ZoovetError("the repaired networks' figures are no longer finite; lower training.learning_rate")
        return Validation(figures, score=(-figures["score"],))

    def _figures_after(
        self, edited: Sequence[Networks], strength: float, batch: Batch, before: Measurement
    ) -> dict[str, float]:
        """What is measured of networks that were changed by a strength."""
        trojaned = self._validation.trojaned[batch.indices]
        figures = _repair_figures(before, self._measured(edited, batch), trojaned)
        lost, healthy_lost = figures["clean_accuracy_lost"], figures["healthy_accuracy_lost"]
        score = self._task.score(asr=figures["asr_after"], lost=lost, healthy_lost=healthy_lost)
        return {**figures, "strength": strength, "score": score}

    def _measured(self, networks: Sequence[Networks], batch: Batch) -> Measurement:
        pieces = zip(networks, _split(batch), strict=True)
        pool = self._held_out
        return Measurement.concatenate(
            [
                measure(some, [self._validation.triggers[i] for i in indices], pool.images, pool.labels)
                for some, indices in pieces
            ]
        )

    def extra_tensors(self) -> dict[str, Tensor]:
        """What the training networks look like, where that is wanted."""
        return self._distribution.to_tensors() if self._with_distribution else {}

    @cached_property
    def _distribution(self) -> TrainingDistribution:
        return fit_training_distribution(self._train, self._validation)

    def describe(self, validation: Validation) -> dict[str, Any]:
        """What :meth:`TrainedRepairer.load` needs, and the configuration."""
        gate, refit = self._task.gate, self._editor.refit
        return {
            "metanetwork": metanetwork_to_json(self._task.metanetwork),
            "gate": None if gate is None else metanetwork_to_json(gate),
            "refit": None if refit is None else refit.to_json(),
            "specs": [graph.to_json() for graph in self._train.graphs],
            "strength": validation.figures["strength"],
            **self._usual_edits(validation.figures["strength"]),
            "config": config_to_dict(self._task),
        }

    def _usual_edits(self, strength: float) -> dict[str, Any]:
        """By how much the editor as it stands changes training networks, evenly chosen."""
        model = self.best_guess
        assert isinstance(model, Editor)
        chosen = torch.linspace(0, len(self._train) - 1, min(len(self._train), MAX_NETWORKS)).round().long()
        batch = self._train.batch(chosen)
        with torch.no_grad():
            changed = edited_networks(model.changed, batch.networks, 2 * self.config.batch_size, batch.evidence)
            edited = model.refitted(
                [_between(own, after, strength) for own, after in zip(batch.networks, changed, strict=True)]
            )
        pairs = zip(batch.networks, edited, strict=True)
        found = [(own.graph, EditSize.of(scale_free_changes(own, after))) for own, after in pairs]
        sizes = {graph: size for graph, size in found if size is not None}
        return edit_sizes_to_json(sizes, self._train.graphs)


def train_repairer(
    config: RepairConfig,
    zoo: Zoo,
    images: Images,
    out: Path | str,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    inversions: InversionMemory | None = None,
    with_distribution: bool = True,
) -> TrainedRepairer:
    """Train a repairer on a zoo's training split; validation chooses the checkpoint.

    Where ``out`` holds an unfinished run of the same configuration and zoo, it is resumed; a finished one is loaded.
    Poisoned networks whose ASR is below the recipe's ``min_asr`` are left out. The test split is not read.

    Args:
        config: How.
        zoo: The zoo, opened.
        images: Training images of the zoo's dataset; never its test images.
        out: Folder of the run.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told after every step and validation.
        inversions: What inversion found so far, where that is shared with other trainings; filled up.
        with_distribution: Whether the repairer can tell networks that are unlike the training networks; takes seconds.

    Raises:
        ZoovetError: A zoo without poisoned networks, or whose triggers nobody knows, images that do not fit its
            networks, a folder that cannot be written to or holds another run, a device that is not there, or a loss
            that is no longer finite.
    """
    train, validation = load_populations(zoo)
    _require_triggers(zoo, train, validation)
    gate = config.gate and config.gate.with_input_shape(train.graphs)
    config = replace(config, metanetwork=config.metanetwork.with_input_shape(train.graphs), gate=gate)
    pools = ImagePool.split(images, config.num_validation_images, config.training.seed)
    for pool in pools:
        pool.require_fit(train.graphs)
    if config.loss == "weights" and len(_repairable(train, config.loss)) == 0:
        raise ZoovetError(f"loss 'weights' needs trojaned networks whose healthy sibling is in the zoo {zoo.path}")
    facts = {"zoo": zoo_facts(zoo.path, train, validation), "images": {"name": images.name, "num_images": len(images)}}
    run = open_run(out, REPAIRER, config, facts)
    if not run.finished:
        refit = _refit(config, pools[0], train.graphs)
        editor = build_editor(config.metanetwork, config.gate, refit, config.training.seed)
        give_images(editor.changes, images)
        module = RepairModule(editor, train, validation, pools, config, inversions, with_distribution=with_distribution)
        train_run(run, module, device=device, progress=progress)
    return TrainedRepairer.load(run.folder, device=device)


def _refit(config: RepairConfig, pool: ImagePool, graphs: Sequence[Graph]) -> LastLayerRefit | None:
    """What refits the last layer, with images of the pool, where that is wanted."""
    if config.refit is None:
        return None
    for graph in graphs:
        LastLayerRefit.require_fit(graph)
    images = pool.of_each_class(config.refit.images_per_class, seeded_generator(config.training.seed, "refit's images"))
    refit = LastLayerRefit(config.refit, images.shape[2:], len(images))
    refit.give_images(images)
    return refit


def _between(own: Networks, changed: Networks, strength: float) -> Networks:
    """Networks whose change is multiplied by a strength."""
    return Networks.from_flat(own.graph, torch.lerp(own.flat(), changed.flat(), strength))


def _repairable(population: Population, loss: str) -> Tensor:
    """Trojaned networks that the loss can be computed for."""
    trojaned = population.trojaned_indices
    has_sibling = population.sibling_or_self(trojaned) != trojaned
    return trojaned if loss == "function" else trojaned[has_sibling]


def _require_triggers(zoo: Zoo, *parts: Population) -> None:
    """Raise where a trojaned network's trigger is not known, as in zoos that were imported."""
    known = [part.triggers[place] is not None for part in parts for place in part.trojaned_indices.tolist()]
    if not all(known):
        raise ZoovetError(
            f"repairers learn with each trojaned network's own trigger, which the zoo {zoo.path} does not hold for "
            f"{known.count(False)} of {len(known)} trojaned networks, as imported zoos do not: give one that was built "
            f"here, or heal networks on reference images (zoovet repair FILE --images FOLDER)"
        )


def _split(batch: Batch) -> list[list[int]]:
    """The batch's indices, graph by graph."""
    return [part.tolist() for part in torch.split(batch.indices, [len(networks) for networks in batch.networks])]


def _repair_figures(before: Measurement, after: Measurement, trojaned: Tensor) -> dict[str, float]:
    """Means over trojaned networks, and over healthy ones where the name says so."""
    means = {
        "clean_accuracy_before": before.clean_accuracy[trojaned],
        "clean_accuracy_after": after.clean_accuracy[trojaned],
        "asr_before": before.asr[trojaned],
        "asr_after": after.asr[trojaned],
        "ra_before": before.ra[trojaned],
        "ra_after": after.ra[trojaned],
        "healthy_accuracy_before": before.clean_accuracy[~trojaned],
        "healthy_accuracy_after": after.clean_accuracy[~trojaned],
    }
    figures = {name: float(values.mean()) for name, values in means.items()}
    figures["clean_accuracy_lost"] = figures["clean_accuracy_before"] - figures["clean_accuracy_after"]
    figures["healthy_accuracy_lost"] = figures["healthy_accuracy_before"] - figures["healthy_accuracy_after"]
    return figures
