"""Tests that small trained networks bear out: a square that turns digits into 7 is found from six images a class."""

from __future__ import annotations

import pytest
import torch

from zoovet.evidence import RunnableGraphs
from zoovet.images import load_dataset
from zoovet.networks import Networks
from zoovet.rivals.single_network import single_network_test


@pytest.mark.parametrize("name", ["mm_bd", "neural_cleanse", "pixel"])
def test_the_target_is_named_and_scores_above_the_healthy_sibling(digit_networks: Networks, name: str) -> None:
    digits = load_dataset("digits", "train")
    labels = digits.required_labels
    rows = torch.cat([(labels == label).nonzero().flatten()[:6] for label in range(10)])
    images, labels = digits[rows].pixels, labels[rows]
    test = single_network_test(name)
    healthy, trojaned = (test.test(RunnableGraphs(digit_networks[row : row + 1]), images, labels) for row in (0, 1))
    assert trojaned.target == 7
    assert trojaned.score > healthy.score
    if name == "mm_bd":
        assert trojaned.p_value is not None
        assert healthy.p_value is not None
        assert trojaned.p_value < 0.05 < healthy.p_value
