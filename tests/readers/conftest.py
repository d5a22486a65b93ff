"""Small modules of one chain, under whatever names, and a way to read what their state dicts hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.networks import Graph, run, small_cnn
from zoovet.readers.content import FileContent
from zoovet.readers.state_dicts import Reading, read_state_dicts

CHAIN = small_cnn("relu", input_shape=(1, 12, 12), channels=(6, 6, 6), num_classes=6)
"""Three convolutions, of which the last two have equal shapes, and a linear layer."""


class Chain(nn.Module):
    """The chain as others write it: layers (and what belongs to them) under names, called in the order given.

    Args:
        names: Of the three convolutions and the linear layer, as they run.
        registered: In which order they are registered; left out, as they run.
        behind: From a layer's name to what follows it directly, and under which name.
    """

    def __init__(
        self,
        names: Sequence[str] = ("conv1", "conv2", "conv3", "fc"),
        registered: Sequence[str] | None = None,
        behind: Mapping[str, tuple[str, nn.Module]] | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        layers = {
            name: nn.Linear(6, 6) if index == 3 else nn.Conv2d(6 if index else 1, 6, 3, 2, 1, bias=bias)
            for index, name in enumerate(names)
        }
        self.names, self.behind = tuple(names), dict(behind or {})
        for name in registered or names:
            self._put(name, layers[name])
            if name in self.behind:
                self._put(*self.behind[name])

    def _put(self, name: str, module: nn.Module) -> None:
        *parents, last = name.split(".")
        place: nn.Module = self
        for parent in parents:
            if parent not in dict(place.named_children()):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(last, module)

    def forward(self, images: Tensor) -> Tensor:
        for index, name in enumerate(self.names):
            layer = self.get_submodule(name)
            if index == 3 and isinstance(layer, nn.Linear):
                images = images.mean((2, 3))
            images = layer(images)
            if name in self.behind:
                images = self.get_submodule(self.behind[name][0])(images)
            images = torch.relu(images) if index < 3 else images
        return images.mean((2, 3)) if images.dim() == 4 else images


@pytest.fixture
def chain() -> Callable[..., Chain]:
    """Make a chain of random weights, statistics too."""

    def make(*arguments: Any, **options: Any) -> Chain:
        torch.manual_seed(0)
        module = Chain(*arguments, **options).double()
        for own in module.modules():
            if isinstance(own, nn.BatchNorm1d | nn.BatchNorm2d):
                assert own.running_mean is not None
                assert own.running_var is not None
                own.running_mean.normal_()
                own.running_var.uniform_(0.5, 2.0)
                if own.affine:
                    nn.init.uniform_(own.weight, 0.5, 2.0)
                    nn.init.normal_(own.bias)
        return module.eval()

    return make


@pytest.fixture
def chain_graph() -> Graph:
    return CHAIN


@pytest.fixture
def read() -> Callable[..., Reading]:
    """Read the chain's network from named tensors; ``sort`` as a safetensors file has them."""

    def reading(tensors: Mapping[str, Tensor], *, sort: bool = False, graph: Graph = CHAIN, **options: Any) -> Reading:
        own = OrderedDict((name, tensors[name]) for name in (sorted(tensors) if sort else tensors))
        return read_state_dicts(FileContent(tensors=own, ordered=not sort), graph, "a.pt", **options)

    return reading


@pytest.fixture
def same_function() -> Callable[[Reading, nn.Module], None]:
    """Check that what was read computes what the module does."""

    def check(reading: Reading, module: nn.Module) -> None:
        images = torch.randn(5, 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        with torch.no_grad():
            expected = module(images)
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(run(reading.networks, images)[0], expected, rtol=1e-10, atol=1e-10)

    return check
