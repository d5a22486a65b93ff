from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.edits import channel_changes, layer_names, relative_changes
from zoovet.networks import Networks, mlp, small_cnn

GRAPH = mlp((2, 2, 1))


def networks(first, first_bias, second, second_bias):
    tensors = [torch.tensor([values], dtype=torch.float32) for values in (first, second)]
    biases = [torch.tensor([values], dtype=torch.float32) for values in (first_bias, second_bias)]
    return Networks.from_layers(GRAPH, tuple(tensors), tuple(biases))


BEFORE = networks([[3.0, 0.0], [0.0, 4.0]], [0.0, 0.0], [[2.0, 0.0]], [0.0])
AFTER = networks([[3.0, 1.0], [0.0, 4.0]], [0.0, 2.0], [[2.0, 0.0]], [0.5])


def test_relative_changes_known_by_hand():
    assert relative_changes(BEFORE, AFTER) == pytest.approx(np.array([[np.sqrt(5) / 5, 0.25]]))


def test_channel_changes_known_by_hand():
    first, second = channel_changes(BEFORE, AFTER)
    assert first == pytest.approx(np.array([[1 / 5, 2 / 5]]))
    assert second == pytest.approx(np.array([[0.25]]))


def test_squares_of_channels_sum_to_the_layers():
    graph = small_cnn("relu")
    generator = torch.Generator().manual_seed(0)
    before, after = (
        Networks.from_flat(graph, torch.randn(3, graph.num_parameters, generator=generator)) for _ in range(2)
    )
    total = np.stack([(change**2).sum(axis=1) for change in channel_changes(before, after)], axis=1)
    assert np.sqrt(total) == pytest.approx(relative_changes(before, after))


def test_a_layer_of_zeros_has_no_relative_change():
    empty = networks([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [[2.0, 0.0]], [0.0])
    changes = relative_changes(empty, AFTER)
    assert np.isnan(changes[0, 0])
    assert changes[0, 1] == 0.25
    assert np.isnan(channel_changes(empty, AFTER)[0]).all()


def test_networks_must_correspond():
    with pytest.raises(ZoovetError, match=r"must correspond: 1 of .* before, 2 of .* after"):
        relative_changes(BEFORE, Networks.concatenate([AFTER, AFTER]))


def test_layer_names():
    assert layer_names([small_cnn("relu"), small_cnn("tanh")]) == ("conv 1", "conv 2", "conv 3", "linear 4")
    assert layer_names([mlp((2, 2, 1)), small_cnn("relu", channels=(4,)), mlp((2, 2, 2, 1))]) == (
        "layer 1",
        "linear 2",
        "linear 3",
    )
