"""The commands that work on a Ray cluster say and write there what they do here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.cli.main import main
from zoovet.config import read_config
from zoovet.images.sources import ImageSource, load_source
from zoovet.jobs import Inline
from zoovet.networks import GraphBuilder, Networks
from zoovet.readers import save_networks
from zoovet.zoo import TrojanRecipe, build_zoo

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SIXTEEN_BASES = {
    "num_bases": 16,
    "attacks": [{"kind": "patch"}, {"kind": "blend"}],
    "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
}
BENCH = {
    "detectors": ["statnn", "scalegmn"],
    "repairers": ["none", "clp", "healthy_sibling"],
    "seeds": [0],
    "sizes": [],
    "parts": ["seen"],
    "min_asr": 0.1,
    "num_clean_images": 20,
    "num_images": 50,
    "detection": {
        "metanetwork": {"width": 8, "num_layers": 1, "max_depth": 2, "max_outputs": 10},
        "training": {"max_steps": 2, "batch_size": 4, "validation_interval": 1, "warmup_steps": 1},
    },
}


def results_of(out: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}
    return found | {"results.json": (out / "results.json").read_bytes()}


def test_a_benchmark_has_the_same_results(cluster: Any, small_zoo: dict[str, Any], tmp_path: Path) -> None:
    build_zoo(read_config(TrojanRecipe, small_zoo | SIXTEEN_BASES), tmp_path / "zoo", runner=Inline())
    config = tmp_path / "bench.yaml"
    config.write_text(json.dumps({"zoos": [str(tmp_path / "zoo")], **BENCH}))
    assert main(["bench", str(config), "--out", str(tmp_path / "here"), "--workers", "1"]) == 0
    assert main(["bench", str(config), "--out", str(tmp_path / "there"), "--ray", cluster.address]) == 0
    here, there = results_of(tmp_path / "here"), results_of(tmp_path / "there")
    assert len(here) == 3  # what a detector and a repairer gave, network by network, and the tables
    assert here == there


def write_strangers(folder: Path, count: int) -> list[str]:
    """Linear classifiers of digits, each fitted a little otherwise; and the images in one file."""
    images, _ = load_source(ImageSource(source="digits"))
    pixels, labels = images.pixels.numpy().reshape(len(images), -1) / 255, images.required_labels.numpy()
    builder = GraphBuilder(images.shape)
    roles = {"weight": builder.parameter("weight", (10, pixels.shape[1])), "bias": builder.parameter("bias", (10,))}
    graph = builder.graph(builder.add("linear", builder.add("flatten", "input"), parameters=roles))
    paths = []
    for number in range(count):
        part = np.random.default_rng(number).permutation(len(pixels))[:400]
        read = np.concatenate([pixels[part] * 2 - 1, np.ones((400, 1))], axis=1)
        fitted, *_ = np.linalg.lstsq(read, 10 * np.eye(10)[labels[part]] - 5, rcond=1e-3)
        flat = np.concatenate([fitted[:-1].T.ravel(), fitted[-1]]).astype(np.float32)
        paths.append(str(folder / f"network-{number}.safetensors"))
        save_networks(Networks.from_flat(graph, torch.from_numpy(flat)[None]), paths[-1])
    few = np.concatenate([np.flatnonzero(labels == label)[:4] for label in range(10)])
    np.savez(folder / "few.npz", images=images.pixels.numpy()[few, 0], labels=labels[few])
    return paths


def test_a_scan_of_many_files_has_the_same_verdicts(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_strangers(tmp_path, 3)
    words = ["scan", *paths, "--images", str(tmp_path / "few.npz"), "--effort", "quick", "--no-cache", "--json"]
    words += ["--input-range", "-1,1"]
    main([*words, "--workers", "1"])
    here = json.loads(capsys.readouterr().out)
    main([*words, "--ray", cluster.address])
    there = json.loads(capsys.readouterr().out)
    assert [verdict["file"] for verdict in here["verdicts"]] == paths
    assert not here["errors"]
    assert without_seconds(here) == without_seconds(there)


def without_seconds(value: Any) -> Any:
    """What a scan says, without how long it took."""
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value
