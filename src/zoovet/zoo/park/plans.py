"""What each base of a park is: dealt in rounds, so that shares hold in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoovet.zoo.attacks import shared_out
from zoovet.zoo.park.recipe import ParkRecipe

__all__ = ["BasePlan", "base_plans"]

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BasePlan:
    """What is dealt to a base, whichever draw of it is accepted.

    Attributes:
        split: Its split.
        architecture: Which block of architectures.
        variant: Which of the architectures that are drawn from it.
        images: Which image set.
        attack: Which block of attacks; another one is dealt where its draws fail.
        origin: ``fine_tuned``, ``scratch`` or ``anchored``: see :class:`~zoovet.zoo.attacks.Attackers`.
    """

    split: str
    architecture: int
    variant: int
    images: int
    attack: int
    origin: str


def base_plans(recipe: ParkRecipe) -> list[BasePlan]:
    """The plan of every base. A round is always dealt whole, so that a park's plans begin as a smaller one's do."""
    plans: list[BasePlan] = []
    for number in range(-(-recipe.num_bases // recipe.round_bases)):
        generator = np.random.default_rng([recipe.seed, 2**32 + 1, number])

        def dealt(shares: list[float], generator: np.random.Generator = generator) -> list[int]:
            return shared_out(shares, recipe.round_bases, generator)

        architectures = dealt([block.share for block in recipe.architectures])
        images = dealt([block.share for block in recipe.images])
        attacks = dealt([block.share for block in recipe.attacks])
        origins = recipe.attackers.shares
        starts = dealt(list(origins.values()))
        splits = dealt([recipe.split.train, recipe.split.validation, recipe.split.test])
        for architecture, image_set, attack, start, split in zip(
            architectures, images, attacks, starts, splits, strict=True
        ):
            plans.append(
                BasePlan(
                    split=_SPLITS[split],
                    architecture=architecture,
                    variant=int(generator.integers(recipe.architectures[architecture].variants)),
                    images=image_set,
                    attack=attack,
                    origin=list(origins)[start],
                )
            )
    return plans[: recipe.num_bases]
