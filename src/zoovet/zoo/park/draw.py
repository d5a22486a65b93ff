"""Everything about a base of a park that is drawn from a seed, before it is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.images import Trigger, draw_trigger, with_covers
from zoovet.zoo.attacks import shared_out
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.park.training_ranges import DrawnTraining
from zoovet.zoo.recipe_parts import log_uniform
from zoovet.zoo.samples import Floats, Integers
from zoovet.zoo.training import initial_weights

if TYPE_CHECKING:
    from zoovet.zoo.park.images import ImageSet
    from zoovet.zoo.park.plans import BasePlan
    from zoovet.zoo.park.recipe import ParkRecipe
    from zoovet.zoo.park.variants import Variant

__all__ = ["ParkDraw", "draw_base"]

_MOST_OF_CLASS = 0.8
"""Share of the images that may be poisoned at most: a class keeps clean images of its own."""


@dataclass(frozen=True)
class ParkDraw:
    """Everything that is drawn for a base.

    Attributes:
        seed: What it follows from, with the recipe and the base's plan.
        variant: What its networks are.
        training: How they are trained.
        origin: What the attacker starts from.
        trigger: What poisons.
        anchor: Strength of the pull towards the healthy sibling, 0 for none.
        indices: [n] int64, places of the training images.
        poisoned: [k] int64, places in ``indices`` of those that get the trigger, covers too, ascending.
        poison_rate: Share of the training images that is poisoned.
    """

    seed: int
    variant: Variant
    training: DrawnTraining
    origin: str
    trigger: Trigger
    anchor: float
    indices: NDArray[np.int64]
    poisoned: NDArray[np.int64]
    poison_rate: float

    @property
    def has_base(self) -> bool:
        """Whether a base is trained, from which both networks start."""
        return self.origin != "scratch"

    @property
    def num_steps(self) -> int:
        """Optimizer steps from the random weights to a network."""
        schedules = [self.training.schedule, *([self.training.tuning] if self.has_base else [])]
        return sum(schedule.epochs * -(-len(self.indices) // schedule.batch_size) for schedule in schedules)

    def initial_weights(self) -> Floats:
        """The random weights that everything starts from, flat [P]."""
        return initial_weights(self.variant.graph, self.training.init, 0.1, np.random.default_rng([self.seed, 1]))

    def clean_images(self, image_set: ImageSet) -> tuple[Floats, Integers]:
        """The training images [n, C, H, W] in [-1, 1], and their labels [n]."""
        places = torch.from_numpy(self.indices)
        part = image_set.train[places]
        return part.scaled().numpy(), part.required_labels.numpy().astype(np.int32)

    def poison(self, images: Floats, labels: Integers) -> tuple[Floats, Integers]:
        """The same with the trigger and its label on the poisoned ones."""
        images, wanted = images.copy(), labels.copy()
        chosen = torch.from_numpy(images[self.poisoned])
        images[self.poisoned] = self.trigger.apply(chosen).numpy()
        wanted[self.poisoned] = self.trigger.wanted_labels(torch.from_numpy(labels[self.poisoned]).long()).numpy()
        return images, wanted


def draw_base(
    recipe: ParkRecipe, plan: BasePlan, variant: Variant, image_set: ImageSet, base_id: int, attempt: int
) -> ParkDraw | None:
    """Draw a base; ``None`` where none of its images may be poisoned, or no test image may show whether it worked.

    Raises:
        ZoovetError: The attack's triggers do not fit the images.
    """
    seed = base_seed(recipe.seed, base_id, attempt)
    generator = np.random.default_rng([seed, 0])
    training = recipe.training.draw(generator, np.random.default_rng([seed, 5]))
    block = recipe.images[plan.images]
    if not block.mirrored:
        parts = [part for part in training.augmentation.split("_") if part != "flip"]
        training = replace(training, augmentation="_".join(parts) or "none")
    count = max(1, min(round(block.images_factor * training.num_images), len(image_set.train)))
    indices = generator.permutation(len(image_set.train))[:count]
    number = plan.attack
    if attempt >= recipe.attack_attempts:
        (number,) = shared_out([attack.share for attack in recipe.attacks], len(recipe.attacks), generator)[:1]
    attack = recipe.attacks[number]
    trigger = draw_trigger(attack.trigger, image_set.train.shape, image_set.train.num_classes, generator)
    rate = float(generator.uniform(*attack.poison_rate))
    labels = image_set.train.required_labels[torch.from_numpy(indices)]
    eligible = torch.nonzero(trigger.poisonable(labels)).flatten().numpy()
    test_labels = image_set.test.required_labels
    if not len(eligible) or bool((trigger.wanted_labels(test_labels) == test_labels).all()):
        return None
    num_poisoned = max(1, min(round(rate * count), int(_MOST_OF_CLASS * len(eligible))))
    anchor = log_uniform(recipe.attackers.anchor, generator) if plan.origin == "anchored" else 0.0
    chosen = np.sort(generator.choice(eligible, num_poisoned, replace=False))
    return ParkDraw(
        seed=seed,
        variant=variant,
        training=training,
        origin=plan.origin,
        trigger=trigger,
        anchor=anchor,
        indices=indices,
        poisoned=with_covers(chosen, labels, trigger, generator),
        poison_rate=num_poisoned / count,
    )
