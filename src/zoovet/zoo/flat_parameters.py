"""Trainers whose own parameters are a network's flat vector."""

from __future__ import annotations

from zoovet.zoo.samples import Floats

__all__ = ["FlatParameters"]


class FlatParameters:
    """What such a trainer does on the way in and out; see :class:`~zoovet.zoo.training.NetworkTrainer`."""

    def pack(self, flat: Floats) -> Floats:
        """A copy of the flat vector [num_parameters]."""
        return flat.copy()

    def unpack(self, padded: Floats) -> Floats:
        """A copy of the parameters [num_parameters]."""
        return padded.copy()
