"""Phase canonicalization keeps the picture, forgets the phase, and leaves signs and permutations alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, siren, small_cnn
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec, PoolSpec
from zoovet.networks.run import run
from zoovet.symmetry import Action, canonicalize, random_action, random_chain, random_networks, random_phase_shift

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = list(TOLERANCES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sirens(
    num_networks: int = 6,
    *,
    graph: Graph | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Networks:
    """SIRENs as training leaves them: initialized as Sitzmann et al. do, with biases over several turns."""
    graph, generator = graph or siren((2, 32, 32, 3)), seeded(seed)
    tensors: list[list[Tensor]] = [[], []]
    for index, layer in enumerate(graph.chain.layers):
        w0 = layer.activation_parameter or 30.0
        bound = 1 / layer.in_channels if index == 0 else math.sqrt(6 / layer.in_channels) / abs(w0)
        for into, shape, scale in (
            (tensors[0], layer.weight_shape, bound),
            (tensors[1], (layer.out_channels,), 4 * math.pi / abs(w0)),
        ):
            uniform = torch.rand(num_networks, *shape, generator=generator, dtype=torch.float64)
            into.append(((2 * uniform - 1) * scale).to(dtype))
    return Networks.from_layers(graph, tuple(tensors[0]), tuple(tensors[1]))


def grid(dtype: torch.dtype, side: int = 28) -> Tensor:
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis).to(dtype)


def difference(first: Networks, second: Networks, images: Tensor) -> float:
    """The largest difference between what two batches of networks show, pixel by pixel."""
    before, after = run(first, images), run(second, images)
    assert float(before.abs().max()) > 0.1
    return float((after - before).abs().max())


def same_bits(first: Networks, second: Networks) -> bool:
    integers = torch.int32 if first.dtype == torch.float32 else torch.int64
    return torch.equal(first.flat().view(integers), second.flat().view(integers))


def phases(networks: Networks, layer: int) -> Tensor:
    w0 = networks.graph.chain.layers[layer].activation_parameter
    assert w0 is not None
    return networks.biases[layer].double() * w0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2, 32, 32, 1), (2, 32, 32, 3), (2, 16, 1), (2, 24, 24, 24, 3)])
@pytest.mark.parametrize("w0", [30.0, 1.0, 7.3, -30.0])
def test_the_picture_is_kept(dtype: torch.dtype, sizes: tuple[int, ...], w0: float) -> None:
    networks = sirens(graph=siren(sizes, w0), dtype=dtype)
    canonical = canonicalize(networks)
    assert canonical.dtype == dtype
    assert difference(networks, canonical, grid(dtype)) <= TOLERANCES[dtype]
    for layer in range(len(sizes) - 2):
        assert float(phases(networks, layer).abs().max()) > 6  # there was something to do
        assert float(phases(canonical, layer).abs().max()) <= math.pi / 2 * (1 + 1e-15)
    assert torch.equal(canonical.biases[-1], networks.biases[-1])


@pytest.mark.parametrize("broken", ["no flip", "without w0", "half a turn for a whole one"])
def test_what_the_picture_would_not_survive(broken: str) -> None:
    networks = sirens()
    canonical = canonicalize(networks)
    if broken == "no flip":
        canonical = Networks.from_layers(networks.graph, networks.weights, canonical.biases)
    elif broken == "without w0":
        biases = tuple(torch.remainder(bias, math.pi) for bias in networks.biases)
        canonical = Networks.from_layers(networks.graph, networks.weights, biases)
    else:
        halves = (*(torch.remainder(bias, math.pi / 30) for bias in networks.biases[:-1]), networks.biases[-1])
        canonical = Networks.from_layers(networks.graph, networks.weights, halves)
    assert difference(networks, canonical, grid(torch.float64)) > 0.01


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("w0", [30.0, 1.0, 7.3, 0.37, 1e4])
def test_a_second_time_changes_no_bit(dtype: torch.dtype, w0: float) -> None:
    once = canonicalize(sirens(20, graph=siren((2, 32, 32, 1), w0), dtype=dtype))
    assert same_bits(canonicalize(once), once)


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_and_permutations_pass_through_bit_for_bit(dtype: torch.dtype) -> None:
    networks = sirens(dtype=dtype)
    action = random_action(networks.graph, len(networks), seeded(1))
    moved = canonicalize(action(networks))
    assert torch.equal(moved.flat(), action(canonicalize(networks)).flat())
    assert not torch.equal(moved.flat(), canonicalize(networks).flat())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_all_members_of_an_orbit_have_one_canonical_form(dtype: torch.dtype, seed: int) -> None:
    networks, generator = sirens(dtype=dtype, seed=seed), seeded(seed)
    action = random_action(networks.graph, len(networks), generator)
    first, second = (random_phase_shift(networks.graph, len(networks), generator) for _ in range(2))
    moved = second(action(first(networks)))
    assert difference(networks, moved, grid(dtype)) <= TOLERANCES[dtype]
    found, expected = canonicalize(moved), action(canonicalize(networks))
    deviation = float((found.flat() - expected.flat()).abs().max())
    assert deviation <= 10 * torch.finfo(dtype).eps
    assert float((moved.flat() - action(networks).flat()).abs().max()) > 0.1  # the phases were elsewhere
    other = canonicalize(sirens(dtype=dtype, seed=seed + 100))
    assert float((found.flat() - other.flat()).abs().max()) > 0.1


def test_phases_alone_give_one_canonical_form_without_any_sign() -> None:
    networks = sirens()
    shifted = random_phase_shift(networks.graph, len(networks), seeded())(networks)
    deviation = float((canonicalize(shifted).flat() - canonicalize(networks).flat()).abs().max())
    assert deviation <= 1e-15
    assert float((shifted.flat() - networks.flat()).abs().max()) > 0.1


def test_one_neuron_by_hand() -> None:
    graph = siren((1, 1, 1), w0=2.0)

    def neuron(weight: float, bias: float, outgoing: float) -> Networks:
        tensors = [torch.tensor([[[value]]], dtype=torch.float64) for value in (weight, outgoing)]
        biases = [torch.tensor([[value]], dtype=torch.float64) for value in (bias, 0.5)]
        return Networks.from_layers(graph, tuple(tensors), tuple(biases))

    half = math.pi / 2  # half a turn: π / w0
    for turns in range(-6, 7):
        found = canonicalize(neuron(0.7, 0.3 + turns * half, 1.5)).flat()
        outgoing = 1.5 if turns % 2 == 0 else -1.5
        torch.testing.assert_close(
            found[0], torch.tensor([0.7, 0.3, outgoing, 0.5], dtype=torch.float64), rtol=1e-14, atol=0
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("w0", [30.0, 7.3, 1.0, 3.0, 1e-3, 250.0])
def test_at_the_ends_of_the_interval(dtype: torch.dtype, w0: float) -> None:
    """Biases at every end of an interval, and their neighbours in that precision, on both sides."""
    ends = torch.tensor([count * math.pi / (2 * w0) for count in range(-9, 10)], dtype=torch.float64).to(dtype)
    below, above = (torch.nextafter(ends, torch.tensor(way, dtype=dtype)) for way in (-math.inf, math.inf))
    bias = torch.cat([ends, below, above])
    networks = sirens(1, graph=siren((2, len(bias), 1), w0), dtype=dtype)
    networks = Networks.from_layers(networks.graph, networks.weights, (bias[None], networks.biases[1]))
    canonical = canonicalize(networks)
    assert float(canonical.biases[0].double().abs().max()) <= math.pi / (2 * w0)
    assert same_bits(canonicalize(canonical), canonical)
    double = [each.to(dtype=torch.float64) for each in (networks, canonical)]
    assert difference(double[0], double[1], grid(torch.float64)) <= TOLERANCES[dtype]
    still = Action.identity(networks.graph, 1)
    flipped = Action(still.symmetry, still.slots, torch.where(torch.from_numpy(still.symmetry.free), -1.0, 1.0)[None])
    assert torch.equal(canonicalize(flipped(networks)).flat(), flipped(canonical).flat())


def test_a_neuron_at_an_end_has_two_forms_and_no_more() -> None:
    """cos is even: a phase of π/2 may come out as either end, with the sign that belongs to it."""
    graph = siren((2, 64, 1))
    networks = sirens(1, graph=graph)
    networks = Networks.from_layers(
        graph, networks.weights, (torch.full((1, 64), math.pi / 60, dtype=torch.float64), networks.biases[1])
    )
    shifted = random_phase_shift(graph, 1, seeded())(networks)
    first, second = canonicalize(networks), canonicalize(shifted)
    sign = torch.sign(second.biases[0] * first.biases[0])
    assert set(sign.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(second.biases[0], first.biases[0] * sign, rtol=1e-14, atol=0)
    assert torch.equal(second.weights[1], first.weights[1] * sign[:, None])
    assert difference(networks, second, grid(torch.float64)) <= 1e-12


def test_a_sine_before_max_pooling_or_at_the_output_turns_wholly() -> None:
    pool = PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2))
    layers = (
        LayerSpec(kind="conv", in_channels=1, out_channels=5, kernel=(3, 3), activation="sine", pool=pool),
        LayerSpec(kind="conv", in_channels=5, out_channels=4, kernel=(3, 3), padding=(1, 1), activation="sine"),
        LayerSpec(kind="linear", in_channels=4, out_channels=3, kernel=(3, 3), activation="sine"),
    )
    networks = sirens(graph=Graph.of_layers(input_shape=(1, 8, 8), layers=layers))
    canonical = canonicalize(networks)
    images = torch.randn(5, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    assert difference(networks, canonical, images) <= 1e-12
    limits = [float(phases(canonical, layer).abs().max()) for layer in range(3)]
    assert math.pi / 2 < limits[0] <= math.pi * (1 + 1e-15)
    assert limits[1] <= math.pi / 2 * (1 + 1e-15)
    assert math.pi / 2 < limits[2] <= math.pi * (1 + 1e-15)
    assert same_bits(canonicalize(canonical), canonical)
    shifted = random_phase_shift(networks.graph, len(networks), seeded())(networks)
    assert float((canonicalize(shifted).flat() - canonical.flat()).abs().max()) <= 1e-14


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_with_other_layers_between(seed: int) -> None:
    generator = seeded(seed)
    graph = random_chain(generator, num_layers=4, activations=("sine", "tanh", "relu"), mixed=True)
    first, *others = graph.chain.layers
    graph = graph.with_layers((replace(first, activation="sine", activation_parameter=30.0), *others))
    networks = random_networks(graph, 3, generator)
    shifted = random_phase_shift(graph, 3, generator)(networks)
    canonical = canonicalize(shifted)
    images = torch.randn(3, *graph.input_shape, generator=generator, dtype=torch.float64)
    before = run(networks, images)
    assert float((run(canonical, images) - before).abs().max()) <= 1e-12 * max(1.0, float(before.abs().max()))
    for index, layer in enumerate(graph.chain.layers):
        if layer.activation != "sine":
            assert torch.equal(canonical.biases[index], networks.biases[index])
    assert float((canonical.flat() - canonicalize(networks).flat()).abs().max()) <= 1e-14


def test_many_turns_are_counted_exactly() -> None:
    networks = sirens(2)
    far = Networks.from_layers(networks.graph, networks.weights, (networks.biases[0] * 1e6, *networks.biases[1:]))
    sine = torch.sin(30 * far.biases[0])
    canonical = canonicalize(far)
    flips = torch.sign((canonical.weights[1] / far.weights[1])[:, 0])
    torch.testing.assert_close(torch.sin(30 * canonical.biases[0]) * flips, sine, rtol=0, atol=1e-8)
    assert float(canonical.biases[0].abs().max()) <= math.pi / 60


def test_gradients_pass() -> None:
    networks = sirens().map(lambda tensor: tensor.requires_grad_())
    gradients = torch.autograd.grad(
        canonicalize(networks).flat().sum(), [*networks.weights, *networks.biases], materialize_grads=True
    )
    assert all(bool((gradient.abs() == 1).all()) for gradient in gradients)


def test_networks_that_have_no_phase_are_refused() -> None:
    for graph in (mlp((2, 8, 1), "tanh"), small_cnn(), siren((2, 8, 1), w0=0.0)):
        with pytest.raises(ZoovetError, match=r"is for networks with sine layers \(SIRENs\), got .*; leave it out"):
            canonicalize(random_networks(graph, 2, seeded()))


def test_weights_that_are_not_finite_are_refused() -> None:
    networks = sirens()
    networks.biases[1][2, 3] = math.nan
    with pytest.raises(ZoovetError, match="network 2 has NaN or infinite biases in layer 1"):
        canonicalize(networks)
