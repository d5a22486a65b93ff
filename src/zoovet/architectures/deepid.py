"""DeepID-like networks of faces: four convolutions, of which the last two both feed the hidden layer.

Names: ``conv1`` to ``conv4``, ``fc1`` (reads the third map) and ``fc2`` (reads the fourth), whose sum is the hidden
layer, then one linear layer more. A max pooling of 2 is behind each of the first three; nothing is padded. Source: Sun,
Wang and Tang 2014, *Deep Learning Face Representation from Predicting 10,000 Classes*.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.architectures.family import Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.named_layers import Layers, head_of, shape_of

__all__ = ["DEEPID"]

_CONVS = ("conv1", "conv2", "conv3", "conv4")
_HEADS = ("output", "fc3", "fc", "linear", "classifier")
_SIZES = range(20, 129)


class _DeepId:
    def __init__(self, layers: Layers) -> None:
        self._make, shapes = layers, layers.shapes
        self._convs = [self._make.conv(name, padding=0) for name in _CONVS]
        self._hidden = [self._make.linear(name) for name in ("fc1", "fc2")]
        self._head = self._make.linear(head_of(shapes, _HEADS))

    def __call__(self, images: Tensor) -> Tensor:
        values = images
        for conv in self._convs[:3]:
            values = F.max_pool2d(F.relu(conv(values)), 2)
        last = F.relu(self._convs[3](values))
        hidden = self._hidden[0](values.flatten(1)) + self._hidden[1](last.flatten(1))
        logits: Tensor = self._head(F.relu(hidden))
        return logits


def _built(shapes: Shapes) -> nn.Module:
    layers = Layers(shapes)
    return layers.module(_DeepId(layers))


def _sizes(shapes: Shapes, side: int) -> tuple[int, int] | None:
    """Sides of the third and of the fourth map, for square images."""
    for name in _CONVS[:3]:
        side = (side - shape_of(shapes, f"{name}.weight", 4)[2] + 1) // 2
    last = side - shape_of(shapes, "conv4.weight", 4)[2] + 1
    return (side, last) if last > 0 else None


def _match(shapes: Shapes, settings: Settings) -> Candidate:
    third, fourth = (shape_of(shapes, f"{name}.weight", 4)[0] for name in _CONVS[2:])
    read = [shape_of(shapes, f"{name}.weight", 2)[1] for name in ("fc1", "fc2")]
    fitting = []
    for side in _SIZES:
        sizes = _sizes(shapes, side)
        if sizes is not None and read == [third * sizes[0] ** 2, fourth * sizes[1] ** 2]:
            fitting.append(side)
    if not fitting:
        raise Misfit("has linear layers, fc1 and fc2, that fit no square images")
    image = settings.image
    if image is not None and (image[0] != image[1] or image[0] not in fitting):
        raise Misfit(f"reads images of {fitting[0]}×{fitting[0]}, not {image[0]}×{image[1]}")
    return Candidate(
        family=DEEPID.name,
        title="DeepID-like network",
        derived={"classes": shape_of(shapes, f"{head_of(shapes, _HEADS)}.weight", 2)[0]},
        open={} if image is not None or len(fitting) == 1 else {"image": tuple(map(str, fitting))},
        build=lambda: _built(shapes),
        input_shape=(shape_of(shapes, "conv1.weight", 4)[1], *(image or (fitting[0], fitting[0]))),
    )


DEEPID = Family(
    name="deepid",
    summary="DeepID-like network of faces",
    pattern=r"deepid",
    options={},
    match=_match,
)
