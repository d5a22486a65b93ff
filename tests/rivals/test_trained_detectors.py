"""Rival detectors that are trained by gradients: what they learn, what they are blind to, and what they refuse."""

from __future__ import annotations

import copy
import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, mlp, small_cnn
from zoovet.rivals import (
    FlatMLPDetector,
    FlatMLPDetectorConfig,
    NFNConfig,
    NFNDetector,
    PermutationConfig,
    PermutationDetector,
    QueryConfig,
)
from zoovet.rivals.fitting import TrainedRivalConfig
from zoovet.rivals.nfn_detector import NFNModel
from zoovet.symmetry import random_action
from zoovet.zoo import Zoo

MakeZoo = Callable[..., Zoo]
Fitted = Callable[[str], Any]

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
STEPS: dict[str, Any] = {"max_steps": 20, "batch_size": 20, "learning_rate": 1e-2, "validation_interval": 10}
CONFIGS: dict[str, TrainedRivalConfig] = {
    "flat_mlp": FlatMLPDetectorConfig(**STEPS, widths=(8, 16), weight_decays=(0.01,)),
    "permutation": PermutationConfig(**STEPS, width=8, num_layers=2),
    "nfn": NFNConfig(**STEPS, num_channels=4, num_layers=2, head_width=8),
}
DETECTORS: dict[str, Any] = {"flat_mlp": FlatMLPDetector, "permutation": PermutationDetector, "nfn": NFNDetector}
needs_nfn = pytest.mark.skipif(importlib.util.find_spec("nfn") is None, reason="the extra nfn is not installed")
EACH = ["flat_mlp", "permutation", pytest.param("nfn", marks=needs_nfn)]
EQUIVARIANT = EACH[1:]


def fit(name: str, zoo: Zoo, seed: int = 0) -> Any:
    return DETECTORS[name].fit(zoo, seed=seed, config=CONFIGS[name])


@pytest.fixture(scope="module")
def zoo(make_zoo: MakeZoo) -> Zoo:
    return make_zoo()


@pytest.fixture(scope="module")
def fitted(zoo: Zoo) -> Callable[[str], Any]:
    """The detector of a name, fitted once."""
    return functools.cache(lambda name: fit(name, zoo))


@pytest.mark.parametrize("name", EACH)
def test_it_learns_a_difference_without_the_test_networks(
    zoo: Zoo, fitted: Fitted, make_zoo: MakeZoo, name: str
) -> None:
    first, second = fitted(name), fit(name, make_zoo(other_test=True))
    networks = [batch for batch, _ in zoo.batches_by_graph()]
    assert first.threshold == second.threshold
    assert torch.equal(first.score(networks), second.score(networks))
    test = zoo.split("test")
    batches = test.batches_by_graph()
    scores = first.score([batch for batch, _ in batches])
    assert scores.shape == (20,)
    assert scores.dtype == torch.float32
    trojaned = torch.from_numpy(np.concatenate([test.column("poisoned")[places] for _, places in batches]))
    assert (scores >= first.threshold).eq(trojaned).float().mean() > 0.7
    assert scores[trojaned].mean() > scores[~trojaned].mean() + 0.2


@pytest.mark.parametrize("name", EACH)
def test_the_seed_decides_everything_that_is_drawn(zoo: Zoo, fitted: Fitted, name: str) -> None:
    networks = [batch for batch, _ in zoo.batches_by_graph()]
    first = fitted(name).score(networks)
    torch.manual_seed(2)
    assert torch.equal(fit(name, zoo).score(networks), first)
    assert not torch.equal(fit(name, zoo, seed=1).score(networks), first)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_the_order_of_hidden_neurons_changes_nothing(fitted: Fitted, name: str) -> None:
    model = copy.deepcopy(fitted(name).model).double()
    generator = torch.Generator().manual_seed(0)
    networks = Networks.from_flat(GRAPH, torch.randn(3, GRAPH.num_parameters, generator=generator, dtype=torch.float64))
    permuted = random_action(GRAPH, 3, generator, rescale=False)(networks)
    assert not torch.equal(permuted.flat(), networks.flat())
    torch.testing.assert_close(model([permuted]), model([networks]), rtol=1e-9, atol=1e-9)
    scaled = random_action(GRAPH, 3, generator)(networks)
    assert not torch.allclose(model([scaled]), model([networks]))


@pytest.mark.parametrize("name", EACH)
def test_scores_are_of_each_network_alone_and_in_their_order(zoo: Zoo, fitted: Fitted, name: str) -> None:
    detector, (relu, tanh) = fitted(name), (batch for batch, _ in zoo.batches_by_graph())
    both = torch.cat([detector.score(tanh), detector.score(relu)])
    torch.testing.assert_close(detector.score([tanh, relu]), both)
    torch.testing.assert_close(detector.score(tanh[5]), both[5:6])


@pytest.mark.parametrize("name", EACH)
def test_other_networks_are_refused(fitted: Fitted, name: str) -> None:
    other = small_cnn("relu", input_shape=(1, 8, 8), channels=(2,))
    detector = fitted(name)
    with pytest.raises(ZoovetError, match="this detector was not trained on such networks"):
        detector.score(Networks.from_flat(other, torch.zeros(1, other.num_parameters)))
    with pytest.raises(ZoovetError, match="no networks were given"):
        detector.score([])


@pytest.mark.parametrize("name", ["flat_mlp", "permutation"])
def test_specs_of_several_shapes_are_read(make_zoo: MakeZoo, name: str) -> None:
    zoo = make_zoo(other_tanh=True)
    networks = [batch for batch, _ in zoo.batches_by_graph()]
    assert torch.isfinite(fit(name, zoo).score(networks)).all()


@needs_nfn
def test_nfn_reads_networks_of_one_shape_with_a_hidden_layer(make_zoo: MakeZoo) -> None:
    with pytest.raises(ZoovetError, match="NFN needs networks of one shape, got 2 graphs whose shapes differ"):
        fit("nfn", make_zoo(other_tanh=True))
    with pytest.raises(ZoovetError, match="NFN needs networks of at least two layers"):
        NFNModel(mlp((4, 3), "relu"), NFNConfig())


def test_without_its_package_nfn_says_how_to_get_it(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nfn", None)
    with pytest.raises(ZoovetError, match=r"install it with `pip install 'zoovet\[nfn\]'`"):
        fit("nfn", zoo)


def test_flat_mlps_need_both_kinds_of_every_spec(zoo: Zoo) -> None:
    lacking = zoo.select((zoo.column("spec_id") != GRAPH.graph_id) | ~zoo.column("poisoned"))
    with pytest.raises(ZoovetError, match=r"relu.*has no poisoned networks"):
        fit("flat_mlp", lacking)


def test_training_that_diverges_is_named(zoo: Zoo) -> None:
    config = replace(CONFIGS["permutation"], learning_rate=1e30)
    with pytest.raises(ZoovetError, match="no longer finite; lower learning_rate"):
        PermutationDetector.fit(zoo, config=config)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (QueryConfig, {"max_steps": 0}, "max_steps must be at least 1, got 0"),
        (PermutationConfig, {"batch_size": 1}, "batch_size must be at least 2, got 1"),
        (PermutationConfig, {"learning_rate": 0.0}, "learning_rate must be above 0"),
        (PermutationConfig, {"width": 0}, "width must be at least 1, got 0"),
        (NFNConfig, {"num_channels": 0}, "num_channels must be at least 1, got 0"),
        (FlatMLPDetectorConfig, {"widths": ()}, "widths must list at least one value"),
        (FlatMLPDetectorConfig, {"widths": (0,)}, "widths and num_layers must be at least 1"),
        (FlatMLPDetectorConfig, {"weight_decays": (-1.0,)}, "weight_decays must be at least 0"),
    ],
)
def test_wrong_settings_are_named(config: type[TrainedRivalConfig], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        config(**options)
