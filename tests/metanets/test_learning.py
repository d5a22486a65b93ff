"""What users of the released code reported that it cannot learn; docs/learning-checks.md says what it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.networks.batch import Networks
from zoovet.networks.chains import siren
from zoovet.networks.graph import Graph
from zoovet.networks.run import run

pytestmark = pytest.mark.slow

SIDE = 16
W0 = 30.0
SMALL = (2, 32, 32, 1)
LARGE = (2, 128, 128, 128, 1)
NUM_FITTING_STEPS = 150


def coordinates() -> Tensor:
    """The (row, column) of every pixel in [-1, 1], [SIDE², 2]."""
    axis = torch.linspace(-1, 1, SIDE)
    return torch.cartesian_prod(axis, axis)


def initial_sirens(graph: Graph, num_networks: int, generator: torch.Generator) -> Networks:
    """Initial values by Sitzmann et al. 2020, section 3.2; biases as ``torch.nn.Linear`` draws them."""
    weights, biases = [], []
    for index, layer in enumerate(graph.chain.layers):
        bound = 1 / layer.in_channels if index == 0 else (6 / layer.in_channels) ** 0.5 / W0
        noise = torch.rand(num_networks, layer.out_channels, layer.in_channels + 1, generator=generator) * 2 - 1
        weights.append(bound * noise[:, :, :-1])
        biases.append(noise[:, :, -1] / layer.in_channels**0.5)
    return Networks.from_layers(graph, tuple(weights), tuple(biases))


def fitted_sirens(initial: Networks, first_digit: int) -> tuple[Networks, Tensor]:
    """SIRENs fitted to consecutive digits of scikit-learn's, one each, and the digits' classes."""
    digits = load_digits()
    chosen = slice(first_digit, first_digit + len(initial))
    images = torch.tensor(digits.images[chosen] / 16 - 0.5, dtype=torch.float32)
    targets = F.interpolate(images[:, None], size=SIDE, mode="bilinear").flatten(1)
    flat = initial.flat().clone().requires_grad_()
    optimizer = torch.optim.Adam([flat], lr=1e-3)
    for _ in range(NUM_FITTING_STEPS):
        error = (pictures(Networks.from_flat(initial.graph, flat)) - targets).square().mean(1).sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error.item() / len(initial) < 0.01  # pixels have a variance of 0.1
    return Networks.from_flat(initial.graph, flat.detach()), torch.tensor(digits.target[chosen])


def pictures(networks: Networks, w0: float = W0) -> Tensor:
    """[B, SIDE²], drawn with any w0."""
    graph = siren(SMALL, w0) if w0 != W0 else networks.graph
    return run(Networks.from_layers(graph, networks.weights, networks.biases), coordinates())[:, :, 0]


def picture_error(predicted: Networks, networks: Networks, w0: float = W0) -> Tensor:
    """Mean squared error of the pictures as a share of their variance."""
    with torch.no_grad():
        targets = pictures(networks, w0)
    return (pictures(predicted, w0) - targets).square().mean() / targets.var(dim=1).mean()


def weight_error(predicted: Networks, networks: Networks, sizes: list[Tensor]) -> Tensor:
    """Mean squared error of every tensor as a share of its mean square over the training networks, averaged."""
    pairs = zip(tensors(predicted), tensors(networks), sizes, strict=True)
    return torch.stack([(a - b).square().mean() / size for a, b, size in pairs]).mean()


def tensors(networks: Networks) -> tuple[Tensor, ...]:
    return (*networks.weights, *networks.biases)


def one_layer_predicted(predicted: Networks, networks: Networks) -> Iterator[Networks]:
    """The networks with one layer's weights and biases replaced by predicted ones, for each layer."""
    for index in range(len(networks.weights)):
        weights, biases = list(networks.weights), list(networks.biases)
        weights[index], biases[index] = predicted.weights[index], predicted.biases[index]
        yield Networks.from_layers(networks.graph, tuple(weights), tuple(biases))


@pytest.fixture(scope="module")
def small_sirens() -> tuple[Networks, Networks]:
    """64 SIRENs to train on and 16 held out, of other digits and other initial values."""
    generator = torch.Generator().manual_seed(0)
    graph = siren(SMALL, W0)
    train, _ = fitted_sirens(initial_sirens(graph, 64, generator), 0)
    held_out, _ = fitted_sirens(initial_sirens(graph, 16, generator), 200)
    return train, held_out


def identity_model(graph: Graph) -> ScaleGMN:
    """Its output is the prediction of the weights themselves: nothing is added to it."""
    options: dict[str, Any] = {"width": 16, "num_layers": 2, "symmetry": "sign", "output": "weights", "out_scale": 0.2}
    options |= {"mlp_on_io": False, "sum_on_io": False}  # so that the output's small bias is not lost in its embedding
    return ScaleGMN(ScaleGMNConfig.for_graphs([graph], **options), torch.Generator().manual_seed(0))


def train(model: nn.Module, num_steps: int, loss_at: Callable[[int], Tensor], learning_rate: float = 3e-3) -> None:
    """AdamW with a cosine schedule and clipped gradients."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        loss = loss_at(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def batches_of(networks: Networks, size: int = 8) -> Callable[[], Networks]:
    """Random batches."""
    generator = torch.Generator().manual_seed(1)
    return lambda: networks[torch.randint(len(networks), (size,), generator=generator)]


def test_weight_output_learns_the_identity_in_weight_space(small_sirens: tuple[Networks, Networks]) -> None:
    networks, held_out = small_sirens
    model, draw = identity_model(networks.graph), batches_of(networks)
    sizes = [tensor.square().mean() for tensor in tensors(networks)]

    def loss_at(step: int) -> Tensor:
        batch = draw()
        return weight_error(model(batch), batch, sizes)

    train(model, 250, loss_at)
    with torch.no_grad():
        predicted = model(held_out)
        assert weight_error(predicted, held_out, sizes) < 0.001
        assert picture_error(predicted, held_out) < 0.02


def test_weight_output_learns_the_identity_in_function_space(small_sirens: tuple[Networks, Networks]) -> None:
    networks, held_out = small_sirens
    model, draw = identity_model(networks.graph), batches_of(networks)
    generator = torch.Generator().manual_seed(2)

    def loss_at(step: int) -> Tensor:
        batch = draw()
        predicted = model(batch)
        if step >= 200:
            return picture_error(predicted, batch)
        # one layer at a time, and w0 from 2 to 30: errors that lead to the aim from far away
        w0 = 2 * 15 ** torch.rand((), generator=generator).item()
        errors = [picture_error(mixed, batch, w0) for mixed in one_layer_predicted(predicted, batch)]
        return torch.stack(errors).sum()

    train(model, 300, loss_at)
    with torch.no_grad():
        assert picture_error(model(held_out), held_out) < 0.01


def test_graph_output_learns_16_large_sirens_of_one_initialization_by_heart() -> None:
    graph = siren(LARGE, W0)
    initial = initial_sirens(graph, 1, torch.Generator().manual_seed(0))
    networks, classes = fitted_sirens(initial.map(lambda tensor: tensor.repeat(16, *[1] * (tensor.ndim - 1))), 0)
    config = ScaleGMNConfig.for_graphs([graph], width=16, num_layers=2, symmetry="sign", direction="forward")
    config = replace(config, num_outputs=10, standardize_readout=True)
    model = ScaleGMN(config, torch.Generator().manual_seed(0))
    train(model, 50, lambda step: F.cross_entropy(model(networks), classes))
    with torch.no_grad():
        for _ in range(20):  # the running statistics come to rest where the trained weights have them
            model(networks)
        assert torch.equal(model.eval()(networks).argmax(1), classes)
