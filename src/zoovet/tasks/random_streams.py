"""Random draws that depend on a seed, a purpose and a number alone, so that step k's are the same after a resume."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["IndexStream", "seeded_generator", "seeded_modules"]


def seeded_generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """A generator (on the CPU) for one purpose at one step.

    Args:
        seed: The run's seed, at least 0.
        purpose: What is drawn; other purposes give unrelated draws.
        number: Which step, epoch, … it is for, at least 0.
    """
    return torch.Generator().manual_seed(_derived_seed(seed, purpose, number))


@contextmanager
def seeded_modules(seed: int, purpose: str, number: int = 0) -> Iterator[None]:
    """Seed what modules draw by themselves inside the block (dropout), and nothing outside it.

    PyTorch's modules take no generator; this seeds the global ones, and puts them back afterwards.
    """
    generators = [torch.default_generator, *torch.cuda.default_generators]
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(_derived_seed(seed, purpose, number))
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


class IndexStream:
    """An endless stream of indices: pass after pass over all of them, each in a new random order.

    Args:
        indices: int64 [m], what to draw from; at least one.
        groups: int64 [m], indices of one group stay next to one another (siblings, so that most of them share a
            batch); ``None`` orders every index on its own.
        seed, purpose: As of :func:`seeded_generator`.
    """

    def __init__(self, indices: Tensor, *, groups: Tensor | None, seed: int, purpose: str) -> None:
        assert len(indices) > 0, "nothing to draw from"
        self._indices = indices
        own_group = torch.arange(len(indices)) if groups is None else groups
        self._group_of = torch.unique(own_group, return_inverse=True)[1]
        self._num_groups = int(self._group_of.max()) + 1
        self._seed, self._purpose = seed, purpose
        self._pass, self._order = -1, indices

    def take(self, start: int, count: int) -> Tensor:
        """Elements ``start`` to ``start + count`` of the stream: int64 [count]; the same whatever was taken before."""
        parts: list[Tensor] = []
        while count > 0:
            number, position = divmod(start, len(self._indices))
            part = self._order_of(number)[position : position + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts) if parts else self._indices[:0]

    def _order_of(self, number: int) -> Tensor:
        """All indices in the order of one pass."""
        if number != self._pass:
            generator = seeded_generator(self._seed, self._purpose, number)
            rank_of_group = torch.randperm(self._num_groups, generator=generator)
            self._order = self._indices[torch.argsort(rank_of_group[self._group_of], stable=True)]
            self._pass = number
        return self._order


def _derived_seed(seed: int, purpose: str, number: int) -> int:
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number]).generate_state(2, np.uint32)
    return int(words[0]) << 31 ^ int(words[1])
