"""What compiled trainers are given, as C structures: how to optimize, and on which samples."""

from __future__ import annotations

import ctypes

from zoovet.zoo.native.libraries import pointer
from zoovet.zoo.samples import Anchor, Floats, Samples, Schedule

__all__ = ["OptimizerArgument", "SamplesArgument"]

_OPTIMIZERS = {"sgd": 0, "adam": 1, "rmsprop": 2}


class OptimizerArgument(ctypes.Structure):
    """The C code's ``optimizer``."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("learning_rate", ctypes.c_float),
        ("momentum", ctypes.c_float),
        ("second", ctypes.c_float),
        ("epsilon", ctypes.c_float),
        ("weight_decay", ctypes.c_float),
        ("pull", ctypes.c_float),
        ("anchor", ctypes.c_void_p),
    )

    @classmethod
    def of(cls, schedule: Schedule, held: Floats | None, anchor: Anchor | None) -> OptimizerArgument:
        """The optimizer of a schedule; ``held``, kept by the caller: the anchor's weights as the trainer has them."""
        return cls(
            kind=_OPTIMIZERS[schedule.optimizer],
            learning_rate=schedule.learning_rate,
            momentum=0.9,
            second=0.99 if schedule.optimizer == "rmsprop" else 0.999,
            epsilon=1e-8,
            weight_decay=schedule.weight_decay,
            pull=0.0 if anchor is None else anchor.strength,
            anchor=None if held is None else held.ctypes.data,
        )


class SamplesArgument(ctypes.Structure):
    """The C code's ``samples``: where a :class:`Samples` lies; it has to outlive this."""

    _fields_ = (
        ("images", ctypes.c_void_p),
        ("num_images", ctypes.c_int64),
        ("more", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("seconds", ctypes.c_void_p),
        ("shares", ctypes.c_void_p),
        ("smoothing", ctypes.c_float),
    )

    @classmethod
    def of(cls, samples: Samples) -> SamplesArgument:
        """Pointers to the samples' arrays."""
        return cls(
            pointer(samples.images),
            len(samples.images),
            pointer(samples.more_images),
            pointer(samples.indices),
            pointer(samples.labels),
            None if samples.soft is None else pointer(samples.soft.seconds),
            None if samples.soft is None else pointer(samples.soft.shares),
            0.0 if samples.soft is None else samples.soft.smoothing,
        )
