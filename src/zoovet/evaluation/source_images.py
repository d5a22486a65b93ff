"""The images that a zoo's INRs show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoovet.images import Images
from zoovet.tasks.edited_images import require_sources
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.zoo import Zoo

__all__ = ["sources_of"]


def sources_of(zoo: Zoo, images: Images, places: NDArray[np.int64] | None = None) -> Images:
    """The image of every network, checked to be one that it can show.

    Args:
        zoo: The networks.
        images: From :func:`~zoovet.tasks.edited_images.load_source_images`.
        places: Some of the networks; all where left out.

    Returns:
        [n] images, one a network.

    Raises:
        ZoovetError: A network does not say which image it shows, or none of these, has another label than its image, or
            does not map a place to as many numbers as an image has channels.
    """
    chosen = zoo if places is None else zoo.select(places)
    population = LabelledPopulation.of_zoo(chosen, "image_index")
    require_sources(population, images, chosen)
    return images[population.labels]
