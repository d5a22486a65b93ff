"""Shards of a generalization zoo: networks trained from drawn hyperparameters, stored and measured along the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Graph
from zoovet.zoo.base_training import DrawnTraining, base_seed, is_base_seed
from zoovet.zoo.generalization_recipe import GeneralizationRecipe
from zoovet.zoo.image_arrays import load_images
from zoovet.zoo.samples import Floats, Integers, Samples
from zoovet.zoo.shard_content import first_difference, foreign_seed
from zoovet.zoo.store import Zoo
from zoovet.zoo.training import NetworkTrainer, initial_weights, network_trainer, train_epochs

__all__ = ["GeneralizationBuilder"]

Row = dict[str, Any]


@dataclass(frozen=True)
class _Draw:
    """Everything that is drawn for a base before it is trained; ``indices`` are its training images, [n] int32."""

    seed: int
    graph: Graph
    activation: str
    training: DrawnTraining
    indices: Integers


@dataclass(frozen=True)
class _Checkpoint:
    """A network at some point of its training: optimizer steps so far, flat weights [P]."""

    step: int
    flat: Floats


class GeneralizationBuilder:
    """Builds the shards of a generalization recipe: see :class:`zoovet.zoo.builders.Builder`."""

    def __init__(self, recipe: GeneralizationRecipe, data_root: Path | None) -> None:
        self.recipe = recipe
        self.images = load_images(recipe, data_root)
        self.num_shards = recipe.num_shards
        self.num_networks = recipe.num_networks
        self._by_activation = recipe.graphs(self.images.train.shape, self.images.train.num_classes)
        self.graphs = {graph.graph_id: graph for graph in self._by_activation.values()}
        self._splits = recipe.split.of_bases(recipe.num_bases, np.random.default_rng([recipe.seed, 2**32]))

    def prepare(self) -> None:
        """Compile what trains the networks."""
        for graph in self.graphs.values():
            network_trainer(graph)

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[Row]:
        """The rows of one shard."""
        rows: list[Row] = []
        for base_id in self._bases_of(index):
            made = self._build_base(base_id)
            rows += made
            finished(len(made))
        return rows

    def mismatch(self, index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        """What in a stored shard's columns cannot be of this shard: see :class:`zoovet.zoo.builders.Builder`."""
        bases = [base_id for base_id in self._bases_of(index) for _ in self.recipe.checkpoints]
        expected: dict[str, list[Any]] = {"base_id": bases, "split": [self._splits[base_id] for base_id in bases]}
        return first_difference(facts, expected) or foreign_seed(
            facts, lambda base_id, seed: is_base_seed(seed, self.recipe.seed, base_id, self.recipe.max_attempts)
        )

    def _bases_of(self, shard: int) -> range:
        first = shard * self.recipe.bases_per_shard
        return range(first, min(first + self.recipe.bases_per_shard, self.recipe.num_bases))

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Train a stored network again from its seed: see :func:`zoovet.zoo.factory.rebuild_network`."""
        step = int(zoo.column("step")[place])
        found = self._checkpoints(self._draw(int(zoo.column("seed")[place])))
        return next(checkpoint.flat for checkpoint in found if checkpoint.step == step)

    def _build_base(self, base_id: int) -> list[Row]:
        """A base's checkpoints, in the order of its training; drawn again until every number of theirs is finite.

        Raises:
            ZoovetError: ``max_attempts`` draws diverged.
        """
        for attempt in range(self.recipe.max_attempts):
            draw = self._draw(base_seed(self.recipe.seed, base_id, attempt))
            rows: list[Row] = []
            for checkpoint in self._checkpoints(draw):
                measured = self._measure(draw, checkpoint)
                if not (np.isfinite(checkpoint.flat).all() and np.isfinite(list(measured.values())).all()):
                    break
                rows.append(self._row(draw, base_id, checkpoint) | measured)
            else:
                return rows
        raise ZoovetError(
            f"base {base_id}: training diverged in each of {self.recipe.max_attempts} draws; lower the greatest "
            f"base.sgd_learning_rate and base.adaptive_learning_rate"
        )

    def _draw(self, seed: int) -> _Draw:
        generator = np.random.default_rng([seed, 0])
        activation = str(generator.choice(self.recipe.activations))
        training = self.recipe.base.draw(self.recipe.batch_size, generator)
        count = min(self.recipe.train_images, len(self.images.train))
        used = max(1, round(training.train_fraction * count))
        indices = generator.permutation(len(self.images.train))[:used].astype(np.int32)
        return _Draw(seed, self._by_activation[activation], activation, training, indices)

    def _checkpoints(self, draw: _Draw) -> Iterator[_Checkpoint]:
        """Train a base, and yield it after every epoch that the recipe names. A draw is all that it follows from."""
        drawn = draw.training
        flat = initial_weights(draw.graph, drawn.init, drawn.init_std, np.random.default_rng([draw.seed, 1]))
        if 0 in self.recipe.checkpoints:
            yield _Checkpoint(0, flat)
        labels = self.images.train.required_labels.numpy()[draw.indices].astype(np.int32)
        samples = Samples(self.images.train_scaled, self.images.train_scaled[:1], draw.indices, labels)
        generator = np.random.default_rng([draw.seed, 2])
        epochs = train_epochs(network_trainer(draw.graph), flat, samples, drawn.schedule, generator)
        for epoch, (trained, step) in enumerate(epochs, start=1):
            if epoch in self.recipe.checkpoints:
                yield _Checkpoint(step, trained)
            if epoch == self.recipe.checkpoints[-1]:
                return

    def _measure(self, draw: _Draw, checkpoint: _Checkpoint) -> dict[str, float]:
        """Accuracy and mean cross-entropy on test images, and on training images of the base's own."""
        trainer = network_trainer(draw.graph)
        own = draw.indices[: self.recipe.measured_train_images]
        test = _accuracy_and_loss(trainer, checkpoint.flat, self.images.test_scaled, self.images.test.required_labels)
        labels = self.images.train.required_labels[torch.from_numpy(own).long()]
        train = _accuracy_and_loss(trainer, checkpoint.flat, self.images.train_scaled[own], labels)
        return {
            "clean_accuracy": test[0],
            "test_loss": test[1],
            "train_accuracy": train[0],
            "train_loss": train[1],
        }

    def _row(self, draw: _Draw, base_id: int, checkpoint: _Checkpoint) -> Row:
        """Everything of a network's row that is not measured."""
        return {
            "network_id": f"{base_id:05d}-{checkpoint.step:05d}",
            "base_id": base_id,
            "spec_id": draw.graph.graph_id,
            "split": self._splits[base_id],
            "dataset": self.recipe.dataset,
            "seed": draw.seed,
            "activation": draw.activation,
            **draw.training.facts,
            "step": checkpoint.step,
            "weights": checkpoint.flat,
        }


def _accuracy_and_loss(
    trainer: NetworkTrainer, flat: Floats, images: Floats, labels: torch.Tensor
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in nats (from logits in float64) on images [N, C, H, W], labels int64 [N]."""
    logits = torch.from_numpy(trainer.logits(trainer.pack(flat), images))
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return float(accuracy), float(functional.cross_entropy(logits.double(), labels))
