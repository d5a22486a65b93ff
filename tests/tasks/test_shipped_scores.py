"""What the shipped detectors and repairers make of some networks stays what it was.

The networks are drawn at random, and such that rounding hardly moves what is sought in them: in double precision their
logits differ by less than 1e-6. ``shipped_scores.json`` was written when evidence was still computed inside the
metanetworks: logits before calibration, and for each edit before the refit its length and its product with one vector.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoovet.networks import Graph, Networks
from zoovet.tasks import Detector, TrainedRepairer

PINNED: dict[str, Any] = json.loads(Path(__file__).with_name("shipped_scores.json").read_text())
PROBABILITY_TOLERANCE = 1e-5


def drawn(graph: Graph, count: int) -> Networks:
    """Random networks of a graph."""
    generator = np.random.default_rng(3)

    def draw(shape: tuple[int, ...], size: float) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal((count, *shape)) * size).float()

    weights = [draw(shape, 0.7 * math.sqrt(2 / math.prod(shape[1:]))) for shape in graph.chain.weight_shapes]
    biases = [draw(shape, 0.1) for shape in graph.chain.bias_shapes]
    return Networks.from_layers(graph, tuple(weights), tuple(biases)).with_scaling("symmetric")


def test_shipped_models_say_what_they_said() -> None:
    for name, pinned in PINNED.items():
        detector, repairer = Detector.shipped(name), TrainedRepairer.shipped(name)
        batches = [drawn(graph, 2) for graph in detector.graphs]
        scores = detector.score(batches)
        wanted = torch.tensor(pinned["logits"])
        torch.testing.assert_close(scores, detector.calibration(wanted), atol=PROBABILITY_TOLERANCE, rtol=0)
        edits = [
            after.flat() - before.flat()
            for before, after in zip(batches, repairer.editor.changed(batches).edited, strict=True)
        ]
        vector = torch.from_numpy(np.random.default_rng(5).standard_normal(edits[0].shape[1])).float()
        found = torch.cat([torch.stack([edit.norm(dim=1), edit @ vector], dim=1) for edit in edits])
        torch.testing.assert_close(found, torch.tensor(pinned["edits"]), atol=1e-4, rtol=1e-4)
