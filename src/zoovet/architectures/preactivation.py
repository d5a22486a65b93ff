"""Residual networks whose batch norms stand before the convolutions: PreAct-ResNets and wide ones (WRN-D-W).

Names of PreAct-ResNets: ``conv1``, ``layer1.0.bn1``, ``layer1.0.conv1``, ``layer1.0.bn2``, …, ``layer2.0.shortcut.0``,
``linear``, and a last batch norm ``bn`` in some. Names of wide ones: ``conv1``, ``block1.layer.0.bn1``, …,
``block2.layer.0.convShortcut``, ``bn1``, ``fc``; or ``layer1.0.bn1``, …, ``bn1``, ``linear``. The first stage keeps the
size of the map, each other halves it. Sources: He et al. 2016, *Identity Mappings in Deep Residual Networks*; Zagoruyko
and Komodakis 2016, *Wide Residual Networks*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.architectures.family import Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.global_head import convolutional_candidate
from zoovet.architectures.named_layers import Layers, head_of, numbered, shape_of

__all__ = ["PREACT_RESNET", "WIDE_RESNET"]

_SHORTCUTS = ("activated", "raw")
_STAGES = {"block": r"block(\d+)\.layer\.", "layer": r"layer(\d+)\."}
_BASE_WIDTH = 16


@dataclass(eq=False)
class _Block:
    norms: list[nn.Module]
    convs: list[nn.Conv2d]
    shortcut: nn.Module | None
    reads_activated: bool

    def __call__(self, values: Tensor) -> Tensor:
        kept = values
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            values = F.relu(norm(values))
            if index == 0 and self.shortcut is not None:
                kept = self.shortcut(values if self.reads_activated else kept)
            values = conv(values)
        return values + kept


class _PreActivation:
    def __init__(self, layers: Layers, shortcut: str) -> None:
        self._make, shapes = layers, layers.shapes
        self._stem = self._make.conv("conv1")
        self._blocks = [self._block(name, stride, shortcut) for name, stride in _blocks_of(shapes)]
        last = _last_norm(shapes)
        self._norm = None if last is None else self._make.norm(last)
        self._head = self._make.linear(head_of(shapes))

    def __call__(self, images: Tensor) -> Tensor:
        values = self._stem(images)
        for block in self._blocks:
            values = block(values)
        if self._norm is not None:
            values = F.relu(self._norm(values))
        logits: Tensor = self._head(values.mean((2, 3)))
        return logits

    def _block(self, name: str, stride: int, shortcut: str) -> _Block:
        count = len(numbered(self._make.shapes, rf"{name}\.conv(\d+)\."))
        strides = [stride if index == (1 if count == 3 else 0) else 1 for index in range(count)]
        own = next((one for one in _shortcuts(name) if f"{one}.weight" in self._make.shapes), None)
        return _Block(
            norms=[self._make.norm(f"{name}.bn{index + 1}") for index in range(count)],
            convs=[self._make.conv(f"{name}.conv{index + 1}", stride=strides[index]) for index in range(count)],
            shortcut=None if own is None else self._make.conv(own, stride=stride, padding=0),
            reads_activated=shortcut == "activated",
        )


def _shortcuts(name: str) -> tuple[str, ...]:
    return f"{name}.shortcut.0", f"{name}.convShortcut", f"{name}.downsample.0"


def _last_norm(shapes: Shapes) -> str | None:
    return next((name for name in ("bn", "bn1") if f"{name}.running_mean" in shapes), None)


def _blocks_of(shapes: Shapes) -> list[tuple[str, int]]:
    kind = "block" if any(name.startswith("block") for name in shapes) else "layer"
    stages = numbered(shapes, _STAGES[kind])
    middle = ".layer" if kind == "block" else ""
    return [
        (f"{kind}{stage}{middle}.{index}", 2 if index == 0 and stage != stages[0] else 1)
        for stage in stages
        for index in numbered(shapes, rf"{kind}{stage}{middle.replace('.', chr(92) + '.')}\.(\d+)\.")
    ]


def _require_norms_before(shapes: Shapes) -> list[tuple[str, int]]:
    blocks = _blocks_of(shapes)
    for name, _ in blocks:
        norm = shape_of(shapes, f"{name}.bn1.running_mean", 1)
        if norm != shape_of(shapes, f"{name}.conv1.weight", 4)[1:2]:
            raise Misfit("has batch norms that are not before their convolutions")
    return blocks


def _match_preact(shapes: Shapes, settings: Settings) -> Candidate:
    blocks = _require_norms_before(shapes)
    if not blocks[0][0].startswith("layer") or _last_norm(shapes) == "bn1":
        raise Misfit("is not called as a PreAct-ResNet is, layer1.0 … linear, but as a wide one")
    depth = 2 + sum(len(numbered(shapes, rf"{name}\.conv(\d+)\.")) for name, _ in blocks)
    return convolutional_candidate(
        PREACT_RESNET.name,
        f"PreAct-ResNet-{depth}",
        shapes,
        settings,
        head=head_of(shapes),
        derived={"depth": depth},
        choices={},
        make=lambda layers, chosen: _PreActivation(layers, "activated"),
    )


def _match_wide(shapes: Shapes, settings: Settings) -> Candidate:
    blocks = _require_norms_before(shapes)
    if _last_norm(shapes) is None:
        raise Misfit("has no batch norm behind its last stage")
    stages = len({name.split(".")[0] for name, _ in blocks})
    depth = 4 + 2 * len(blocks)
    width, rest = divmod(shape_of(shapes, f"{blocks[0][0]}.conv1.weight", 4)[0], _BASE_WIDTH)
    if stages != 3 or rest:
        raise Misfit(f"has {stages} stages, the first a multiple of {_BASE_WIDTH} wide: a WRN has 3")
    return convolutional_candidate(
        WIDE_RESNET.name,
        f"WRN-{depth}-{width}",
        shapes,
        settings,
        head=head_of(shapes),
        derived={"depth": depth, "width": width},
        # The public layout called block1.layer.0 reads activated values; those called layer1.0 do one or the other.
        choices={} if blocks[0][0].startswith("block") else {"shortcut": _SHORTCUTS},
        make=lambda layers, chosen: _PreActivation(layers, chosen.get("shortcut", "activated")),
    )


PREACT_RESNET = Family(
    name="preact_resnet",
    summary="residual network with batch norms before the convolutions",
    pattern=r"preact[-_]?resnet[-_]?(?P<depth>\d+)",
    options={},
    match=_match_preact,
)
WIDE_RESNET = Family(
    name="wrn",
    summary="wide residual network WRN-D-W; shortcut: whether 1×1 convolutions read activated or raw values",
    pattern=r"wrn[-_]?(?P<depth>\d+)[-_](?P<width>\d+)",
    options={"shortcut": _SHORTCUTS},
    match=_match_wide,
)
