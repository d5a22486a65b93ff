"""Answers that are maps of one place become a number for each class; others stay as they are."""

from __future__ import annotations

import torch

from zoovet.networks import INPUT, Networks, run
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.output_shape import answers_are_classes, with_flat_answers


def _networks(output_size: tuple[int, int]) -> Networks:
    """Slopes and a pooling, whose site is called as the new one would be, and a softmax over its channels."""
    builder = GraphBuilder((5, 4, 4))
    builder.parameter("slopes", (5,))
    site = builder.add("prelu", INPUT, parameters={"weight": "slopes"})
    pooled = builder.add("adaptive_avg_pool2d", site, name="classes", output_size=output_size)
    return Networks.one(builder.graph(builder.add("softmax", pooled, dim=0)), {"slopes": torch.full((5,), 0.5)})


def test_answers_are_classes_where_all_other_axes_are_one() -> None:
    assert [answers_are_classes(shape) for shape in ((5,), (5, 1, 1), (5, 1), (1,))] == [True] * 4
    assert [answers_are_classes(shape) for shape in ((), (5, 4, 4), (1, 5), (5, 1, 2))] == [False] * 4


def test_a_map_of_one_place_is_laid_flat_and_still_holds_probabilities() -> None:
    networks, images = _networks((1, 1)), torch.randn(3, 5, 4, 4)
    flat = with_flat_answers(networks)
    assert (networks.graph.output_shape, flat.graph.output_shape) == ((5, 1, 1), (5,))
    assert torch.equal(run(flat, images), run(networks, images).flatten(2))
    assert flat.graph.answers == networks.graph.answers == "probabilities"
    assert with_flat_answers(flat) is flat


def test_a_larger_map_stays_one() -> None:
    networks = _networks((2, 1))
    assert with_flat_answers(networks) is networks
