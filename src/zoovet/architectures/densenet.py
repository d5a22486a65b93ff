"""Densely connected networks with bottlenecks and compression (DenseNet-BC), of CIFAR size.

Names: ``conv1``, ``dense1.0.bn1``, ``dense1.0.conv1``, ``dense1.0.bn2``, ``dense1.0.conv2``, ``trans1.bn``,
``trans1.conv``, …, ``bn``, ``linear``; or ``block1.layer.0.…``, ``trans1.bn1``, ``trans1.conv1``, ``bn1``, ``fc``.
Whether
new channels are put before the others or behind, no name or shape tells. Source: Huang et al. 2016, *Densely Connected
Convolutional Networks*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.architectures.family import Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.global_head import convolutional_candidate
from zoovet.architectures.named_layers import Layers, head_of, numbered

__all__ = ["DENSENET"]

_ORDERS = ("before", "behind")


@dataclass(eq=False)
class _Layer:
    norms: list[nn.Module]
    convs: list[nn.Conv2d]
    is_before: bool

    def __call__(self, values: Tensor) -> Tensor:
        new = values
        for norm, conv in zip(self.norms, self.convs, strict=True):
            new = conv(F.relu(norm(new)))
        return torch.cat([new, values] if self.is_before else [values, new], dim=1)


@dataclass(eq=False)
class _Transition:
    norm: nn.Module
    conv: nn.Conv2d

    def __call__(self, values: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(values))), 2)


class _DenseNet:
    def __init__(self, layers: Layers, order: str) -> None:
        self._make, shapes = layers, layers.shapes
        self._layers: list[nn.Module | _Layer | _Transition] = [self._make.conv("conv1")]
        for names, transition in _plan(shapes):
            self._layers += [self._dense(name, order == "before") for name in names]
            if transition is not None:
                norm, conv = transition
                self._layers.append(_Transition(self._make.norm(norm), self._make.conv(conv)))
        self._norm = self._make.norm(_last_norm(shapes))
        self._head = self._make.linear(head_of(shapes))

    def __call__(self, images: Tensor) -> Tensor:
        values = images
        for layer in self._layers:
            values = layer(values)
        logits: Tensor = self._head(F.relu(self._norm(values)).mean((2, 3)))
        return logits

    def _dense(self, name: str, is_before: bool) -> _Layer:
        count = len(numbered(self._make.shapes, rf"{name}\.conv(\d+)\."))
        return _Layer(
            [self._make.norm(f"{name}.bn{index + 1}") for index in range(count)],
            [self._make.conv(f"{name}.conv{index + 1}") for index in range(count)],
            is_before,
        )


def _plan(shapes: Shapes) -> list[tuple[list[str], tuple[str, str] | None]]:
    """For each block the names of its layers, and those of the transition's norm and convolution behind it."""
    kind, middle = ("dense", "") if any(name.startswith("dense1.") for name in shapes) else ("block", ".layer")
    stages = numbered(shapes, rf"{kind}(\d+)\.")
    plan: list[tuple[list[str], tuple[str, str] | None]] = []
    for stage in stages:
        start = f"{kind}{stage}{middle}"
        layers = [f"{start}.{index}" for index in numbered(shapes, start.replace(".", r"\.") + r"\.(\d+)\.")]
        number = "1" if f"trans{stage}.conv1.weight" in shapes else ""
        names = (f"trans{stage}.bn{number}", f"trans{stage}.conv{number}")
        plan.append((layers, None if stage == stages[-1] else names))
    return plan


def _last_norm(shapes: Shapes) -> str:
    return "bn" if "bn.running_mean" in shapes else "bn1"


def _match(shapes: Shapes, settings: Settings) -> Candidate:
    plan = _plan(shapes)
    if not any(name.startswith("trans") for name in shapes):
        raise Misfit("has no transitions, trans1 …")
    convs = sum(len(numbered(shapes, rf"{name}\.conv(\d+)\.")) for layers, _ in plan for name in layers)
    depth = 1 + convs + len(plan)
    return convolutional_candidate(
        DENSENET.name,
        f"DenseNet-{depth}",
        shapes,
        settings,
        head=head_of(shapes),
        derived={"depth": depth},
        choices={"new": _ORDERS},
        make=lambda layers, chosen: _DenseNet(layers, chosen["new"]),
    )


DENSENET = Family(
    name="densenet",
    summary="DenseNet-BC of CIFAR size; new: whether new channels stand before the others or behind",
    pattern=r"densenet[-_]?(?P<depth>\d+)",
    options={"new": _ORDERS},
    match=_match,
)
