"""Plain networks whose layers run one after another: VGGs, LeNets, small CNNs, MLPs.

What names and shapes leave open (activation, kind of pooling, padding, size of images) is said by whoever reads them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from zoovet.architectures.chain import ChainLayer, chain_layers, chain_module
from zoovet.architectures.family import ACTIVATIONS, Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.global_head import chosen_and_open
from zoovet.printable import printable

__all__ = ["LENET", "MLP", "SMALL_CNN", "VGG"]

_ACTIVATIONS = tuple(ACTIVATIONS)
_POOLINGS = ("max", "average")
_PADDINGS = ("none", "same", "first")
_SMALLEST, _LARGEST = 8, 256
_LEAST_PIXELS = 64
_VGG_NAME = re.compile(r"(?:(?P<before>.*)\.)?(?P<index>\d{1,4})")


def _convolutions(number: int) -> str:
    return f"{number} convolution{'s' * (number != 1)}"


def _match_vgg(shapes: Shapes, settings: Settings) -> Candidate:
    layers = chain_layers(shapes, settings)
    convs = [layer for layer in layers if layer.is_conv]
    if len(convs) < 2 or any(layer.shape[2:] not in ((3, 3), (1, 1)) for layer in convs):
        raise Misfit("has no row of convolutions of 3×3")
    pooled = [index for index in range(len(convs) - 1) if _gap(convs[index], convs[index + 1]) > 1]
    channels, incoming = convs[-1].shape[0], _read_by_head(layers)
    side = math.isqrt(incoming // channels)
    chosen, left = chosen_and_open({"activation": _ACTIVATIONS, "pooling": _POOLINGS}, settings)
    image, halvings, head = settings.image, len(pooled), ""
    if image is None:
        sides = [side << count for count in (halvings, halvings + 1)] if side > 1 else [32, 64, 224]
        left["image"] = tuple(map(str, sides))
    else:
        sizes = [(image[0] >> count, image[1] >> count) for count in (halvings, halvings + 1)]
        fitting = [count for count, size in enumerate(sizes) if size[0] * size[1] * channels == incoming]
        if fitting:
            pooled += [len(convs) - 1] * fitting[0]
        elif side == 1 and min(sizes[0]) > 0:
            head_chosen, head_open = chosen_and_open({"head": ("mean", "highest")}, settings)
            head, left = head_chosen.get("head", ""), left | head_open
        else:
            shown = " or ".join(f"{side << count}×{side << count}" for count in (halvings, halvings + 1))
            raise Misfit(f"reads images of {shown} by its linear layer, not {image[0]}×{image[1]}")
    kind = chosen.get("pooling", "")
    planned = [replace(layer, pooling=kind) if index in pooled else layer for index, layer in enumerate(layers)]
    if head:
        planned[len(convs) - 1] = replace(planned[len(convs) - 1], pooling=head)
    title = f"VGG-{len(layers)}{' with batch norm' if convs[0].norm else ''}"
    candidate = _candidate(VGG.name, title, shapes, planned, chosen, left, _image_shape(convs[0], image))
    return replace(candidate, also={"layers": len(convs) + 3})


def _gap(first: ChainLayer, second: ChainLayer) -> int:
    """How many layers without tensors stand between two, by the numbers in their names."""
    gap = _between(first, second)
    if gap is None:
        raise Misfit("has no convolutions that are called by their places, features.0, features.3, …")
    if not 1 <= gap <= 3:
        shown = f"{printable(first.name, 40)} and {printable(second.name, 40)}"
        raise Misfit(f"has {gap} layers without weights between {shown}: a VGG has 1 to 3")
    return gap


def _between(first: ChainLayer, second: ChainLayer) -> int | None:
    """The places between two layers of one ``nn.Sequential``; ``None`` where their names tell no places."""
    here, there = _VGG_NAME.fullmatch(first.norm or first.name), _VGG_NAME.fullmatch(second.name)
    if here is None or there is None or here["before"] != there["before"]:
        return None
    return int(there["index"]) - int(here["index"]) - 1


def _match_lenet(shapes: Shapes, settings: Settings) -> Candidate:
    layers = chain_layers(shapes, settings)
    convs = [layer for layer in layers if layer.is_conv]
    if not convs:
        raise Misfit("has no convolutions")
    maps = _read_by_head(layers) // convs[-1].shape[0]
    for first, second in itertools.pairwise(convs):
        if _between(first, second) == 1:
            raise Misfit(
                f"has no place for a pooling between {printable(first.name, 40)} and the convolution behind it"
            )
    left: dict[str, tuple[str, ...]] = {}
    paddings: Sequence[str] = (settings.chosen["padding"],) if "padding" in settings.chosen else _PADDINGS
    images = [(side, side) for side in range(_SMALLEST, _LARGEST + 1)]
    is_exact, images = settings.image is None, images if settings.image is None else [settings.image]
    ways = [
        (padding, image) for padding in paddings for image in images if _map(convs, padding, image, is_exact) == maps
    ]
    if not ways:
        shown = "square images" if is_exact else f"images of {images[0][0]}×{images[0][1]}"
        raise Misfit(
            f"fits no {shown} with a pooling of 2 behind each convolution, whose padding is {' or '.join(paddings)}"
        )
    for key, values in (("padding", [way[0] for way in ways]), ("image", [str(way[1][0]) for way in ways])):
        if len(set(values)) > 1:
            left[key] = tuple(dict.fromkeys(values))
    padding, image = ways[0]
    chosen, still = chosen_and_open({"activation": _ACTIVATIONS, "pooling": _POOLINGS}, settings)
    planned = [
        replace(layer, padding=_padding(padding, layer, index), pooling=chosen.get("pooling", ""))
        if layer.is_conv
        else layer
        for index, layer in enumerate(layers)
    ]
    title = f"LeNet of {_convolutions(len(convs))}"
    return _candidate(LENET.name, title, shapes, planned, chosen, still | left, _image_shape(convs[0], image))


def _padding(kind: str, layer: ChainLayer, index: int) -> int:
    return layer.shape[2] // 2 if kind == "same" or (kind == "first" and index == 0) else 0


def _map(convs: Sequence[ChainLayer], padding: str, image: tuple[int, int], is_exact: bool) -> int | None:
    """How many pixels the last map has; ``None``: none, or (``is_exact``) a pooling leaves some out."""
    sizes = list(image)
    for index, conv in enumerate(convs):
        pad = _padding(padding, conv, index)
        sizes = [size + 2 * pad - kernel + 1 for size, kernel in zip(sizes, conv.shape[2:], strict=True)]
        if min(sizes) < 2 or (is_exact and any(size % 2 for size in sizes)):
            return None
        sizes = [size // 2 for size in sizes]
    return sizes[0] * sizes[1]


def _match_small_cnn(shapes: Shapes, settings: Settings) -> Candidate:
    layers = chain_layers(shapes, settings)
    convs = [layer for layer in layers if layer.is_conv]
    if not convs or any(layer.shape[2:] != (3, 3) for layer in convs) or len(layers) != len(convs) + 1:
        raise Misfit("has no convolutions of 3×3 and one linear layer")
    if _read_by_head(layers) != convs[-1].shape[0]:
        raise Misfit("has a linear layer that reads more than a mean over the map")
    if 2 ** (len(convs) - 1) > min(settings.image or (_LARGEST,)):
        raise Misfit(f"has {_convolutions(len(convs))}, too many to halve images with each")
    chosen, left = chosen_and_open({"activation": _ACTIVATIONS}, settings)
    if settings.image is None:
        left["image"] = ("28", "32", "64")
    planned = [
        replace(layer, stride=2, padding=1, pooling="mean" if layer is convs[-1] else "") if layer.is_conv else layer
        for layer in layers
    ]
    title = f"small CNN of {_convolutions(len(convs))}"
    return _candidate(SMALL_CNN.name, title, shapes, planned, chosen, left, _image_shape(convs[0], settings.image))


def _match_mlp(shapes: Shapes, settings: Settings) -> Candidate:
    layers = chain_layers(shapes, settings)
    if any(layer.is_conv for layer in layers):
        raise Misfit("has convolutions")
    incoming = layers[0].shape[1]
    shape: tuple[int, ...] = (incoming,)
    for channels in (1, 3):
        side = math.isqrt(incoming // channels)
        if incoming >= _LEAST_PIXELS and channels * side * side == incoming:
            shape = (channels, side, side)
    if settings.image is not None and shape[1:] != settings.image:
        channels, rest = divmod(incoming, settings.image[0] * settings.image[1])
        if rest:
            raise Misfit(
                f"reads {incoming} numbers, which images of {settings.image[0]}×{settings.image[1]} do not have"
            )
        shape = (channels, *settings.image)
    choices = {"activation": _ACTIVATIONS} if len(layers) > 1 else {}
    chosen, left = chosen_and_open(choices, settings)
    sizes = "-".join(str(size) for size in (incoming, *(layer.shape[0] for layer in layers)))
    return _candidate(MLP.name, f"MLP {sizes}", shapes, layers, chosen, left, shape)


def _read_by_head(layers: Sequence[ChainLayer]) -> int:
    """How many numbers the first linear layer reads."""
    first = next((layer for layer in layers if not layer.is_conv), None)
    if first is None:
        raise Misfit("has no linear layer")
    return first.shape[1]


def _image_shape(first: ChainLayer, image: tuple[int, int] | None) -> tuple[int, ...] | None:
    return None if image is None else (first.shape[1], *image)


def _candidate(
    family: str,
    title: str,
    shapes: Shapes,
    layers: Sequence[ChainLayer],
    chosen: Mapping[str, str],
    left: Mapping[str, tuple[str, ...]],
    input_shape: tuple[int, ...] | None,
) -> Candidate:
    return Candidate(
        family=family,
        title=title,
        derived={"layers": len(layers), "classes": layers[-1].shape[0]},
        open=left,
        build=lambda: chain_module(shapes, layers, chosen.get("activation", "relu")),
        input_shape=input_shape,
    )


VGG = Family(
    name="vgg",
    summary="VGG of any layout, with or without batch norms; places in features.N tell where it pools",
    pattern=r"vgg[-_]?(?P<layers>\d+)(_bn)?",
    options={"activation": _ACTIVATIONS, "pooling": _POOLINGS, "head": ("mean", "highest")},
    match=_match_vgg,
)
LENET = Family(
    name="lenet",
    summary="convolutions, each with a pooling of 2 behind it, then linear layers",
    pattern=r"lenet5?",
    options={"activation": _ACTIVATIONS, "pooling": _POOLINGS, "padding": _PADDINGS},
    match=_match_lenet,
)
SMALL_CNN = Family(
    name="small_cnn",
    summary="3×3 convolutions of stride 2, a mean over the map, a linear layer",
    pattern=r"smallcnn",
    options={"activation": _ACTIVATIONS},
    match=_match_small_cnn,
)
MLP = Family(
    name="mlp",
    summary="linear layers of any widths",
    pattern=r"mlp",
    options={"activation": _ACTIVATIONS},
    match=_match_mlp,
)
