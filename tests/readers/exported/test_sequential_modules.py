"""Modules that run layers one after another: read, and run again; what graphs cannot say is named."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Sine, fold_batch_norms, run
from zoovet.readers.exported import graph_from_module


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def prepared(module: nn.Module) -> nn.Module:
    """In float64, in evaluation mode, with random numbers in every parameter and buffer."""
    module = module.double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.5
            tensor.data = noise.abs() + 0.1 if name.endswith("running_var") else noise
    return module


class LoudLinear(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        return 2 * super().forward(values)


class Tower(nn.Sequential):
    def forward(self, values: Tensor) -> Tensor:
        return -super().forward(values)


def hooked() -> nn.Module:
    module = nn.Linear(4, 3)
    module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


MODULES = {
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 4, (3, 1), stride=(2, 1), dilation=(1, 2)),
            nn.Tanh(),
            nn.AvgPool2d(2, padding=1),
            nn.Flatten(),
            nn.Linear(4 * 1 * 3, 5),
            nn.GELU(),
            nn.Linear(5, 2),
        ),
        (3, 8, 9),
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.Sigmoid())),
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Flatten(),
            nn.Sequential(nn.Linear(4, 3)),
        ),
        (1, 6, 6),
    ),
    "flattened input": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 5), nn.SiLU(), nn.Linear(5, 3)),
        (2, 3, 4),
    ),
    "siren": (lambda: nn.Sequential(nn.Linear(2, 8), Sine(3.0), nn.Linear(8, 8), Sine(1.0), nn.Linear(8, 1)), (2,)),
    "no bias": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, bias=False), nn.LeakyReLU(0.3), nn.Flatten(), nn.Linear(48, 2, bias=False)
        ),
        (1, 6, 6),
    ),
    "dropout and identity": (
        lambda: nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(1, 3, 3),
            nn.Dropout2d(0.5),
            nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.9),
            nn.Linear(48, 2),
        ),
        (1, 6, 6),
    ),
    "batch norm": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 4, 3),
            nn.BatchNorm2d(4, affine=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 6),
            nn.BatchNorm1d(6),
            nn.BatchNorm1d(6),
            nn.Tanh(),
            nn.Linear(6, 2),
        ),
        (2, 7, 7),
    ),
    "padding same": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, (3, 5), padding="same", dilation=(2, 1)), nn.ReLU()),
        (1, 6, 6),
    ),
    "padding valid": (lambda: nn.Conv2d(1, 2, 4, padding="valid"), (1, 6, 6)),
    "max pooling before ReLU": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, stride=1, padding=1), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(64, 2)
        ),
        (1, 6, 6),
    ),
    "activation after flatten": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Tanh(), nn.Linear(64, 2)),
        (1, 6, 6),
    ),
    "pooled to 1×1, batch norm folded through flatten": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 6), nn.Flatten(), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
        (1, 6, 6),
    ),
    "one layer": (lambda: nn.Linear(4, 3), (4,)),
}


MODULES |= {
    "a forward of one's own": (lambda: Tower(LoudLinear(4, 3)), (4,)),
    "a hook": (hooked, (4,)),
    "batch norms that follow no layer": (
        lambda: nn.Sequential(
            nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.BatchNorm2d(4)
        ),
        (1, 6, 6),
    ),
    "batch norm of a flattened map": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2)),
        (1, 6, 6),
    ),
    "groups, padding to one side more": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 2, padding="same"), nn.Tanh(), nn.Tanh()),
        (4, 6, 6),
    ),
    "a linear layer on rows, softmax over a row": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 3), nn.Softmax(dim=-1), nn.Flatten(2)),
        (1, 6, 6),
    ),
    "conv after global pooling": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1)),
        (1, 6, 6),
    ),
    "two poolings, then activations": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2), nn.GELU("tanh"), nn.LeakyReLU(-0.1)
        ),
        (1, 9, 9),
    ),
    "windows beyond the map": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.MaxPool2d(3, ceil_mode=True),
            nn.AvgPool2d(2, padding=1, count_include_pad=False),
            nn.AdaptiveAvgPool2d(2),
        ),
        (1, 7, 7),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_computes_the_same(name: str) -> None:
    make, input_shape = MODULES[name]
    module = prepared(make())
    networks = graph_from_module(module, input_shape)
    images = draw(4, *input_shape)
    assert len(networks) == 1
    assert networks.dtype == torch.float64
    wanted = module(images).detach()
    torch.testing.assert_close(run(networks, images)[0], wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(run(fold_batch_norms(networks), images)[0], wanted, rtol=1e-12, atol=1e-12)


def test_weights_are_copies() -> None:
    module = nn.Linear(2, 2)
    networks = graph_from_module(module, (2,))
    nn.init.zeros_(module.weight)
    assert networks.parameters["weight"].abs().min() > 0
    assert not networks.parameters["weight"].requires_grad


@pytest.mark.parametrize("softmax", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_a_softmax_at_the_end_is_said(softmax: nn.Module) -> None:
    layer = prepared(nn.Linear(4, 3))
    answers = graph_from_module(nn.Sequential(layer, softmax), (4,)).graph.answers
    assert answers == ("probabilities" if isinstance(softmax, nn.Softmax) else "log_probabilities")
    assert graph_from_module(nn.Sequential(layer, softmax, nn.Linear(3, 3).double()), (4,)).graph.answers == "logits"


CONV = nn.Conv2d(1, 4, 3)
REFUSED = {
    "batch norm of batches": (
        nn.Sequential(CONV, nn.BatchNorm2d(4, track_running_stats=False)),
        (1, 6, 6),
        r"keeps no running statistics, .*, in '1' at",
    ),
    "wrong channels": (nn.Conv2d(3, 4, 3), (1, 6, 6), r"images of \[1, 6, 6\]: .* to have 3 channels, but got 1"),
    "wrong features": (nn.Linear(5, 3), (4,), r"images of \[4\]: "),
    "kernel too large": (nn.Conv2d(1, 4, 7), (1, 6, 6), r"images of \[1, 6, 6\]: .*Kernel size: \(7 x 7\)"),
    "conv on a vector": (nn.Sequential(nn.Linear(4, 3), CONV), (4,), r"images of \[4\]: Expected 3D .* or 4D"),
    "divisor": (nn.Sequential(CONV, nn.AvgPool2d(2, divisor_override=3)), (1, 6, 6), "has a divisor of its own"),
    "pooling of a vector": (nn.Sequential(nn.Linear(4, 3), nn.MaxPool2d(2)), (4,), r"images of \[4\]: "),
    "pooling too large": (nn.Sequential(CONV, nn.MaxPool2d(5)), (1, 6, 6), "Output size is too small"),
    "no weights": (nn.Sequential(nn.Flatten()), (4,), "has no parameters"),
    "two precisions": (
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double()),
        (4,),
        r"reads a parameter of torch\.float64 in a network of torch\.float32, in '1'",
    ),
    "impossible input": (nn.Linear(4, 3), (4, 4), r"input_shape must be \(channels, height, width\) or \(features,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_line_and_logs_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    module, input_shape, message = REFUSED[name]
    with pytest.raises(ZoovetError, match=message) as raised:
        graph_from_module(module, input_shape)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("torch._subclasses.fake_tensor").disabled
