"""Changes of weights across what layers read for clean images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableGraphs
from zoovet.healing import Editable
from zoovet.healing.clean_directions import Directions, clean_directions, graph_moments, module_moments
from zoovet.networks import SCALING_PRESETS
from zoovet.readers.exported import graph_from_module


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, (1, 3), groups=2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 3, 5),
    )
    return nn.Sequential(*layers[:4], nn.AdaptiveAvgPool2d((4, 3)), *layers[4:]).eval()


@pytest.fixture
def shown() -> Tensor:
    return 2 * torch.rand(7, 2, 12, 12, generator=torch.Generator().manual_seed(1)) - 1


def test_moments_are_those_of_what_weights_are_multiplied_with(module: nn.Module, shown: Tensor) -> None:
    networks = graph_from_module(module, (2, 12, 12)).with_scaling(SCALING_PRESETS["symmetric"])
    moments = graph_moments(RunnableGraphs(networks), shown)
    shapes = {name: tuple(moment.shape) for name, moment in moments.items()}
    assert shapes == {"0.weight": (1, 18, 18), "2.weight": (2, 6, 6), "6.weight": (1, 72, 72)}
    for name, layer in (("0.weight", module[0]), ("2.weight", module[2]), ("6.weight", module[6])):
        inputs: list[Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, seen, into=inputs: into.append(seen[0]))
        with torch.no_grad():
            module(shown)
        handle.remove()
        weight, groups = layer.weight.detach(), moments[name].shape[0]
        layer_without_bias = nn.functional.linear if weight.ndim == 2 else layer._conv_forward
        made = layer_without_bias(inputs[0], weight, None)
        energy = made.transpose(0, 1).flatten(1).square().sum(1)  # of each output, over images and places
        rows = weight.reshape(groups, len(weight) // groups, -1)
        wanted = torch.einsum("god,gde,goe->go", rows, moments[name], rows).flatten()
        assert torch.allclose(energy, wanted, rtol=1e-3), name
    others = module_moments(module, module, shown)
    assert all(torch.allclose(others[name], moment, rtol=1e-3, atol=1e-4) for name, moment in moments.items())
    assert not module[0]._forward_pre_hooks


def test_changes_shrink_along_what_is_read_and_stay_across_it() -> None:
    read = torch.zeros(1, 4, 4)
    read[0, 0, 0] = 400.0
    maps = clean_directions({"w": read}, ridge=0.01)["w"]
    change = maps.change(torch.ones(3, 4))
    assert torch.allclose(change[:, 1:], torch.ones(3, 3))
    assert torch.allclose(change[:, 0], torch.full((3,), (1 / 401) ** 0.5))


def test_of_large_windows_channels_only_are_told_apart() -> None:
    maps = torch.stack([torch.diag(torch.tensor([1.0, 2.0])), torch.diag(torch.tensor([3.0, 4.0]))])
    change = Directions(maps).change(torch.ones(4, 2, 3, 3))
    factors = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0]])
    assert torch.equal(change, factors[:, :, None, None].expand(4, 2, 3, 3))


def test_an_edit_along_what_is_read_would_cost_more(editable: Editable, images: Tensor) -> None:
    moments = editable.moments(images)
    assert sorted(moments) == ["1.weight", "4.weight"]
    maps = clean_directions(moments, ridge=0.03)
    generator = torch.Generator().manual_seed(0)
    before = editable.logits(editable.weights, images)
    moved = []
    for is_mapped in (False, True):
        change = 0.1 * torch.randn(5, 64, generator=generator)
        weights = dict(editable.weights)
        if is_mapped:
            mapped = maps["1.weight"].change(change)
            change = mapped * (change.norm() / mapped.norm())
        weights["1.weight"] = weights["1.weight"] + change
        moved.append(float((editable.logits(weights, images) - before).norm()))
    assert moved[1] < 0.5 * moved[0]
