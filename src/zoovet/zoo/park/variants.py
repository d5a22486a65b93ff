"""The architectures that are drawn from a park's blocks, as graphs on each of its image sets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, InputScaling
from zoovet.zoo.park.families import Settings
from zoovet.zoo.park.images import ImageSet
from zoovet.zoo.park.recipe import ParkRecipe

__all__ = ["Variant", "drawn_variant"]

_MOST_DRAWS = 200


@dataclass(frozen=True)
class Variant:
    """An architecture on an image set.

    Attributes:
        settings: What was drawn.
        graph: What it is, input scaling included.
        scaling: Name of the input scaling.
    """

    settings: Settings
    graph: Graph
    scaling: str

    @property
    def graph_id(self) -> str:
        """The graph's id and six digits of its input scaling's: networks of other scalings are other networks."""
        assert self.graph.input_scaling is not None
        text = json.dumps(self.graph.input_scaling.to_json(), sort_keys=True)
        return f"{self.graph.graph_id}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def drawn_variant(recipe: ParkRecipe, architecture: int, variant: int, images: int, image_set: ImageSet) -> Variant:
    """Draw an architecture of a block and the input scaling that its networks on an image set read.

    Raises:
        ZoovetError: Architectures of the block do not take such images, or need too many multiplications.
    """
    block = recipe.architectures[architecture]
    generator = np.random.default_rng([recipe.seed, 2**32 + 2, architecture, variant])
    scaling = _drawn_scaling(recipe, architecture, variant, images)
    where = f"architectures[{architecture}] ({block.family}) on the images {recipe.images[images].name!r}"
    least = None
    for _ in range(_MOST_DRAWS):
        settings = block.draw(generator)
        try:
            graph = block.graph(settings, image_set.train.shape, image_set.train.num_classes)
        except ZoovetError as error:
            raise ZoovetError(f"{where}: {error}") from None
        count = graph.num_multiplications
        if count <= recipe.most_multiplications:
            return Variant(settings, graph.reading(_scaling(image_set, scaling)), scaling)
        least = count if least is None else min(least, count)
    raise ZoovetError(
        f"{where}: of {_MOST_DRAWS} architectures the smallest needs {least:,} multiplications for an image; raise "
        f"most_multiplications ({recipe.most_multiplications:,}), or lower its sizes"
    )


def _drawn_scaling(recipe: ParkRecipe, architecture: int, variant: int, images: int) -> str:
    choices = recipe.training.scaling
    generator = np.random.default_rng([recipe.seed, 2**32 + 3, architecture, variant, images])
    return choices[int(generator.integers(len(choices)))]


def _scaling(image_set: ImageSet, name: str) -> InputScaling:
    return image_set.scalings[name]
