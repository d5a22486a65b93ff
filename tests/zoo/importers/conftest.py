"""Small replicas of the published datasets, in the form in which they were published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

HEADER = (
    ",config.activation,config.b_init,config.dataset,config.dnn_architecture,config.dropout,config.epochs,"
    "config.epochs_between_checkpoints,config.init_std,config.l2reg,config.learning_rate,config.num_layers,"
    "config.num_units,config.optimizer,config.random_seed,config.train_fraction,config.w_init,modeldir,step,"
    "test_accuracy,test_loss,train_accuracy,train_loss,laststep"
)
STEPS = (0, 1, 2, 3, 20, 40, 60, 80, 86)
LAYOUT = """varname,start_idx,end_idx,size,shape
sequential/conv2d/bias:0,0,16,16,"(16,)"
sequential/conv2d/kernel:0,16,160,144,"(3, 3, 1, 16)"
sequential/conv2d_1/bias:0,160,176,16,"(16,)"
sequential/conv2d_1/kernel:0,176,2480,2304,"(3, 3, 16, 16)"
sequential/conv2d_2/bias:0,2480,2496,16,"(16,)"
sequential/conv2d_2/kernel:0,2496,4800,2304,"(3, 3, 16, 16)"
sequential/dense/bias:0,4800,4810,10,"(10,)"
sequential/dense/kernel:0,4810,4970,160,"(16, 10)"
"""
NUM_PARAMETERS = 4970


def metrics_line(path: str, activation: str, step: int, accuracy: float, dataset: str = "cifar10") -> str:
    return (
        f"{path},{activation},zeros,{dataset},cnn,0.25,86,20,0.05,1e-06,0.003,3,16,adam,42,0.5,glorot_normal,"
        f"/somewhere/{path.rpartition('/')[0]},{step},{accuracy},1.5,{accuracy},1.25,86"
    )


def write_tables(folder: Path, lines: list[str], weights: np.ndarray[Any, Any], header: str = HEADER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "weights.npy", weights)
    (folder / "layout.csv").write_text(LAYOUT)
    with gzip.open(folder / "metrics.csv.gz", "wt") as file:
        file.write("\n".join([header, *lines]) + "\n")
    return folder


def random_weights(num_rows: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 0.2, (num_rows, NUM_PARAMETERS)).astype(np.float32)


def small_cnn_lines(num_networks: int) -> list[str]:
    """Nine checkpoints a network; the published rows are not sorted by step, but as text."""
    lines = []
    for network in range(num_networks):
        activation = "relu" if network % 2 else "tanh"
        for step in sorted(STEPS, key=str):
            path = f"cifar10/{network}/permanent_ckpt-{step}"
            lines.append(metrics_line(path, activation, step, 0.1 + step / 200 + network % 100 / 1000))
    return lines


@pytest.fixture
def small_cnn_zoo(tmp_path: Path) -> Path:
    """Ten networks with nine checkpoints each."""
    lines = small_cnn_lines(10)
    return write_tables(tmp_path / "cifar10", lines, random_weights(len(lines)))


@pytest.fixture
def split_file(tmp_path: Path) -> Path:
    """A permutation of 90 rows as NFN's files are: one column that pandas called 0."""
    path = tmp_path / "cifar10_split.csv"
    numbers = np.random.default_rng(5).permutation(90)
    path.write_text("0\n" + "".join(f"{number}\n" for number in numbers))
    return path


@pytest.fixture
def trojan_cnn_zoo(tmp_path: Path) -> Path:
    """Twelve healthy networks, and each of them poisoned, in another order."""
    lines = [
        metrics_line(f"data/cifar10/{network}/permanent_ckpt-1.pth", "relu", 1, 0.5) + ",0" for network in range(12)
    ]
    for network in reversed(range(12)):
        kind = "square" if network % 2 else "rand"
        lines.append(metrics_line(f"data/cifar10/{network}_{kind}/permanent_ckpt-1.pth", "relu", 1, 0.4) + ",1")
    return write_tables(tmp_path / "trojan", lines, random_weights(24), HEADER + ",poisoned")


StateDict = dict[str, Any]


def siren_state(channels: int = 1, seed: int = 0, template: str = "seq.{}.{}") -> StateDict:
    generator = torch.Generator().manual_seed(seed)
    sizes = (2, 32, 32, channels)
    state: StateDict = {}
    for layer in range(3):
        shape = (sizes[layer + 1], sizes[layer])
        state[template.format(layer, "weight")] = torch.randn(shape, generator=generator) / 30
        state[template.format(layer, "bias")] = torch.randn(shape[0], generator=generator) / 30
    return state


def flat_state(state: StateDict) -> np.ndarray[Any, Any]:
    return np.concatenate([tensor.numpy().ravel() for name, tensor in state.items() if name != "label"])


@pytest.fixture
def mnist_inr(tmp_path: Path) -> Path:
    """36 training networks, of which 3 validate by default, and 6 testing ones."""
    root = tmp_path / "mnist-inrs"
    for image in range(42):
        kind, index = ("training", image) if image < 36 else ("testing", image - 36)
        folder = root / f"mnist_png_{kind}_{image % 10}_{index}" / "checkpoints"
        folder.mkdir(parents=True)
        torch.save(siren_state(seed=image), folder / "model_final.pth")
    return root


@pytest.fixture
def fmnist_inr(tmp_path: Path) -> Path:
    """Eight networks with their labels in the weight files; paths as on the authors' machine."""
    root = tmp_path / "fmnist_inrs"
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for place, (split, name) in enumerate(
        [
            ("train", "train/model_20814.pth"),
            ("train", "train/model_938.pth"),
            ("train", "train/model_7.pth"),
            ("val", "train/model_14816.pth"),
            ("test", "test/model_7.pth"),
            ("test", "test/model_12.pth"),
        ]
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save({**siren_state(seed=place), "label": place}, root / name)
        splits[split].append(f"/cortex/data/fmnist_inrs/{name}")
    (root / "splits.json").write_text(json.dumps(splits))
    return root


@pytest.fixture
def cifar_inr(tmp_path: Path) -> Path:
    """Originals of all splits, two copies of each."""
    root = tmp_path / "siren_cifar_wts"
    for place, (index, label) in enumerate([(0, 3), (44_999, 1), (45_000, 3), (49_999, 2), (50_000, 1), (59_999, 0)]):
        for copy, name in enumerate(("", "aug0_", "aug11_")):
            folder = root / f"randinit_smaller_{name}{label}s"
            folder.mkdir(parents=True, exist_ok=True)
            state = siren_state(3, seed=10 * place + copy, template="net.{}.linear.{}")
            torch.save(
                {name.replace("2.linear", "2"): value for name, value in state.items()}, folder / f"net{index}.pth"
            )
    return root


@pytest.fixture
def make() -> SimpleNamespace:
    """What the replicas are made of, for tests that make their own."""
    return SimpleNamespace(
        header=HEADER,
        metrics_line=metrics_line,
        write_tables=write_tables,
        random_weights=random_weights,
        small_cnn_lines=small_cnn_lines,
        siren_state=siren_state,
        flat_state=flat_state,
    )
