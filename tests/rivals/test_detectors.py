"""Rival detectors on made-up zoos in which each can know who is trojaned, and what each is blind to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.networks import Networks, mlp, small_cnn
from zoovet.rivals import (
    CleanImages,
    NeuralCleanseConfig,
    NeuralCleanseDetector,
    QueryConfig,
    QueryDetector,
    SortedWeightsDetector,
)
from zoovet.rivals.neural_cleanse import anomaly_indices, mask_norms
from zoovet.rivals.sorted_weights_detector import sorted_weights
from zoovet.symmetry import random_action
from zoovet.zoo import Zoo

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
QUICK = QueryConfig(num_queries=4, width=16, max_steps=60, batch_size=32, learning_rate=1e-2, validation_interval=10)

MakeZoo = Callable[..., Zoo]


@pytest.mark.parametrize("fit", [SortedWeightsDetector.fit, lambda zoo: QueryDetector.fit(zoo, config=QUICK)])
def test_test_networks_do_not_change_a_detector(make_zoo: MakeZoo, fit: Callable[[Zoo], SortedWeightsDetector]) -> None:
    zoo = make_zoo()
    first, second = fit(zoo), fit(make_zoo(other_test=True))
    networks = [batch for batch, _ in zoo.batches_by_graph()]
    assert first.threshold == second.threshold
    assert torch.equal(first.score(networks), second.score(networks))
    assert first.score(networks).shape == (80,)


def test_queries_find_what_is_in_the_answers(make_zoo: MakeZoo) -> None:
    zoo = make_zoo()
    detector, test = QueryDetector.fit(zoo, config=QUICK), zoo.split("test")
    batches = test.batches_by_graph()
    scores = detector.score([batch for batch, _ in batches])
    trojaned = torch.from_numpy(np.concatenate([test.column("poisoned")[places] for _, places in batches]))
    assert scores[trojaned].mean() > scores[~trojaned].mean() + 0.2


def test_sorted_weights_are_blind_to_permutations_but_not_to_scalings() -> None:
    generator = torch.Generator().manual_seed(0)
    networks = Networks.from_flat(GRAPH, torch.randn(3, GRAPH.num_parameters, generator=generator, dtype=torch.float64))
    permuted = random_action(GRAPH, 3, generator, rescale=False)(networks)
    assert not torch.equal(permuted.flat(), networks.flat())
    assert np.array_equal(sorted_weights(permuted), sorted_weights(networks))
    scaled = random_action(GRAPH, 3, generator)(networks)
    assert not np.allclose(sorted_weights(scaled), sorted_weights(networks))


def test_sorted_weights_know_only_their_specs(make_zoo: MakeZoo) -> None:
    other = small_cnn("relu", input_shape=(1, 8, 8), channels=(2,))
    detector = SortedWeightsDetector.fit(make_zoo())
    with pytest.raises(ZoovetError, match="was not fitted on networks of"):
        detector.score(Networks.from_flat(other, torch.zeros(1, other.num_parameters)))


def test_anomaly_index_by_hand() -> None:
    norms = torch.tensor([[10.0, 12.0, 11.0, 9.0, 1.0], [10.0, 12.0, 11.0, 9.0, 10.0]])
    # Median 10, deviations 0 1 1 2 9 and 0 0 1 1 2: median absolute deviation 1.
    torch.testing.assert_close(anomaly_indices(norms), torch.tensor([9.0, 1.0]) / 1.4826)
    even = torch.tensor([[10.0, 2.0, 11.0, 14.0]])  # median 10.5, deviations 0.5, 0.5, 3.5, 8.5 of median 2
    torch.testing.assert_close(anomaly_indices(even), torch.tensor([8.5 / 2]) / 1.4826)
    with pytest.raises(ZoovetError, match="needs at least three, got 2"):
        anomaly_indices(torch.ones(1, 2))


def test_neural_cleanse_refuses_what_it_cannot_search() -> None:
    clean = CleanImages(torch.zeros(20, 1, 8, 8), torch.zeros(20, dtype=torch.int64))
    for graph, message in (
        (mlp((4, 3), "relu"), r"read inputs of the shape \[4\]"),
        (small_cnn("relu", input_shape=(3, 8, 8)), r"read inputs of the shape \[3, 8, 8\]"),
        (small_cnn("relu", input_shape=(1, 8, 8), num_classes=2), "needs at least three, got 2"),
    ):
        with pytest.raises(ZoovetError, match=message):
            mask_norms(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)), clean, NeuralCleanseConfig())


@pytest.mark.parametrize("activation", ["relu", "gelu"])  # gelu: through torch
@pytest.mark.filterwarnings("ignore:training through torch")
def test_neural_cleanse_reads_images_however_they_lie(activation: str) -> None:
    graph, config = small_cnn(activation, input_shape=(2, 8, 8), channels=(4,)), NeuralCleanseConfig(num_epochs=2)
    networks = Networks.from_flat(
        graph, torch.randn(1, graph.num_parameters, generator=torch.Generator().manual_seed(0))
    )
    images = torch.rand(30, 8, 8, 2, generator=torch.Generator().manual_seed(1)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        found = [
            NeuralCleanseDetector(clean=CleanImages(some, torch.zeros(30).long()), config=config).score(networks)
            for some in (images, images.contiguous())
        ]
    assert torch.equal(*found)


def test_neural_cleanse_finds_the_class_that_a_patch_reaches_easily(digit_networks: Networks) -> None:
    clean = CleanImages.draw(load_dataset("digits", "train"), 200, np.random.default_rng(0))
    config = NeuralCleanseConfig(num_epochs=40)
    norms = mask_norms(digit_networks, clean, config)
    assert norms.shape == (2, 10)
    assert int(norms[1].argmin()) == 7
    with torch.inference_mode():  # as evaluation calls it
        scores = NeuralCleanseDetector(clean=clean, config=config).score(digit_networks)
    torch.testing.assert_close(scores, anomaly_indices(norms))
    assert scores[1] > 2.0 > scores[0]
