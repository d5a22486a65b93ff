from __future__ import annotations

import pytest

from zoovet.errors import ZoovetError
from zoovet.networks import INPUT, GraphBuilder


def test_what_the_output_does_not_need_is_left_out() -> None:
    make = GraphBuilder((4,))
    weight = make.parameter("weight", (3, 4))
    output = make.add("linear", INPUT, name="out", parameters={"weight": weight})
    make.add("linear", INPUT, name="auxiliary", parameters={"weight": make.parameter("spare", (2, 4))})
    graph = make.graph(output)
    assert [operation.output for operation in graph.operations] == ["out"]
    assert list(graph.shapes) == ["weight"]


def test_names_are_made_different() -> None:
    make = GraphBuilder((4,))
    assert [make.add("relu", INPUT, name="relu_2"), *(make.add("relu", INPUT) for _ in range(3))] == [
        "relu_2",
        "relu",
        "relu_3",
        "relu_4",
    ]


def test_what_does_not_fit_is_refused_at_once() -> None:
    make = GraphBuilder((4,))
    make.parameter("weight", (3, 5))
    with pytest.raises(ZoovetError, match=r"linear 'linear': the weight \[3, 5\] reads 5 features"):
        make.add("linear", INPUT, parameters={"weight": "weight"})
    with pytest.raises(ZoovetError, match="relu 'relu' reads 'x', which nothing made so far"):
        make.add("relu", "x")
    with pytest.raises(ZoovetError, match="reads the parameter 'w', not declared"):
        make.add("linear", INPUT, parameters={"weight": "w"})
    with pytest.raises(ZoovetError, match=r"'weight' is declared with the shapes \[3, 5\] and \[5, 3\]"):
        make.parameter("weight", (5, 3))
