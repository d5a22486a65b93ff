"""Graphs that several tests build: small, and with everything that a chain has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoovet.networks import INPUT, Graph, GraphBuilder, Networks

DrawNetworks = Callable[..., Networks]


class ShapedBuilder(GraphBuilder):
    """Declares each operation's parameters by their shapes."""

    def shaped(self, op: str, *inputs: str, shapes: dict[str, tuple[int, ...]], **attributes: object) -> str:
        name = f"{op}{len(self._makers)}"
        roles = {role: self.parameter(f"{name}.{role}", shape) for role, shape in shapes.items()}
        return self.add(op, *inputs, name=name, parameters=roles, **attributes)


@pytest.fixture
def builder() -> type[ShapedBuilder]:
    return ShapedBuilder


@pytest.fixture
def residual_graph() -> Graph:
    """A stem, a block with a 1×1 shortcut, squeeze-and-excitation, a concatenation, a classifier."""
    make = ShapedBuilder((3, 9, 9))
    roles = ("weight", "bias", "running_mean", "running_var")

    def norm(site: str, channels: int) -> str:
        return make.shaped("batch_norm", site, shapes=dict.fromkeys(roles, (channels,)))

    stem = norm(make.shaped("conv2d", INPUT, shapes={"weight": (8, 3, 3, 3)}, padding=(1, 1, 1, 1)), 8)
    stem = make.add("relu", stem)
    body = make.shaped("conv2d", stem, shapes={"weight": (16, 8, 3, 3)}, stride=(2, 2), padding=(0, 0, 1, 1))
    body = make.add("relu", norm(body, 16))
    shapes = {"weight": (16, 1, 3, 3), "bias": (16,)}
    depth = make.shaped("conv2d", body, shapes=shapes, padding=(1, 1, 1, 1), groups=16)
    pooled = make.add("avg_pool2d", stem, kernel_size=(2, 2), stride=(2, 2), ceil_mode=True, count_include_pad=False)
    pooled = make.add("slice", pooled, dim=1, start=0, end=4)
    pooled = make.add("slice", pooled, dim=2, start=0, end=4)
    short = make.shaped("conv2d", pooled, shapes={"weight": (16, 8, 1, 1), "bias": (16,)})
    total = make.add("add", depth, short)
    squeezed = make.add("adaptive_avg_pool2d", total, output_size=(1, 1))
    gate = make.shaped("conv2d", squeezed, shapes={"weight": (16, 16, 1, 1), "bias": (16,)})
    excited = make.add("mul", total, make.add("sigmoid", gate))
    features = make.add("mean", make.add("cat", excited, body, dim=0), dim=(1, 2))
    return make.graph(make.shaped("linear", features, shapes={"weight": (5, 32), "bias": (5,)}))


@pytest.fixture
def draw_networks() -> DrawNetworks:
    """Draw networks of a graph: normal numbers by fan-in, variances positive."""

    def draw(graph: Graph, size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Networks:
        generator = torch.Generator().manual_seed(seed)
        tensors: dict[str, Tensor] = {}
        for name, shape in graph.shapes.items():
            fan_in = max(1, torch.Size(shape[1:]).numel())
            tensor = torch.randn(size, *shape, generator=generator, dtype=torch.float64) / fan_in**0.5
            tensors[name] = (tensor.abs() + 0.5 if name.endswith("running_var") else tensor).to(dtype)
        return Networks(graph, tensors)

    return draw
