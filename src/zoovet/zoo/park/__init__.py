"""Parks: zoos over many architectures, image sets, trainings and attacks."""

from __future__ import annotations

from zoovet.zoo.park.images import ImageBlock
from zoovet.zoo.park.recipe import ParkRecipe
from zoovet.zoo.park.training_ranges import ParkTraining

__all__ = ["ImageBlock", "ParkRecipe", "ParkTraining"]
