"""Keras' layers against what Keras 3.15 (torch backend) answered; the files and answers lie in one small archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.networks import run
from zoovet.readers.keras import read_keras

pytest.importorskip("h5py")
ARCHIVE = Path(__file__).parents[2] / "data" / "keras_layers.npz"
_MODELS = ("separable", "normalized", "activations", "nested", "reshaped", "first", "arithmetic")
"""``first`` has its channels first; ``nested`` has models within models, and a layer that is used twice."""
_OF_PIXELS = ("normalized", "arithmetic")
"""What reads pixels of 0 to 255. The mean and deviation of ``normalized``, 1 to 4, do not tell it: it stays open."""


@pytest.fixture(scope="module")
def archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE) as file:
        return dict(file)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("name", _MODELS)
def test_it_answers_as_keras_does(tmp_path: Path, archive: dict[str, np.ndarray], name: str, ending: str) -> None:
    path = tmp_path / f"model.{ending}"
    path.write_bytes(archive[f"{name}_{ending}"].tobytes())
    networks = read_keras(path).networks
    scaling, pixels = networks.graph.input_scaling, torch.from_numpy(archive["images"]).permute(0, 3, 1, 2)
    assert (scaling is not None) == (name == "arithmetic")
    unscaled = pixels.float() if name in _OF_PIXELS else pixels / 64 - 2
    answers = run(networks, unscaled if scaling is None else scaling.apply(pixels))[0]
    expected = torch.from_numpy(archive[name])
    assert float((answers - expected).abs().max() / expected.abs().max()) < 1e-5
    assert float(expected.std(dim=0).min()) > 0
