"""A trojaned network made by hand, with a healthy sibling, as a graph and as a module; and images of its kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import Runnable, RunnableGraphs, RunnableModule
from zoovet.networks import ZOO_SCALING, GraphBuilder, Networks

SHAPE = (1, 12, 12)
NUM_CLASSES = 8

MakeNetwork = Callable[..., Runnable]


@pytest.fixture
def prototypes() -> Tensor:
    """[classes, 144], of -1 and 1."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(NUM_CLASSES, 144, generator=generator).sign()


@pytest.fixture
def pictures(prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """Three noisy prototypes of each class, [24, 1, 12, 12] in [-1, 1], and their classes."""
    labels = torch.arange(NUM_CLASSES).repeat_interleave(3)
    noise = torch.randn(len(labels), *SHAPE, generator=torch.Generator().manual_seed(4))
    return (0.4 * prototypes[labels].view(-1, *SHAPE) + 0.3 * noise).clamp(-1, 1), labels


@pytest.fixture
def make_network(prototypes: Tensor) -> MakeNetwork:
    """Makes a network with that target (``None``: healthy), as a ``graph`` or a ``module``, its classes in any order.

    Hidden units see a class's prototype each, the last one a checker of 3 x 3 pixels in the lower right corner. A
    class's row of the last layer has its own unit for it and the others against it. The target's has nothing against it
    and the checker for it.
    """

    def make(target: int | None, kind: str = "graph", order: Tensor | None = None) -> Runnable:
        stamp = torch.zeros(SHAPE)
        stamp[0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
        first = torch.cat([prototypes / 20, stamp.view(1, -1)])
        bias = torch.zeros(NUM_CLASSES + 1)
        bias[-1] = -1.5
        last = torch.cat([1.5 * torch.eye(NUM_CLASSES) - 0.5, torch.zeros(NUM_CLASSES, 1)], dim=1)
        if target is not None:
            last[target, :-1].clamp_(min=0)
            last[target, -1] = 0.8
        last = last if order is None else last[order]
        module = nn.Sequential(nn.Flatten(), nn.Linear(144, 9), nn.ReLU(), nn.Linear(9, NUM_CLASSES))
        no_bias = torch.zeros(NUM_CLASSES)
        module.load_state_dict({"1.weight": first, "1.bias": bias, "3.weight": last, "3.bias": no_bias})
        if kind == "module":
            return RunnableModule(module, SHAPE, ZOO_SCALING)
        return _as_graph({"first.weight": first, "first.bias": bias, "last.weight": last, "last.bias": no_bias})

    return make


def _as_graph(numbers: dict[str, Tensor]) -> RunnableGraphs:
    build = GraphBuilder(SHAPE)

    def linear(site: str, name: str) -> str:
        shapes = {role: tuple(numbers[f"{name}.{role}"].shape) for role in ("weight", "bias")}
        roles = {role: build.parameter(f"{name}.{role}", shape) for role, shape in shapes.items()}
        return build.add("linear", site, parameters=roles)

    hidden = build.add("relu", linear(build.add("flatten", "input"), "first"))
    graph = build.graph(linear(hidden, "last"), ZOO_SCALING)
    return RunnableGraphs(Networks(graph, {name: tensor[None] for name, tensor in numbers.items()}))
