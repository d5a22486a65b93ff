"""Everything about a base and its descendants that is drawn from a seed, whatever then trains them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images import Trigger, draw_trigger, num_poisoned, with_covers
from zoovet.networks import Graph
from zoovet.zoo.base_training import DrawnTraining
from zoovet.zoo.image_arrays import SplitImages
from zoovet.zoo.recipe_parts import log_uniform
from zoovet.zoo.samples import Floats, Integers, Schedule
from zoovet.zoo.training import initial_weights
from zoovet.zoo.trojan_recipe import AttackPlan, TrojanRecipe

__all__ = ["TrojanDraw", "draw_trojan", "poisoned_places"]


@dataclass(frozen=True)
class TrojanDraw:
    """Everything that is drawn for a base before it is trained.

    Attributes:
        seed: What it all follows from, together with the recipe and the base's plan.
        graph: What its networks are.
        activation: Their hidden activation.
        base: How the base is trained; for the origin ``scratch`` there is none, and this is the descendants' beginning.
        finetuning: How its descendants are made of it.
        origin: See :class:`~zoovet.zoo.trojan_recipe.AttackPlan`.
        trigger: What poisons, where the recipe has poisoned networks.
        poison_rate: Share of the training images that is poisoned.
        anchor: Strength of the pull towards the healthy sibling, 0 for none.
        indices: [n] int32, the training images of the descendants.
        base_indices: The first of them, which the base is trained on.
    """

    seed: int
    graph: Graph
    activation: str
    base: DrawnTraining
    finetuning: Schedule
    origin: str
    trigger: Trigger | None
    poison_rate: float
    anchor: float
    indices: Integers
    base_indices: Integers

    @property
    def has_base(self) -> bool:
        """Whether a base is trained, from which the descendants start."""
        return self.origin != "scratch"

    @property
    def descent(self) -> Schedule:
        """The schedule of both descendants: fine-tuning, or a whole training where there is no base."""
        if self.has_base:
            return self.finetuning
        return replace(self.base.schedule, epochs=self.base.schedule.epochs + self.finetuning.epochs)

    @property
    def num_steps(self) -> int:
        """Optimizer steps from the random weights to a descendant."""
        parts = [(self.descent, self.indices)]
        if self.has_base:
            parts.append((self.base.schedule, self.base_indices))
        return sum(schedule.epochs * -(-len(indices) // schedule.batch_size) for schedule, indices in parts)

    def initial_weights(self) -> Floats:
        """The random weights that everything starts from, flat [P]."""
        return initial_weights(self.graph, self.base.init, self.base.init_std, np.random.default_rng([self.seed, 1]))

    def base_generator(self) -> np.random.Generator:
        """Source of the base's orders and dropout."""
        return np.random.default_rng([self.seed, 2])

    def descent_generator(self) -> np.random.Generator:
        """Source of a descendant's orders and dropout; both siblings draw the same."""
        return np.random.default_rng([self.seed, 4])


def draw_trojan(recipe: TrojanRecipe, images: SplitImages, seed: int, plan: AttackPlan) -> TrojanDraw:
    """Draw a base.

    Raises:
        ZoovetError: The attack's triggers do not fit the images.
    """
    generator = np.random.default_rng([seed, 0])
    activation = str(generator.choice(recipe.activations))
    graph = recipe.graphs(images.train.shape, images.train.num_classes)[activation]
    base = recipe.base.draw(recipe.batch_size, generator)
    finetuning, poison_rate = recipe.draw_finetuning(plan.attack, generator)
    count = min(recipe.train_images, len(images.train))
    indices = generator.permutation(len(images.train))[:count].astype(np.int32)
    trigger = None
    if recipe.poisoned:
        trigger = draw_trigger(plan.attack.trigger, images.train.shape, images.train.num_classes, generator)
    base_indices = indices[: max(1, round(base.train_fraction * count))]
    anchor = log_uniform(recipe.attackers.anchor, generator) if plan.origin == "anchored" else 0.0
    return TrojanDraw(
        seed=seed,
        graph=graph,
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


def poisoned_places(draw: TrojanDraw, images: SplitImages, trigger: Trigger) -> NDArray[np.int64]:
    """Which of the draw's training images get the trigger, covers too: places in its ``indices``, ascending.

    Raises:
        ZoovetError: The poison rate asks for more images than may be poisoned.
    """
    labels = images.train.required_labels[torch.from_numpy(draw.indices).long()]
    eligible = torch.nonzero(trigger.poisonable(labels)).flatten().numpy()
    count = num_poisoned(len(draw.indices), draw.poison_rate)
    if count > len(eligible):
        raise ZoovetError(
            f"a poison rate of {draw.poison_rate:.3f} asks for {count} of {len(draw.indices)} images, but only "
            f"{len(eligible)} may be poisoned by this {trigger.attack} trigger; lower its poison_rate"
        )
    generator = np.random.default_rng([draw.seed, 3])
    return with_covers(np.sort(generator.choice(eligible, count, replace=False)), labels, trigger, generator)
