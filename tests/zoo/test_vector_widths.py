"""On processors with narrower vectors the compiled trainers compute the same, dropout's draws included."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zoovet.networks import small_cnn
from zoovet.zoo.native import compile_chain, compile_graph
from zoovet.zoo.samples import Floats, OptimizerMemory, Samples, Schedule
from zoovet.zoo.training import initial_weights

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not shutil.which("gcc"), reason="needs gcc's switches for x86"
)
GRAPH = small_cnn("leaky_relu", input_shape=(3, 11, 9), channels=(20, 16))


def trained_as_a_chain() -> Floats:
    """By a trainer that is compiled anew."""
    trainer = compile_chain.__wrapped__(GRAPH)
    flat = trainer.pack(initial_weights(GRAPH, "he", 0.1, np.random.default_rng(1)))
    return trainer.unpack(trained(trainer, flat))


def trained_as_a_graph() -> Floats:
    """The same by the trainer of any graph."""
    trainer = compile_graph.__wrapped__(GRAPH, drops=True)
    return trained(trainer, initial_weights(GRAPH, "he", 0.1, np.random.default_rng(1)))


def trained(trainer: Any, flat: Floats) -> Floats:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(60, *GRAPH.input_shape)).astype(np.float32)
    labels = generator.integers(GRAPH.num_outputs, size=60).astype(np.int32)
    samples = Samples(images, images[:0], np.arange(60, dtype=np.int32), labels)
    schedule = Schedule(optimizer="sgd", learning_rate=1e-2, weight_decay=1e-3, dropout=0.3, batch_size=20, epochs=1)
    trainer.train(flat, OptimizerMemory.fresh(flat), samples, schedule, 7)
    return flat


@pytest.mark.parametrize("way", [trained_as_a_chain, trained_as_a_graph])
def test_weights_are_the_same_with_vectors_of_eight_and_of_four(
    way: Callable[[], Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, ends = initial_weights(GRAPH, "he", 0.1, np.random.default_rng(1)), [way()]
    for switches in ("-mno-avx512f", "-mno-avx512f -mno-avx"):
        monkeypatch.setenv("CC", f"gcc {switches}")
        ends.append(way())
    moved = np.abs(ends[0] - start).max()
    assert moved > 1e-3
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-3 * moved)
