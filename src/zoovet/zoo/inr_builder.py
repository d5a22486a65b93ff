"""Shards of a zoo of INRs: images drawn, copies augmented, SIRENs fitted, PSNR measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images import Images, load_dataset
from zoovet.images.sources import load_source
from zoovet.networks import Networks
from zoovet.zoo.inr_fitting import initial_siren, learning_rates, siren_fitter
from zoovet.zoo.inr_pictures import OFFSET, coordinates, pictures, psnr
from zoovet.zoo.inr_recipe import InrRecipe
from zoovet.zoo.samples import Floats
from zoovet.zoo.shard_content import first_difference
from zoovet.zoo.store import Zoo

__all__ = ["InrBuilder", "augmented", "source_images"]

Row = dict[str, Any]

Picture = tuple[int, int]
"""An image's index and the number of its copy."""


def source_images(recipe: InrRecipe, data_root: Path | None = None) -> Images:
    """The images that a zoo's ``image_index`` counts through: the recipe's splits of its images, joined.

    Raises:
        ZoovetError: The dataset is unknown or cannot be had, its images are not of the recipe's size, are too small to
            be shifted so far, or are fewer than the recipe asks for.
    """
    if recipe.images is not None:
        by_split = dict(zip(("train", "test"), load_source(recipe.images, data_root), strict=True))
        parts = [by_split[split] for split in recipe.image_splits]
        parts = [part.grayscale() for part in parts] if recipe.grayscale else parts
    else:
        parts = [
            load_dataset(recipe.dataset, split, data_root=data_root, grayscale=recipe.grayscale)
            for split in recipe.image_splits
        ]
    images = Images.joined(parts)
    size = images.shape[1:]
    if recipe.image_size not in (None, size):
        raise ZoovetError(
            f"images of {recipe.dataset!r} are {_by(size)}, but the recipe's image_size is {_by(recipe.image_size)}; "
            f"change it, or the dataset"
        )
    if recipe.num_copies > 1 and recipe.augmentation.max_shift >= min(size):
        raise ZoovetError(
            f"augmentation.max_shift must be below the size of the images, {_by(size)} for {recipe.dataset!r}, got "
            f"{recipe.augmentation.max_shift}"
        )
    if recipe.num_images is not None and recipe.num_images > len(images):
        raise ZoovetError(
            f"num_images is {recipe.num_images}, but {recipe.dataset!r} has {len(images)} images in "
            f"{' and '.join(recipe.image_splits)}"
        )
    return images


class InrBuilder:
    """Builds the shards of an INR recipe: see :class:`zoovet.zoo.builders.Builder`."""

    def __init__(self, recipe: InrRecipe, data_root: Path | None) -> None:
        self.recipe = recipe
        self.images = source_images(recipe, data_root)
        self.graph = recipe.graph(self.images.shape[0])
        self.graphs = {self.graph.graph_id: self.graph}
        generator = np.random.default_rng([recipe.seed, 2**32])
        count = recipe.num_images or len(self.images)
        chosen = np.sort(generator.permutation(len(self.images))[:count])
        splits = recipe.split.of_bases(count, generator)
        self._splits = dict(zip(map(int, chosen), splits, strict=True))
        self.num_shards = -(-count // recipe.images_per_shard)
        self.num_networks = sum(map(self._num_copies, self._splits))

    def prepare(self) -> None:
        """Compile what fits the SIRENs."""
        siren_fitter(self.graph)

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[Row]:
        """The rows of one shard."""
        todo = self._pictures_of(index)
        together = siren_fitter(self.graph).num_together
        rows: list[Row] = []
        for start in range(0, len(todo), together):
            made = self._rows(todo[start : start + together])
            rows += made
            finished(len(made))
        return rows

    def mismatch(self, index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        """What in a stored shard's columns cannot be of this shard: see :class:`zoovet.zoo.builders.Builder`."""
        shown = self._pictures_of(index)
        expected: dict[str, list[Any]] = {
            "base_id": [image for image, _ in shown],
            "network_id": [_network_id(picture) for picture in shown],
            "split": [self._splits[image] for image, _ in shown],
        }
        own = [self._seed(shown[0]), *facts["seed"][1:].tolist()]  # the first row's tells one recipe from another
        return first_difference(facts, {**expected, "seed": own})

    def _pictures_of(self, shard: int) -> list[Picture]:
        first = shard * self.recipe.images_per_shard
        shown = list(self._splits)[first : first + self.recipe.images_per_shard]
        return [(image, copy) for image in shown for copy in range(self._num_copies(image))]

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Fit a stored SIREN again: see :func:`zoovet.zoo.factory.rebuild_network`."""
        flat: Floats = self._fit([(int(zoo.column("image_index")[place]), int(zoo.column("copy")[place]))])[0][0]
        return flat

    def _num_copies(self, image: int) -> int:
        return self.recipe.num_copies if self._splits[image] == "train" else 1

    def _seed(self, picture: Picture) -> int:
        """The seed of a picture's initial weights: 63 bits of a hash of the recipe's seed, the image and the copy."""
        entropy = [self.recipe.seed] if self.recipe.shared_init else [self.recipe.seed, *picture]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def _fit(self, shown: Sequence[Picture]) -> tuple[Floats, Tensor]:
        """Flat weights [B, P] of SIRENs that were fitted to pictures, and the pictures [B, C, H, W] in [0, 1]."""
        targets = torch.stack([self._target(picture) for picture in shown])
        start = np.stack([initial_siren(self.graph, self._seed(picture)) for picture in shown])
        pixels = (targets - OFFSET).flatten(2).transpose(1, 2).contiguous()
        recipe = self.recipe
        flat = siren_fitter(self.graph).fit(
            start,
            pixels.numpy(),
            coordinates(*targets.shape[2:]).numpy(),
            learning_rates(recipe.schedule, recipe.learning_rate, recipe.steps),
        )
        diverged = np.flatnonzero(~np.isfinite(flat).all(axis=1))
        if len(diverged):
            image, copy = shown[diverged[0]]
            raise ZoovetError(
                f"the fit of image {image}, copy {copy}, diverged; lower the recipe's learning_rate, "
                f"{recipe.learning_rate:g} now"
            )
        return flat, targets

    def _target(self, picture: Picture) -> Tensor:
        """A picture [C, H, W] in [0, 1]: the image itself for copy 0, else augmented by the copy's own draws."""
        image, copy = picture
        target = self.images[image : image + 1].pixels[0].float() / 255
        if copy == 0:
            return target
        return augmented(target, self.recipe, np.random.default_rng([self.recipe.seed, image, copy, 1]))

    def _rows(self, shown: Sequence[Picture]) -> list[Row]:
        flat, targets = self._fit(shown)
        height, width = targets.shape[2:]
        values = psnr(pictures(Networks.from_flat(self.graph, torch.from_numpy(flat)), height, width), targets)
        return [
            {
                "network_id": _network_id((image, copy)),
                "base_id": image,
                "spec_id": self.graph.graph_id,
                "split": self._splits[image],
                "dataset": self.recipe.dataset,
                "image_index": image,
                "copy": copy,
                "label": int(self.images.required_labels[image]),
                "seed": self._seed((image, copy)),
                "activation": "sine",
                "init": "siren",
                "optimizer": "adam",
                "learning_rate": self.recipe.learning_rate,
                "step": self.recipe.steps,
                "psnr": float(value),
                "weights": weights,
            }
            for (image, copy), weights, value in zip(shown, flat, values, strict=True)
        ]


def _network_id(picture: Picture) -> str:
    image, copy = picture
    return f"{image:05d}-{copy}"


def augmented(picture: Tensor, recipe: InrRecipe, generator: np.random.Generator) -> Tensor:
    """A picture [C, H, W], flipped and shifted as the recipe's augmentation says, by draws from the generator."""
    most = recipe.augmentation.max_shift
    flips, (down, right) = generator.random() < 0.5, generator.integers(-most, most + 1, size=2)
    if recipe.augmentation.flip and flips:
        picture = picture.flip(2)
    height, width = picture.shape[1:]
    padded = functional.pad(picture[None], (most, most, most, most), mode="reflect")[0]
    return padded[:, most - down : most - down + height, most - right : most - right + width]


def _by(size: tuple[int, ...] | None) -> str:
    return " × ".join(map(str, size or ()))
