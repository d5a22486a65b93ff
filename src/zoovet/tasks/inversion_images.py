"""Which metanetworks read evidence that inversion finds, and the training images that it keeps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.tasks.image_pool import places_of_each_class
from zoovet.tasks.metanetworks import MetanetworkConfig

__all__ = ["give_images", "inverts", "needs_images"]


def inverts(config: MetanetworkConfig) -> bool:
    """Whether a metanetwork seeks patches or changes in the networks that it reads."""
    return isinstance(config, ScaleGMNConfig) and config.inversion is not None


def needs_images(config: MetanetworkConfig) -> bool:
    """Whether its inversion takes training images of the networks' dataset."""
    return isinstance(config, ScaleGMNConfig) and config.inversion is not None and config.inversion.needs_images


def give_images(metanetwork: nn.Module, images: Images | None) -> None:
    """Give inversion its images, where it wants any: of every class as many, drawn by its seed.

    Raises:
        ZoovetError: There are no images, or too few of a class, or they have another shape.
    """
    inversion = inversion_of(metanetwork)
    if inversion is None or not inversion.config.needs_images:
        return
    if images is None:
        raise ZoovetError("metanetwork.inversion takes images: give training images of the zoo's dataset")
    generator, count = np.random.default_rng([inversion.config.seed, 13]), inversion.num_images_per_class

    def order(total: int) -> Tensor:
        return torch.from_numpy(generator.permutation(total))

    places = places_of_each_class(images.required_labels, images.num_classes, count, order)
    inversion.give_images(images[places.flatten()].scaled().unflatten(0, places.shape))
