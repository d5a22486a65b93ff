"""What recipes of every kind have in common: shares of splits, ranges to draw from, and checks of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoovet.errors import ZoovetError, nearest
from zoovet.images.sources import ImageSource
from zoovet.networks import ZOO_SCALING, Graph, small_cnn

__all__ = [
    "Range",
    "SplitShares",
    "check_at_least",
    "check_choices",
    "check_num_bases",
    "check_range",
    "check_widths",
    "dataset_called",
    "log_uniform",
    "rounds",
    "small_cnn_graphs",
]

Range = tuple[float, float]
"""Least and greatest value, both included."""

_MOST_BASES, _MOST_LAYERS, _MOST_CHANNELS = 10_000_000, 64, 4096

BASES_PER_ROUND = 1500
"""Bases that are dealt their splits and attacks together: see :func:`rounds`."""


@dataclass(frozen=True, kw_only=True)
class SplitShares:
    """Shares of the bases in each split; a base's networks are all in one."""

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ZoovetError(f"split shares must be at least 0 and sum to 1, got {shares}")

    def of_bases(self, num_bases: int, generator: np.random.Generator) -> list[str]:
        """The split of every base, drawn so that the shares hold to a base in every one of the :func:`rounds`."""
        dealt = []
        for count in rounds(num_bases):
            first, second = round(count * self.train), round(count * (self.train + self.validation))
            names = ["train"] * first + ["validation"] * (second - first) + ["test"] * (count - second)
            dealt += [names[place] for place in generator.permutation(count)]
        return dealt


def rounds(num_bases: int) -> list[int]:
    """Numbers of bases that are dealt their splits and attacks at a time.

    A zoo of more bases begins with the rounds of a smaller one, so no base changes its split as a zoo grows by whole
    rounds: what was chosen by looking at the smaller zoo's training and validation bases stays fair on the larger's
    test bases.
    """
    whole, rest = divmod(num_bases, BASES_PER_ROUND)
    return [BASES_PER_ROUND] * whole + [rest] * (rest > 0)


def log_uniform(bounds: Range, generator: np.random.Generator) -> float:
    """A number between the bounds whose logarithm is uniform."""
    return float(np.exp(generator.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise a :class:`ZoovetError` where a number is too small."""
    if value < least:
        raise ZoovetError(f"{name} must be at least {least}, got {value}")


def check_num_bases(num_bases: int) -> None:
    """Raise a :class:`ZoovetError` where a zoo has no base, or more than can be dealt out in memory."""
    check_at_least("num_bases", num_bases, 1)
    if num_bases > _MOST_BASES:
        raise ZoovetError(f"num_bases must be at most {_MOST_BASES:,}, got {num_bases:,}")


def check_widths(name: str, widths: tuple[int, ...]) -> None:
    """Raise a :class:`ZoovetError` where layers' widths are none of a small network's."""
    if not widths or min(widths) < 1:
        raise ZoovetError(f"{name} must be positive, one number a hidden layer, got {list(widths)}")
    if len(widths) > _MOST_LAYERS or max(widths) > _MOST_CHANNELS:
        raise ZoovetError(
            f"{name} must be at most {_MOST_LAYERS} numbers of at most {_MOST_CHANNELS:,} each, got {len(widths)} of "
            f"up to {max(widths):,}; zoos are of small networks"
        )


def check_choices(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise a :class:`ZoovetError` where a choice is empty or unknown."""
    if not values:
        raise ZoovetError(f"{name} must not be empty; known: {', '.join(map(repr, known))}")
    for value in values:
        if value not in known:
            raise ZoovetError(f"{name} has the unknown entry {value!r}{nearest(value, known)}")


def check_range(name: str, bounds: tuple[float, float], *, above_zero: bool = False, most: float | None = None) -> None:
    """Raise a :class:`ZoovetError` where bounds are not in order, or out of their own."""
    least, greatest = bounds
    if least > greatest or least < 0 or (above_zero and least == 0) or (most is not None and greatest > most):
        limits = f"{'above' if above_zero else 'at least'} 0{'' if most is None else f' and at most {most}'}"
        raise ZoovetError(f"{name} must be [least, greatest], {limits}, got {list(bounds)}")


def dataset_called(dataset: str, images: ImageSource | None, *, default: str) -> str:
    """What a recipe's images are called: as its dataset, or as its images' source.

    Raises:
        ZoovetError: Both are given, and are not the same.
    """
    if images is None:
        return dataset
    if dataset not in (default, images.name):
        raise ZoovetError(f"dataset is {dataset!r} and images.source {images.source!r}; give one of them")
    return images.name


def small_cnn_graphs(
    activations: Sequence[str], channels: tuple[int, ...], image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, Graph]:
    """The graph of a small CNN for every activation, which says that its networks read images scaled to [-1, 1]."""
    return {
        activation: replace(
            small_cnn(activation, input_shape=image_shape, channels=channels, num_classes=num_classes),
            input_scaling=ZOO_SCALING,
        )
        for activation in activations
    }
