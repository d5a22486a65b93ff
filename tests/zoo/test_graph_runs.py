"""Branches beside each other share their runs over a batch; a norm's values are made where they are first read."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from zoovet.networks import Graph
from zoovet.readers.exported.modules import graph_from_module
from zoovet.zoo.native.graph_activations import fused_norms
from zoovet.zoo.native.graph_plan import needed_operations
from zoovet.zoo.native.graph_runs import OperationRun, RunSteps, operation_runs
from zoovet.zoo.native.graph_source import graph_source
from zoovet.zoo.native.graph_steps import Barrier, Step


class Shortcut(nn.Module):
    """Two convolutions with norms, and one past them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.past = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, 3, H, W] to logits [N, 4]."""
        result: Tensor = self.end(self.second(self.first(maps)) + self.past(maps))
        return result


@pytest.fixture(name="graph")
def _graph() -> Graph:
    return graph_from_module(Shortcut().eval(), (3, 6, 6)).graph


def test_a_shortcut_is_read_with_its_block_and_normalized_where_it_is_added(graph: Graph) -> None:
    names = needed_operations(graph)
    runs = operation_runs(graph, names, fused_norms(graph))
    by_kind = [(graph.makers[name].op, runs[name]) for name in names]
    assert [run for op, run in by_kind if op == "conv2d"] == [
        OperationRun(0, 0),
        OperationRun(1, 1),
        OperationRun(0, 0),
    ]
    assert [run for op, run in by_kind if op == "batch_norm"] == [
        OperationRun(0, 1),
        OperationRun(1, 2),
        OperationRun(0, 2),
    ]
    assert [run for op, run in by_kind if op in ("add", "linear")] == [OperationRun(2, 2)] * 2


def test_three_norms_need_two_barriers_each_way(graph: Graph) -> None:
    source = graph_source(graph)
    batch = source[source.index("void train_batch(") : source.index("void prepare_evaluation(")]
    assert batch.count("for (long n") == 5  # the last forward is the first back


def test_steps_come_run_by_run() -> None:
    steps = RunSteps(2)
    steps.add(1, Step("c"))
    steps.add(0, Step("b"), at_end=True)
    steps.add(0, Step("a"))
    steps.end(0, Barrier("first();"))
    steps.end(0, Barrier("second();"))
    assert steps.in_order() == [Step("a"), Step("b"), Barrier("first(); second();"), Step("c")]
