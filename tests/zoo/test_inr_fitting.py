"""The compiled fit, torch's and torch.optim's agree; SIRENs do not see each other."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.networks import Graph, Networks, mlp, run, siren, to_module
from zoovet.zoo.inr_fitting import TorchSirenFitter, initial_siren, learning_rates, siren_fitter
from zoovet.zoo.inr_pictures import coordinates
from zoovet.zoo.native import NativeSirenFitter, NativeUnavailable, compile_siren_fitter

# Widths that fill no tile, a depth of three, three channels, and another w0.
GRAPHS = {
    "usual": siren((2, 32, 32, 1)),
    "odd widths": siren((2, 7, 5, 3), w0=10.0),
    "one hidden layer": siren((2, 9, 2)),
    "deep": siren((2, 6, 8, 6, 1), w0=20.0),
}


def problem(graph: Graph, num_sirens: int, size: tuple[int, int] = (5, 7)) -> tuple[np.ndarray, ...]:
    """Starts [B, P], targets [B, N, C] and places [N, 2]; 35 places fill no block of pixels."""
    start = np.stack([initial_siren(graph, seed) for seed in range(num_sirens)])
    shape = (num_sirens, math.prod(size), graph.num_outputs)
    targets = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    return start, targets, coordinates(*size).numpy()


def test_sines_and_cosines_are_accurate() -> None:
    values = np.linspace(-1900, 1900, 100_001).astype(np.float32)
    sines, cosines = compile_siren_fitter(GRAPHS["usual"]).sincos(values)
    exact = values.astype(np.float64)
    assert np.abs(sines - np.sin(exact)).max() < 3e-7
    assert np.abs(cosines - np.cos(exact)).max() < 3e-7
    near = np.linspace(-4, 4, 10_001).astype(np.float32)
    assert (
        np.abs(compile_siren_fitter(GRAPHS["usual"]).sincos(near)[0] - np.sin(near.astype(np.float64))).max() < 1.5e-7
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_both_fitters_go_the_same_way(name: str) -> None:
    graph = GRAPHS[name]
    start, targets, places = problem(graph, 19)
    rates = learning_rates("cosine", 1e-3, 20)
    before = start.copy()
    compiled = compile_siren_fitter(graph).fit(start, targets, places, rates)
    expected = TorchSirenFitter(graph).fit(start, targets, places, rates)
    np.testing.assert_array_equal(start, before)
    moved = np.abs(expected - start).max()
    assert moved > 5e-3
    np.testing.assert_allclose(compiled, expected, atol=2e-3 * moved)


@pytest.mark.parametrize("make", [compile_siren_fitter, TorchSirenFitter])
def test_steps_are_torchs(make: type[TorchSirenFitter]) -> None:
    graph = GRAPHS["odd widths"]
    start, targets, places = problem(graph, 1)
    module = to_module(Networks.from_flat(graph, torch.from_numpy(start.copy())))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        (module(torch.from_numpy(places)) - torch.from_numpy(targets[0])).square().mean().backward()
        optimizer.step()
    expected = torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).numpy()
    fitted = make(graph).fit(start, targets, places, learning_rates("constant", 1e-3, 10))[0]
    np.testing.assert_allclose(fitted, expected, atol=2e-3 * np.abs(expected - start).max())


def test_a_siren_has_the_same_bytes_whatever_it_is_fitted_with() -> None:
    graph = GRAPHS["usual"]
    start, targets, places = problem(graph, 21)
    rates = learning_rates("constant", 1e-3, 30)
    together = compile_siren_fitter(graph).fit(start, targets, places, rates)
    for chosen in ([3], [20, 3], [0, 1, 2, 4, 5, 3]):
        alone = compile_siren_fitter(graph).fit(start[chosen], targets[chosen], places, rates)
        np.testing.assert_array_equal(alone, together[chosen])
    assert len(np.unique(together, axis=0)) == 21


def test_fits_come_near_their_targets() -> None:
    graph = GRAPHS["usual"]
    start, targets, places = problem(graph, 2, (8, 8))
    flat = compile_siren_fitter(graph).fit(start, targets, places, learning_rates("cosine", 2e-3, 500))
    shown = run(Networks.from_flat(graph, torch.from_numpy(flat)), torch.tensor(places))
    assert float((shown - torch.from_numpy(targets)).square().mean()) < 1e-6


def test_initial_weights_spread_as_sitzmann_says() -> None:
    graph = siren((2, 200, 300, 1), w0=20.0)
    networks = Networks.from_flat(graph, torch.from_numpy(initial_siren(graph, 0))[None])
    for index, (inputs, most) in enumerate(((2, 0.5), (200, (6 / 200) ** 0.5 / 20), (300, (6 / 300) ** 0.5 / 20))):
        weights, biases = networks.weights[index], networks.biases[index]
        assert 0.97 * most < float(weights.abs().max()) <= most
        assert float(weights.std()) == pytest.approx(most / 3**0.5, rel=0.1)
        assert float(biases.abs().max()) <= inputs**-0.5
    assert float(networks.biases[1].std()) == pytest.approx(200**-0.5 / 3**0.5, rel=0.1)
    assert (initial_siren(graph, 0) == initial_siren(graph, 0)).all()
    assert (initial_siren(graph, 0) != initial_siren(graph, 1)).any()


def test_learning_rates() -> None:
    np.testing.assert_array_equal(learning_rates("constant", 0.1, 3), [0.1, 0.1, 0.1])
    np.testing.assert_allclose(learning_rates("cosine", 0.1, 4), [0.1, 0.0853553, 0.05, 0.0146447], rtol=1e-5)


def test_without_a_compiler_torch_takes_over_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    graph = siren((2, 3, 1))
    with pytest.warns(
        UserWarning, match="fitting SIRENs through torch, several times slower than compiled: the C comp"
    ):
        fitter = siren_fitter.__wrapped__(graph)
    assert fitter == TorchSirenFitter(graph)
    assert fitter.num_together > 1


def test_a_gpu_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = siren((2, 3, 1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert siren_fitter.__wrapped__(graph) == TorchSirenFitter(graph, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(siren_fitter.__wrapped__(graph), NativeSirenFitter)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_goes_the_same_way() -> None:
    graph = GRAPHS["usual"]
    start, targets, places = problem(graph, 5)
    rates = learning_rates("cosine", 1e-3, 20)
    expected = TorchSirenFitter(graph).fit(start, targets, places, rates)
    fitted = TorchSirenFitter(graph, "cuda").fit(start, targets, places, rates)
    np.testing.assert_allclose(fitted, expected, atol=5e-3 * np.abs(expected - start).max())


@pytest.mark.parametrize("graph", [mlp((2, 4, 1)), siren((3, 4, 1))])
def test_networks_that_are_no_sirens_are_not_compiled(graph: Graph) -> None:
    with pytest.raises(NativeUnavailable, match="the compiled fitter knows SIRENs only, got"):
        compile_siren_fitter(graph)
