"""Buffers in which networks keep how they scale images: ``normalize.mean`` and ``normalize.std``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import InputScaling
from zoovet.printable import printable
from zoovet.readers.tensor_names import words
from zoovet.readers.tensors import usable

__all__ = ["take_input_scaling"]

_MEANS = frozenset(("mean", "means", "mu"))
_DEVIATIONS = frozenset(("std", "stds", "stdev", "sigma"))
_MAX_CHANNELS = 64


def take_input_scaling(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], InputScaling | None]:
    """Take mean and deviation of the input off named tensors.

    They are two tensors of one number for each channel, [C], [C, 1, 1] or [1, C, 1, 1], whose names agree but for the
    last word (``mean`` and ``std``). Numbers above 2 are for pixels of 0 to 255, others for pixels of 0 to 1.

    Args:
        tensors: By name.
        source: Their file, for messages.

    Returns:
        The other tensors, and the scaling, or ``None`` where there is none.

    Raises:
        ZoovetError: There are several such pairs, or their numbers are none of a mean and a deviation.
    """
    pairs: dict[str, dict[str, str]] = {}
    for name, tensor in tensors.items():
        *before, last = words(name) or [""]
        kind = "mean" if last in _MEANS else "deviation" if last in _DEVIATIONS else None
        if kind is not None and "running" not in before and _channels(tensor) is not None:
            pairs.setdefault(" ".join(before), {})[kind] = name
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    if not whole:
        return dict(tensors), None
    if len(whole) > 1:
        names = ", ".join(repr(printable(pair["mean"], 40)) for pair in whole)
        raise ZoovetError(f"{source}: its input scaling is open, it has several means: {names}")
    mean_name, deviation_name = whole[0]["mean"], whole[0]["deviation"]
    numbers = usable({name: tensors[name] for name in (mean_name, deviation_name)}, source)
    mean, deviation = (tuple(map(float, number.flatten().tolist())) for number in numbers.values())
    try:
        high = 255.0 if max(map(abs, (*mean, *deviation))) > 2 else 1.0
        scaling = InputScaling(low=0.0, high=high, mean=mean, deviation=deviation)
    except ZoovetError as error:
        raise ZoovetError(f"{source}: '{printable(mean_name, 60)}' and its deviation: {error}") from error
    return {name: tensor for name, tensor in tensors.items() if name not in numbers}, scaling


def _channels(tensor: Tensor) -> int | None:
    """For how many channels a tensor has one number each; ``None`` where it has other numbers."""
    if tensor.is_nested or not 1 <= tensor.numel() <= _MAX_CHANNELS:
        return None
    shape = tuple(tensor.shape)
    core = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    return tensor.numel() if len(core) <= 1 or (len(core) == 3 and core[1:] == (1, 1)) else None
