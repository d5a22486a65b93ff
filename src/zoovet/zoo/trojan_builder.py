"""Shards of a trojan zoo: base networks and their descendants, drawn from seeds, trained, measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images import (
    Trigger,
    attack_success_rate,
    clean_accuracy,
    draw_trigger,
    num_poisoned,
    robust_accuracy,
    triggered_test,
)
from zoovet.networks import NetworkSpec
from zoovet.zoo.base_training import DrawnTraining, base_seed
from zoovet.zoo.image_arrays import Images, load_images
from zoovet.zoo.recipe_parts import log_uniform
from zoovet.zoo.samples import Anchor, Floats, Samples, Schedule
from zoovet.zoo.store import Zoo
from zoovet.zoo.training import NetworkTrainer, initial_weights, network_trainer, train_network
from zoovet.zoo.trojan_recipe import AttackPlan, TrojanRecipe

__all__ = ["TrojanBuilder", "build_base", "train_descendants"]

Row = dict[str, Any]


class TrojanBuilder:
    """Builds the shards of a trojan recipe: see :class:`zoovet.zoo.builders.Builder`."""

    def __init__(self, recipe: TrojanRecipe, data_root: Path | None) -> None:
        self.recipe = recipe
        self.images = load_images(recipe, data_root)
        self.num_shards = recipe.num_shards
        self.num_networks = recipe.num_networks
        by_activation = recipe.specs(self.images.train.image_shape, self.images.train.num_classes)
        self.specs = {spec.spec_id: spec for spec in by_activation.values()}
        self._splits = recipe.split.of_bases(recipe.num_bases, np.random.default_rng([recipe.seed, 2**32]))
        self._plans = recipe.attack_plans()

    def prepare(self) -> None:
        """Compile what trains the networks."""
        for spec in self.specs.values():
            network_trainer(spec)

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[Row]:
        """The rows of one shard."""
        rows: list[Row] = []
        first = index * self.recipe.bases_per_shard
        for base_id in range(first, min(first + self.recipe.bases_per_shard, self.recipe.num_bases)):
            made = build_base(self.recipe, self.images, base_id, self._splits[base_id], self._plans[base_id])
            rows += made
            finished(len(made))
        return rows

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Train a stored network again from its seed: see :func:`zoovet.zoo.factory.rebuild_network`."""
        plan = self._plans[int(zoo.column("base_id")[place])]
        made = train_descendants(self.recipe, self.images, int(zoo.column("seed")[place]), plan)
        assert made is not None, "a stored network's seed gives networks that the recipe accepts"
        return made[1]["trojaned" if zoo.column("poisoned")[place] else "healthy"]


@dataclass(frozen=True)
class _Draw:
    """Everything that is drawn for a base before it is trained."""

    seed: int
    spec: NetworkSpec
    activation: str
    base: DrawnTraining
    finetuning: Schedule
    origin: str
    trigger: Trigger | None
    poison_rate: float
    anchor: float
    indices: NDArray[np.int32]
    base_indices: NDArray[np.int32]


def _draw(recipe: TrojanRecipe, images: Images, seed: int, plan: AttackPlan) -> _Draw:
    generator = np.random.default_rng([seed, 0])
    activation = str(generator.choice(recipe.activations))
    spec = recipe.specs(images.train.image_shape, images.train.num_classes)[activation]
    base = recipe.base.draw(recipe.batch_size, generator)
    finetuning, poison_rate = recipe.draw_finetuning(plan.attack, generator)
    count = min(recipe.train_images, len(images.train))
    indices = generator.permutation(len(images.train))[:count].astype(np.int32)
    trigger = None
    if recipe.poisoned:
        trigger = draw_trigger(plan.attack.trigger, images.train.image_shape, images.train.num_classes, generator)
    base_indices = indices[: max(1, round(base.train_fraction * count))]
    anchor = log_uniform(recipe.attackers.anchor, generator) if plan.origin == "anchored" else 0.0
    return _Draw(
        seed=seed,
        spec=spec,
        activation=activation,
        base=base,
        finetuning=finetuning,
        origin=plan.origin,
        trigger=trigger,
        poison_rate=poison_rate,
        anchor=anchor,
        indices=indices,
        base_indices=base_indices,
    )


def _samples(images: Images, indices: NDArray[np.int32]) -> Samples:
    labels = images.train.labels.numpy()[indices].astype(np.int32)
    return Samples(images.train_scaled, images.train_scaled[:1], indices, labels)


def _poisoned_samples(images: Images, draw: _Draw, trigger: Trigger) -> Samples:
    """The training samples with the trigger and its label on a share of them."""
    labels = images.train.labels[torch.from_numpy(draw.indices).long()]
    eligible = torch.nonzero(trigger.poisonable(labels)).flatten().numpy()
    count = num_poisoned(len(draw.indices), draw.poison_rate)
    if count > len(eligible):
        raise ZoovetError(
            f"a poison rate of {draw.poison_rate:.3f} asks for {count} of {len(draw.indices)} images, but only "
            f"{len(eligible)} may be poisoned by this {trigger.attack} trigger; lower its poison_rate"
        )
    chosen = np.sort(np.random.default_rng([draw.seed, 3]).choice(eligible, count, replace=False))
    clean = torch.from_numpy(images.train_scaled[draw.indices[chosen]])
    indices, wanted = draw.indices.copy(), labels.clone()
    indices[chosen] = len(images.train_scaled) + np.arange(count, dtype=np.int32)
    wanted[chosen] = trigger.wanted_labels(labels[chosen])
    triggered = trigger.apply(clean).contiguous().numpy()
    return Samples(images.train_scaled, triggered, indices, wanted.numpy().astype(np.int32))


def _accuracy(trainer: NetworkTrainer, flat: Floats, images: Floats, labels: torch.Tensor) -> float:
    predictions = torch.from_numpy(trainer.logits(trainer.pack(flat), images)).argmax(dim=1)
    return float(clean_accuracy(predictions, labels))


def train_descendants(
    recipe: TrojanRecipe, images: Images, seed: int, plan: AttackPlan
) -> tuple[_Draw, dict[str, Floats], int] | None:
    """Train a base and its descendants from a seed and the base's plan alone.

    Returns:
        What was drawn, flat weights by name (``healthy``, and ``trojaned`` where the recipe has poisoned networks) and
        the optimizer steps of each; or ``None`` where training diverged or a network is less accurate than the recipe
        asks.
    """
    draw = _draw(recipe, images, seed, plan)
    trainer = network_trainer(draw.spec)
    base = initial_weights(draw.spec, draw.base.init, draw.base.init_std, np.random.default_rng([seed, 1]))
    schedule, base_steps = draw.finetuning, 0
    if draw.origin == "scratch":
        schedule = replace(draw.base.schedule, epochs=draw.base.schedule.epochs + schedule.epochs)
    else:
        base, base_steps = train_network(
            trainer, base, _samples(images, draw.base_indices), draw.base.schedule, np.random.default_rng([seed, 2])
        )
        if not _accurate_enough(recipe, trainer, base, images):
            return None

    def tuned(samples: Samples, anchor: Anchor | None = None) -> Floats | None:
        flat, _ = train_network(trainer, base, samples, schedule, np.random.default_rng([seed, 4]), anchor)
        return flat if _accurate_enough(recipe, trainer, flat, images) else None

    healthy = tuned(_samples(images, draw.indices))
    if healthy is None:
        return None
    steps = base_steps + schedule.epochs * -(-len(draw.indices) // schedule.batch_size)
    if draw.trigger is None:
        return draw, {"healthy": healthy}, steps
    anchor = Anchor(healthy, draw.anchor) if draw.anchor else None
    trojaned = tuned(_poisoned_samples(images, draw, draw.trigger), anchor)
    return None if trojaned is None else (draw, {"healthy": healthy, "trojaned": trojaned}, steps)


def _accurate_enough(recipe: TrojanRecipe, trainer: NetworkTrainer, flat: Floats, images: Images) -> bool:
    """Whether a network is finite and reaches the recipe's clean accuracy on the test images."""
    return bool(
        np.isfinite(flat).all()
        and _accuracy(trainer, flat, images.test_scaled, images.test.labels) >= recipe.min_clean_accuracy
    )


def build_base(recipe: TrojanRecipe, images: Images, base_id: int, split: str, plan: AttackPlan) -> list[Row]:
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
        draw, networks, steps = made
        rows = [_row(recipe, images, draw, base_id, split, name, flat, steps) for name, flat in networks.items()]
        if all(row["asr"] >= recipe.min_asr for row in rows if row["poisoned"]):
            return rows
    raise ZoovetError(
        f"base {base_id}: {recipe.max_attempts} draws gave no networks with clean accuracy "
        f"≥ {recipe.min_clean_accuracy} and ASR ≥ {recipe.min_asr}; lower these, train longer (base.epochs, "
        f"finetune.epochs), poison more (poison_rate), or make triggers plainer ({plan.attack.kind}, {plan.origin})"
    )


def _row(
    recipe: TrojanRecipe, images: Images, draw: _Draw, base_id: int, split: str, name: str, flat: Floats, steps: int
) -> Row:
    trainer = network_trainer(draw.spec)
    poisoned = name == "trojaned"
    trained_on = images.train_scaled[draw.indices]
    row: Row = {
        "network_id": f"{base_id:05d}-{name}",
        "base_id": base_id,
        "spec_id": draw.spec.spec_id,
        "split": split,
        "seed": draw.seed,
        "activation": draw.activation,
        "init": draw.base.init,
        "init_std": draw.base.init_std,
        "optimizer": draw.base.schedule.optimizer,
        "learning_rate": draw.base.schedule.learning_rate,
        "weight_decay": draw.base.schedule.weight_decay,
        "dropout": draw.base.schedule.dropout,
        "batch_size": recipe.batch_size,
        "epochs": draw.base.schedule.epochs,
        "train_fraction": draw.base.train_fraction,
        "finetune_learning_rate": draw.finetuning.learning_rate,
        "finetune_epochs": draw.finetuning.epochs,
        "step": steps,
        "origin": draw.origin,
        "poisoned": poisoned,
        "attack": None,
        "anchor": draw.anchor if poisoned else 0.0,
        "trigger": None,
        "target": None,
        "poison_rate": draw.poison_rate if poisoned else 0.0,
        "clean_accuracy": _accuracy(trainer, flat, images.test_scaled, images.test.labels),
        "train_accuracy": _accuracy(
            trainer, flat, trained_on, images.train.labels[torch.from_numpy(draw.indices).long()]
        ),
        "asr": None,
        "ra": None,
        "weights": flat,
    }
    if draw.trigger is not None:
        triggered = triggered_test(images.test, draw.trigger)
        logits = trainer.logits(trainer.pack(flat), triggered.images.contiguous().numpy())
        predictions = torch.from_numpy(logits).argmax(dim=1)
        row["attack"] = draw.trigger.attack
        row["trigger"] = json.dumps(draw.trigger.to_json())
        row["target"] = draw.trigger.target
        row["asr"] = float(attack_success_rate(predictions, triggered.wanted, triggered.labels))
        row["ra"] = float(robust_accuracy(predictions, triggered.wanted, triggered.labels))
    return row
