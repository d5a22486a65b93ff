"""Named tensors as the layers of a network: what they are, what stands beside them, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import InputScaling
from zoovet.printable import printable
from zoovet.readers.input_buffers import take_input_scaling
from zoovet.readers.parametrizations import fold_parametrizations
from zoovet.readers.tensor_names import is_average, is_loss
from zoovet.readers.tensors import require_real, shape_in_words

__all__ = ["BatchNorm", "NamedLayer", "NamedLayers", "contents_in_words", "name_layers", "without_bookkeeping"]

_MEAN, _VARIANCE = "running_mean", "running_var"
_STATISTICS = (_MEAN, _VARIANCE, "num_batches_tracked")
_COUNTERS = ("num_batches_tracked", "n_averaged", "num_updates", "decay", "total_ops", "total_params", "step")
"""Last words of names of single numbers that no network computes with."""
_KINDS = {4: "convolution", 2: "linear layer", 3: "1-d convolution", 5: "3-d convolution"}
_OTHER, _NORM, _KERAS = "other layer", "batch norm", "Keras kernel"


@dataclass(frozen=True, eq=False)
class NamedLayer:
    """A convolution or a linear layer.

    Attributes:
        name: Of its weight, without that word: ``features.0``.
        weight: [out, in, \\*kernel].
        bias: [out], or ``None``.
        place: Where its weight stands among the file's tensors.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    place: int


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """A batch norm with running statistics, each [channels]; weight and bias are ``None`` where it has none.

    Attributes:
        name: Of its tensors, without their last words.
        place: Where its first tensor stands among the file's.
    """

    name: str
    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    place: int


@dataclass(frozen=True, eq=False, kw_only=True)
class NamedLayers:
    """The layers that a file's tensors make up, in the order of the file.

    Attributes:
        layers: Convolutions and linear layers.
        norms: Batch norms.
        scaling: The input scaling that stood beside them, or ``None``.
        ordered: Whether the order of the file is that of registration, and not just that of the alphabet.
        notes: What was left out or taken, one line each.
        obstacles: What is wrong with tensors that are none of these, a message each, without the file's name: left
            out, the network might be another.
    """

    layers: tuple[NamedLayer, ...]
    norms: tuple[BatchNorm, ...]
    scaling: InputScaling | None
    ordered: bool
    notes: tuple[str, ...]
    obstacles: tuple[str, ...]


def name_layers(tensors: Mapping[str, Tensor], source: str, *, ordered: bool = True) -> NamedLayers:
    """Sort named tensors into layers, batch norms, an input scaling, and what no network computes with.

    Args:
        tensors: By name, as ``module.state_dict()`` gives them.
        source: Their file, for messages.
        ordered: Whether the order is that of registration; safetensors files are sorted by name.

    Raises:
        ZoovetError: Parts of a weight do not fit one another, or a weight or bias is not of dense real numbers.
    """
    notes: list[str] = []
    obstacles: list[str] = []
    kept, scaling = without_bookkeeping(tensors, source, notes)
    places = {name: place for place, name in enumerate(kept)}
    norms, kept = _take_norms(kept, places, source, obstacles)
    return NamedLayers(
        layers=_paired(kept, places, source, obstacles),
        norms=norms,
        scaling=scaling,
        ordered=ordered and list(tensors) != sorted(tensors),
        notes=tuple(notes),
        obstacles=tuple(obstacles),
    )


def without_bookkeeping(
    tensors: Mapping[str, Tensor], source: str, notes: list[str]
) -> tuple[dict[str, Tensor], InputScaling | None]:
    """What networks compute with: counters, averages, a loss's tensors are left out, masks and norms of weights folded.

    Args:
        tensors: By name.
        source: Their file, for messages.
        notes: What was left out is added, one line each.

    Returns:
        The tensors, and the input scaling that stood among them.

    Raises:
        ZoovetError: Parts of a weight do not fit one another, or are not of dense real numbers; a layer's weights are
            packed, as quantized layers' are.
    """
    _require_unpacked(tensors, source)
    kept = fold_parametrizations(_without_averages(_without_counters(tensors), notes), source)
    kept, scaling = take_input_scaling(kept, source)
    if scaling is not None:
        notes.append(f"its buffers say how images are scaled: {scaling.describe()}")
    return _without_losses(kept, notes), scaling


def _require_unpacked(tensors: Mapping[str, Tensor], source: str) -> None:
    for name in tensors:
        layer, _, last = name.rpartition(".")
        of_training = layer.endswith(("fake_quant", "post_process"))  # beside weights that are not packed yet
        if (
            last == "zero_point"
            and f"{layer}.scale" in tensors
            and f"{layer}.weight" not in tensors
            and not of_training
        ):
            raise ZoovetError(
                f"{source}: the layer '{printable(layer, 60)}' is quantized and its weights are packed; give the "
                "network as it was before quantization"
            )


def contents_in_words(tensors: Mapping[str, Tensor]) -> str:
    """What tensors are, in a few words: ``3 convolutions, 1 linear layer, 3 batch norms, 5.0 k numbers``."""
    weights = [tensor for name, tensor in tensors.items() if re.search(r"weight(?!_mask|_g|_u)", name)]
    axes = [tensor.dim() for tensor in weights if tensor.dim() >= 2]
    counts = {kind: axes.count(num_axes) for num_axes, kind in _KINDS.items()}
    counts[_OTHER] = len(axes) - sum(counts.values())
    counts[_NORM] = sum(name.rpartition(".")[2] == _VARIANCE for name in tensors)
    counts[_KERAS] = sum(name.split(".")[-1] == "kernel" for name in tensors)
    parts = [f"{count} {kind if count == 1 else f'{kind}s'}" for kind, count in counts.items() if count]
    if not parts:
        parts = [f"{len(tensors)} tensor{'' if len(tensors) == 1 else 's'} without weights of layers"]
    return ", ".join([*parts, _count_in_words(sum(0 if one.is_nested else one.numel() for one in tensors.values()))])


def _count_in_words(count: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {letter} numbers"
    return f"{count} numbers"


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    def is_counter(name: str, tensor: Tensor) -> bool:
        return name.rpartition(".")[2] in _COUNTERS and not tensor.is_nested and tensor.numel() == 1

    return {name: tensor for name, tensor in tensors.items() if not is_counter(name, tensor)}


def _without_averages(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Without averages of the weights that stand beside them under names of their own (``model_ema.…``)."""
    averages = {name: tensor for name, tensor in tensors.items() if is_average(name.rpartition(".")[0])}
    plain = {name: tensor for name, tensor in tensors.items() if name not in averages}
    if not averages or _shapes(averages) != _shapes(plain):
        return dict(tensors)
    left_out = printable(next(iter(averages)).split(".")[0], 60)
    notes.append(f"averages of the weights ({left_out!r}) stand beside them and were left out")
    return plain


def _shapes(tensors: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    return sorted(tuple(tensor.shape) for tensor in tensors.values() if not tensor.is_nested)


def _take_norms(
    tensors: Mapping[str, Tensor], places: Mapping[str, int], source: str, obstacles: list[str]
) -> tuple[tuple[BatchNorm, ...], dict[str, Tensor]]:
    """The batch norms, and the tensors that are not theirs."""
    left, norms = dict(tensors), []
    prefixes = dict.fromkeys(
        name.removesuffix(last) for name in tensors for last in _STATISTICS if name.split(".")[-1] == last
    )
    for prefix in prefixes:
        own = {last: left.pop(f"{prefix}{last}", None) for last in (_MEAN, _VARIANCE, "weight", "bias")}
        require_real({f"{prefix}{last}": tensor for last, tensor in own.items() if tensor is not None}, source)
        mean, variance = own[_MEAN], own[_VARIANCE]
        shapes = {tuple(tensor.shape) for tensor in own.values() if tensor is not None}
        if mean is None or variance is None or len(shapes) > 1 or mean.dim() != 1:
            obstacles.append(
                f"the batch norm '{printable(prefix.rstrip('.'), 60)}' is not whole: it needs a running_mean and a "
                "running_var, and all its tensors as long as these"
            )
            continue
        place = min(places[f"{prefix}{last}"] for last, tensor in own.items() if tensor is not None)
        norms.append(BatchNorm(prefix.rstrip("."), mean, variance, own["weight"], own["bias"], place))
    return tuple(norms), left


def _without_losses(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Without tensors of one axis that a loss keeps, such as weights of the classes."""
    losses = [name for name, tensor in tensors.items() if is_loss(name) and not tensor.is_nested and tensor.dim() <= 1]
    if losses:
        names = ", ".join(printable(name, 40) for name in losses[:3]) + (", …" if len(losses) > 3 else "")
        notes.append(f"left out, as a loss's: {names}")
    return {name: tensor for name, tensor in tensors.items() if name not in losses}


def _paired(
    tensors: Mapping[str, Tensor], places: Mapping[str, int], source: str, obstacles: list[str]
) -> tuple[NamedLayer, ...]:
    """Weights, and the biases whose names agree but for this word."""
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*)(weight|bias)(.*)", name, re.DOTALL)
        if match is None:
            obstacles.append(_unknown(name, tensor))
        else:
            require_real({name: tensor}, source)
            pairs.setdefault((match[1], match[3]), {})[match[2]] = name
    layers = []
    for (before, after), own in pairs.items():
        if "weight" not in own or tensors[own["weight"]].dim() < 2:
            first = next(iter(own.values()))
            obstacles.append(_unknown(first, tensors[first]))
            continue
        bias = tensors[own["bias"]] if "bias" in own else None
        name = f"{before.removesuffix('.')}{after}".strip("._") or "weight"
        layers.append(NamedLayer(name, tensors[own["weight"]], bias, places[own["weight"]]))
    return tuple(layers)


def _unknown(name: str, tensor: Tensor) -> str:
    shape = "nested" if tensor.is_nested else shape_in_words(tensor.shape)
    return (
        f"tensor '{printable(name, 60)}' ({shape}) is no weight or bias of a convolution, a linear layer or a batch "
        "norm; left out, the network might be another"
    )
