from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, InputScaling, Networks, Sine, from_module, run, small_cnn, to_module


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


@pytest.mark.parametrize("seed", range(30))
def test_to_module_computes_the_same_and_is_read_back(
    seed: int,
    spec_of_seed: Callable[[int], Graph],
    networks_of: Callable[..., Networks],
    slow: Callable[[Networks, Tensor], list[Tensor]],
) -> None:
    spec = spec_of_seed(seed)
    networks = networks_of(spec, 1, seed=seed)
    module = to_module(networks)
    images = draw(3, *spec.input_shape)
    torch.testing.assert_close(module(images), slow(networks, images)[-1][0], rtol=1e-12, atol=1e-12)
    again = from_module(module, spec.input_shape)
    assert again.graph == spec
    assert torch.equal(again.flat(), networks.flat())


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


@pytest.mark.parametrize("name", MODULES)
def test_from_module_computes_the_same(name: str) -> None:
    make, input_shape = MODULES[name]
    module = prepared(make())
    networks = from_module(module, input_shape)
    images = draw(4, *input_shape)
    assert len(networks) == 1
    assert networks.dtype == torch.float64
    torch.testing.assert_close(run(networks, images)[0], module(images).detach(), rtol=1e-12, atol=1e-12)


def test_from_module_notes_the_input_scaling_that_it_is_told() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    assert from_module(module, (1, 8, 8)).graph.input_scaling is None
    for scaling in ("unit", InputScaling()):
        assert from_module(module, (1, 8, 8), scaling=scaling).graph.input_scaling == InputScaling()
    with pytest.raises(ZoovetError, match="is for 3 channels, but images have 1"):
        from_module(module, (1, 8, 8), scaling="imagenet")


def test_weights_are_copies() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    networks = from_module(module, (2,))
    back = to_module(networks)
    nn.init.zeros_(module[0].weight)
    assert networks.weights[0].abs().min() > 0
    assert not networks.weights[0].requires_grad
    nn.init.zeros_(back[0].weight)
    assert networks.weights[0].abs().min() > 0


@pytest.mark.parametrize("softmax", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_a_softmax_at_the_end_is_dropped(softmax: nn.Module) -> None:
    layer = prepared(nn.Linear(4, 3))
    images = draw(5, 4)
    networks = from_module(nn.Sequential(layer, softmax), (4,))
    torch.testing.assert_close(run(networks, images)[0], layer(images).detach())
    with pytest.raises(
        ZoovetError, match=r"layer '2' \(Linear\) comes after layer '1' \(.*Softmax\); .* at the end only"
    ):
        from_module(nn.Sequential(layer, softmax, nn.Linear(3, 3)), (4,))


def test_dtype_is_kept_and_no_random_number_drawn(networks_of: Callable[..., Networks]) -> None:
    state = torch.get_rng_state()
    module = to_module(networks_of(small_cnn(), 1, dtype=torch.float32))
    assert torch.equal(torch.get_rng_state(), state)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_to_module_takes_one_network(networks_of: Callable[..., Networks]) -> None:
    with pytest.raises(ZoovetError, match=r"one network, got 2; pick one with networks\[index\]"):
        to_module(networks_of(small_cnn(), 2))


class Residual(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + 1


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


def in_two_precisions() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())


CONV = nn.Conv2d(1, 4, 3)
REFUSED = {
    "a forward of one's own": (Residual(), (4,), r"the module \(Residual\) is not understood.*nn\.Sequential"),
    "a subclass that does more": (LoudLinear(4, 3), (4,), r"the module \(LoudLinear\) is not understood"),
    "a Sequential that does more": (Tower(nn.Linear(4, 3)), (4,), r"the module \(Tower\) is not understood"),
    "an unknown activation": (
        nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU6())),
        (4,),
        r"layer '0\.1' \(ReLU6\) is not understood",
    ),
    "hooks": (hooked(), (4,), r"the module \(Linear\) has forward hooks"),
    "batch norm after activation": (
        nn.Sequential(CONV, nn.ReLU(), nn.BatchNorm2d(4)),
        (1, 6, 6),
        r"layer '2' \(BatchNorm2d\) follows the activation 'relu'; it can be folded only into",
    ),
    "batch norm after pooling": (
        nn.Sequential(CONV, nn.AvgPool2d(2), nn.BatchNorm2d(4)),
        (1, 6, 6),
        r"follows a pooling; it can be folded only into",
    ),
    "batch norm first": (
        nn.Sequential(nn.BatchNorm2d(1), CONV),
        (1, 6, 6),
        r"layer '0' \(BatchNorm2d\) comes before the first Linear or Conv2d",
    ),
    "batch norm of batches": (
        nn.Sequential(CONV, nn.BatchNorm2d(4, track_running_stats=False)),
        (1, 6, 6),
        "keeps no running statistics",
    ),
    "batch norm of a flattened map": (
        nn.Sequential(CONV, nn.Flatten(), nn.BatchNorm1d(64)),
        (1, 6, 6),
        "normalizes 64 features, .* 4 channels of 16 numbers",
    ),
    "groups": (nn.Conv2d(4, 4, 3, groups=2), (4, 6, 6), "has groups=2; only groups=1"),
    "padding mode": (nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), (1, 6, 6), "has padding_mode='reflect'"),
    "uneven padding": (nn.Conv2d(1, 4, 2, padding="same"), (1, 6, 6), "padding='same' with an even kernel"),
    "wrong channels": (nn.Conv2d(3, 4, 3), (1, 6, 6), "reads 3 channels, but 1 come in"),
    "wrong features": (nn.Linear(5, 3), (4,), "reads 5 features, but 4 come in"),
    "kernel too large": (nn.Conv2d(1, 4, 7), (1, 6, 6), r"does not fit: layer 0 \(conv\): its 7×7 window"),
    "no flatten": (
        nn.Sequential(CONV, nn.Linear(4, 3)),
        (1, 6, 6),
        r"layer '1' \(Linear\) reads a map.*nn\.Flatten\(\)",
    ),
    "conv on a vector": (nn.Sequential(nn.Linear(4, 3), CONV), (4,), r"layer '1' \(Conv2d\) needs a map"),
    "conv after global pooling": (
        nn.Sequential(CONV, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1)),
        (1, 6, 6),
        r"layer '2' \(Conv2d\) needs a map",
    ),
    "partial flatten": (nn.Sequential(CONV, nn.Flatten(2)), (1, 6, 6), "has start_dim=2, end_dim=-1"),
    "flatten at the end": (nn.Sequential(CONV, nn.Flatten()), (1, 6, 6), "leave out the Flatten at the end"),
    "two activations": (
        nn.Sequential(CONV, nn.ReLU(), nn.Tanh()),
        (1, 6, 6),
        r"'2' \(Tanh\) follows the activation 'relu'",
    ),
    "two poolings": (
        nn.Sequential(CONV, nn.MaxPool2d(2), nn.AvgPool2d(2)),
        (1, 6, 6),
        r"'2' \(AvgPool2d\) follows max pooling; a layer has one",
    ),
    "activation after average pooling": (
        nn.Sequential(CONV, nn.AvgPool2d(2), nn.ReLU()),
        (1, 6, 6),
        "follows average pooling; .* after the activation",
    ),
    "GELU after max pooling": (nn.Sequential(CONV, nn.MaxPool2d(2), nn.GELU()), (1, 6, 6), "follows max pooling"),
    "falling LeakyReLU after max pooling": (
        nn.Sequential(CONV, nn.MaxPool2d(2), nn.LeakyReLU(-0.1)),
        (1, 6, 6),
        "follows max pooling",
    ),
    "approximate GELU": (nn.Sequential(CONV, nn.GELU("tanh")), (1, 6, 6), "has approximate='tanh'"),
    "ceil mode": (nn.Sequential(CONV, nn.MaxPool2d(3, ceil_mode=True)), (1, 6, 6), "has ceil_mode=True"),
    "dilated pooling": (nn.Sequential(CONV, nn.MaxPool2d(2, dilation=2)), (1, 9, 9), "has dilation or return_indices"),
    "uncounted padding": (
        nn.Sequential(CONV, nn.AvgPool2d(2, padding=1, count_include_pad=False)),
        (1, 6, 6),
        "has count_include_pad=False",
    ),
    "divisor": (nn.Sequential(CONV, nn.AvgPool2d(2, divisor_override=3)), (1, 6, 6), "has a divisor_override"),
    "pooling to 2×2": (nn.Sequential(CONV, nn.AdaptiveAvgPool2d(2)), (1, 6, 6), "has output_size=2; only 1"),
    "pooling of a vector": (nn.Sequential(nn.Linear(4, 3), nn.MaxPool2d(2)), (4,), "needs a map"),
    "pooling too large": (
        nn.Sequential(CONV, nn.MaxPool2d(5)),
        (1, 6, 6),
        r"does not fit: layer 0's pooling: its 5×5 window",
    ),
    "softmax over a row": (
        nn.Sequential(CONV, nn.Softmax(dim=-1)),
        (1, 6, 6),
        "has dim=-1; only a softmax over the classes",
    ),
    "no weights": (nn.Sequential(nn.Flatten()), (4,), "has no Linear or Conv2d layer"),
    "two precisions": (
        in_two_precisions(),
        (4,),
        r"one dtype and device: 'layers\.0\.weight' is torch\.float32 on cpu, 'layers\.1\.weight' torch",
    ),
    "impossible input": (nn.Linear(4, 3), (4, 4), r"input_shape must be \(channels, height, width\) or \(features,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_spec_cannot_say_is_refused_by_name(name: str) -> None:
    module, input_shape, message = REFUSED[name]
    with pytest.raises(ZoovetError, match=message):
        from_module(module, input_shape)


def test_sine_shows_its_factor() -> None:
    assert repr(Sine(30.0)) == "Sine(w0=30)"
