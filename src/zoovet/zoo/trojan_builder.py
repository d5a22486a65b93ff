"""Shards of a trojan zoo: base networks and their descendants, drawn from seeds, trained, measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images import Trigger, attack_success_rate, clean_accuracy, robust_accuracy, triggered_test
from zoovet.zoo.base_training import base_seed, is_base_seed
from zoovet.zoo.image_arrays import SplitImages, load_images
from zoovet.zoo.samples import Anchor, Floats, Integers, Samples
from zoovet.zoo.shard_content import first_difference, foreign_seed
from zoovet.zoo.store import Zoo
from zoovet.zoo.training import NetworkTrainer, network_trainer, train_network
from zoovet.zoo.trojan_draw import TrojanDraw, draw_trojan, poisoned_places
from zoovet.zoo.trojan_recipe import AttackPlan, TrojanRecipe
from zoovet.zoo.trojan_rows import Measured, Row, network_id, trojan_row

__all__ = ["TrojanBuilder", "build_base", "given_up", "train_descendants"]


class TrojanBuilder:
    """Builds the shards of a trojan recipe: see :class:`zoovet.zoo.builders.Builder`.

    Attributes:
        recipe: What is built.
        images: What its networks are trained and measured on.
        splits: Every base's split.
        plans: Every base's attack and origin.
    """

    def __init__(self, recipe: TrojanRecipe, data_root: Path | None) -> None:
        self.recipe = recipe
        self.images = load_images(recipe, data_root)
        self.num_shards = recipe.num_shards
        self.num_networks = recipe.num_networks
        by_activation = recipe.graphs(self.images.train.shape, self.images.train.num_classes)
        self.graphs = {graph.graph_id: graph for graph in by_activation.values()}
        self.splits = recipe.split.of_bases(recipe.num_bases, np.random.default_rng([recipe.seed, 2**32]))
        self.plans = recipe.attack_plans()

    def prepare(self) -> None:
        """Compile what trains the networks."""
        for graph in self.graphs.values():
            network_trainer(graph)

    def bases_of(self, shard: int) -> range:
        """The bases whose networks are in a shard."""
        first = shard * self.recipe.bases_per_shard
        return range(first, min(first + self.recipe.bases_per_shard, self.recipe.num_bases))

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[Row]:
        """The rows of one shard."""
        rows: list[Row] = []
        for base_id in self.bases_of(index):
            made = build_base(self.recipe, self.images, base_id, self.splits[base_id], self.plans[base_id])
            rows += made
            finished(len(made))
        return rows

    def mismatch(self, index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        """What in a stored shard's columns cannot be of this shard: see :class:`zoovet.zoo.builders.Builder`."""
        names = ("healthy", "trojaned") if self.recipe.poisoned else ("healthy",)
        rows = [(base_id, name) for base_id in self.bases_of(index) for name in names]
        expected: dict[str, list[Any]] = {
            "base_id": [base_id for base_id, _ in rows],
            "network_id": [network_id(base_id, name) for base_id, name in rows],
            "split": [self.splits[base_id] for base_id, _ in rows],
        }
        return first_difference(facts, expected) or foreign_seed(
            facts, lambda base_id, seed: is_base_seed(seed, self.recipe.seed, base_id, self.recipe.max_attempts)
        )

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Train a stored network again from its seed: see :func:`zoovet.zoo.factory.rebuild_network`."""
        plan = self.plans[int(zoo.column("base_id")[place])]
        made = train_descendants(self.recipe, self.images, int(zoo.column("seed")[place]), plan)
        assert made is not None, "a stored network's seed gives networks that the recipe accepts"
        return made[1]["trojaned" if zoo.column("poisoned")[place] else "healthy"]


def _samples(images: SplitImages, indices: Integers) -> Samples:
    labels = images.train.required_labels.numpy()[indices].astype(np.int32)
    return Samples(images.train_scaled, images.train_scaled[:1], indices, labels)


def _poisoned_samples(images: SplitImages, draw: TrojanDraw, trigger: Trigger) -> Samples:
    """The training samples with the trigger and its label on a share of them."""
    labels = images.train.required_labels[torch.from_numpy(draw.indices).long()]
    chosen = poisoned_places(draw, images, trigger)
    clean = torch.from_numpy(images.train_scaled[draw.indices[chosen]])
    indices, wanted = draw.indices.copy(), labels.clone()
    indices[chosen] = len(images.train_scaled) + np.arange(len(chosen), dtype=np.int32)
    wanted[chosen] = trigger.wanted_labels(labels[chosen])
    triggered = trigger.apply(clean).contiguous().numpy()
    return Samples(images.train_scaled, triggered, indices, wanted.numpy().astype(np.int32))


def _accuracy(trainer: NetworkTrainer, flat: Floats, images: Floats, labels: torch.Tensor) -> float:
    predictions = torch.from_numpy(trainer.logits(trainer.pack(flat), images)).argmax(dim=1)
    return float(clean_accuracy(predictions, labels))


def train_descendants(
    recipe: TrojanRecipe, images: SplitImages, seed: int, plan: AttackPlan
) -> tuple[TrojanDraw, dict[str, Floats]] | None:
    """Train a base and its descendants from a seed and the base's plan alone.

    Returns:
        What was drawn, and flat weights by name (``healthy``, and ``trojaned`` where the recipe has poisoned networks);
        or ``None`` where training diverged or a network is less accurate than the recipe asks.
    """
    draw = draw_trojan(recipe, images, seed, plan)
    trainer = network_trainer(draw.graph)
    base = draw.initial_weights()
    if draw.has_base:
        samples = _samples(images, draw.base_indices)
        base, _ = train_network(trainer, base, samples, draw.base.schedule, draw.base_generator())
        if not _accurate_enough(recipe, trainer, base, images):
            return None

    def tuned(samples: Samples, anchor: Anchor | None = None) -> Floats | None:
        flat, _ = train_network(trainer, base, samples, draw.descent, draw.descent_generator(), anchor)
        return flat if _accurate_enough(recipe, trainer, flat, images) else None

    healthy = tuned(_samples(images, draw.indices))
    if healthy is None:
        return None
    if draw.trigger is None:
        return draw, {"healthy": healthy}
    anchor = Anchor(healthy, draw.anchor) if draw.anchor else None
    trojaned = tuned(_poisoned_samples(images, draw, draw.trigger), anchor)
    return None if trojaned is None else (draw, {"healthy": healthy, "trojaned": trojaned})


def _accurate_enough(recipe: TrojanRecipe, trainer: NetworkTrainer, flat: Floats, images: SplitImages) -> bool:
    """Whether a network is finite and reaches the recipe's clean accuracy on the test images."""
    return bool(
        np.isfinite(flat).all()
        and _accuracy(trainer, flat, images.test_scaled, images.test.required_labels) >= recipe.min_clean_accuracy
    )


def build_base(recipe: TrojanRecipe, images: SplitImages, base_id: int, split: str, plan: AttackPlan) -> list[Row]:
    """Train, measure and describe a base's networks, drawing it again until they are what the recipe asks for.

    Returns:
        One row a network, as :func:`zoovet.zoo.store.write_shard` takes them.

    Raises:
        ZoovetError: ``max_attempts`` draws did not give such networks.
    """
    for attempt in range(recipe.max_attempts):
        made = train_descendants(recipe, images, base_seed(recipe.seed, base_id, attempt), plan)
        if made is None:
            continue
        draw, networks = made
        rows = [
            trojan_row(draw, base_id, split, name, flat, _measure(images, draw, flat))
            for name, flat in networks.items()
        ]
        if all(row["asr"] >= recipe.min_asr for row in rows if row["poisoned"]):
            return rows
    raise given_up(recipe, base_id, plan)


def given_up(recipe: TrojanRecipe, base_id: int, plan: AttackPlan) -> ZoovetError:
    """The error to raise where no draw of a base gave what the recipe asks for."""
    return ZoovetError(
        f"base {base_id}: {recipe.max_attempts} draws gave no networks with clean accuracy "
        f"≥ {recipe.min_clean_accuracy} and ASR ≥ {recipe.min_asr}; lower these, train longer (base.epochs, "
        f"finetune.epochs), poison more (poison_rate), or make triggers plainer ({plan.attack.kind}, {plan.origin})"
    )


def _measure(images: SplitImages, draw: TrojanDraw, flat: Floats) -> Measured:
    """Accuracies of a descendant, and what the draw's trigger does to it."""
    trainer = network_trainer(draw.graph)
    labels = images.train.required_labels[torch.from_numpy(draw.indices).long()]
    accuracy = _accuracy(trainer, flat, images.test_scaled, images.test.required_labels)
    train_accuracy = _accuracy(trainer, flat, images.train_scaled[draw.indices], labels)
    if draw.trigger is None:
        return Measured(clean_accuracy=accuracy, train_accuracy=train_accuracy)
    triggered = triggered_test(images.test, draw.trigger)
    logits = trainer.logits(trainer.pack(flat), triggered.images.contiguous().numpy())
    predictions = torch.from_numpy(logits).argmax(dim=1)
    return Measured(
        clean_accuracy=accuracy,
        train_accuracy=train_accuracy,
        asr=float(attack_success_rate(predictions, triggered.wanted, triggered.labels)),
        ra=float(robust_accuracy(predictions, triggered.wanted, triggered.labels)),
    )
