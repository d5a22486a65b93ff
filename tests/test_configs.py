"""Every training configuration of ``configs/``: it is read, its model is built as it says, and two steps are trained.

The zoos are a handful of made-up networks on the digits; only the number of steps and the batch are made small.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoovet.cli.train_configs import TASKS, Place, task_config
from zoovet.config import read_config, read_yaml
from zoovet.images import PatchTrigger, load_dataset
from zoovet.networks import Graph, siren, small_cnn
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

ROOT = Path(__file__).parents[1]
CONFIGS = {str(path.relative_to(ROOT / "configs")): path for path in sorted((ROOT / "configs").rglob("*.yaml"))}
TRAININGS = {name: path for name, path in CONFIGS.items() if "task" in read_yaml(path)}
OF_METANETWORKS = [name for name, path in TRAININGS.items() if read_yaml(path)["task"] != "strangers"]
"""What Lightning trains; the detector for strangers is trained in ``tests/tasks/strangers``."""
TRAINED_HERE = ("detection.yaml", "repair.yaml", "generalization/cifar10-mixed-bidirectional.yaml")
TRAINED_HERE += ("inr-classification/mnist-forward.yaml", "inr-editing/mnist-dilation-bidirectional.yaml")
"""One of each task; those like them are trained by ``make test-slow``."""
SHORT: dict[str, Any] = {
    "training.max_steps": 2,
    "training.batch_size": 2,
    "training.warmup_steps": 0,
    "training.validation_interval": 2,
    "training.logger": "none",
}
SPLITS = ("train", "train", "validation", "validation")

Row = dict[str, Any]


def write_zoo(folder: Path, graphs: list[Graph], facts: Callable[[int, int], Row], recipe: Row) -> Path:
    """A zoo of 8 bases, 2 networks each; base k is of the graph k, over and over."""
    rows = []
    for base in range(8):
        graph = graphs[base % len(graphs)]
        for which in range(2):
            weights = np.random.default_rng([base, which]).normal(0, 0.3, graph.num_parameters)
            row: Row = {
                "network_id": f"{base:05d}-{which}",
                "base_id": base,
                "spec_id": graph.graph_id,
                "split": SPLITS[base // 2],
                "activation": graph.chain.layers[0].activation,
                "dataset": "digits",
                "weights": weights.astype(np.float32),
            }
            rows.append(row | facts(base, which))
    shard = write_shard(folder / "shard-00000.parquet", rows)
    by_id = {graph.graph_id: graph for graph in graphs}
    recipe = {"dataset": "digits", **recipe}
    ZooInfo(graphs=by_id, recipe=recipe, versions={}, num_shards=1, shards=(shard,)).write(folder)
    return folder


def trojan_facts(base: int, which: int) -> Row:
    trigger = PatchTrigger.of_size("white", 2, row=base % 6, col=base % 5, target=base % 10)
    poisoned = which == 1
    facts = {"trigger": json.dumps(trigger.to_json()), "target": trigger.target, "asr": 0.9 if poisoned else 0.05}
    return facts | {"poisoned": poisoned}


def accuracy_facts(base: int, which: int) -> Row:
    return {"step": 10 * (which + 1), "clean_accuracy": 0.1 + 0.05 * base + 0.02 * which}


def inr_facts(base: int, which: int) -> Row:
    return {"image_index": base, "copy": which, "label": int(load_dataset("digits", "train").labels[base])}


@pytest.fixture(scope="module")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A zoo for every kind of task."""
    cnns = [small_cnn(activation, input_shape=(1, 8, 8)) for activation in ("relu", "tanh")]
    inr_recipe = {"image_splits": ["train"], "image_size": [8, 8]}
    made = {name: tmp_path_factory.mktemp(name) for name in ("trojan", "generalization", "inr_gray", "inr_color")}
    write_zoo(made["trojan"], cnns, trojan_facts, {"kind": "trojan", "min_asr": 0.5})
    write_zoo(made["generalization"], cnns, accuracy_facts, {"kind": "generalization"})
    write_zoo(made["inr_gray"], [siren((2, 8, 8, 1))], inr_facts, inr_recipe)
    write_zoo(made["inr_color"], [siren((2, 8, 8, 3))], inr_facts, inr_recipe)
    return made


def holds(written: Any, given: Any) -> bool:
    """Whether everything that was given was written, groups in part."""
    if isinstance(given, dict):
        return all(key in written and holds(written[key], value) for key, value in given.items())
    return bool(written == given)


def zoo_for(name: str, task: str) -> str:
    if not task.startswith("inr_"):
        return "generalization" if task == "generalization" else "trojan"
    return "inr_color" if "cifar" in name else "inr_gray"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in TRAINED_HERE else pytest.mark.slow) for name in OF_METANETWORKS]
)
def test_a_configuration_trains_for_two_steps(name: str, zoos: dict[str, Path], tmp_path: Path) -> None:
    values = read_yaml(TRAININGS[name])
    task = TASKS[values["task"]]
    folder = zoos[zoo_for(name, values["task"])]
    overrides = SHORT | {"data.zoo": str(folder)}
    run = read_config(task.run, values, overrides, where=name)
    place = Place(out=tmp_path, device="cpu", data_root=None, progress=None)
    trained = task.train(task_config(run), run.data, Zoo.open(folder), place)
    assert trained.description["step"] == 2
    assert all(np.isfinite(figure) for figure in trained.description["validation"].values())
    written = read_yaml(tmp_path / "config.yaml")
    assert holds(written["metanetwork"], values["metanetwork"])
    kind = json.loads((tmp_path / "run.json").read_text())["kind"]
    tensors = load_checkpoint(tmp_path, kind).tensors.values()
    assert values["metanetwork"].get("width", 64) in {size for tensor in tensors for size in tensor.shape}


def test_one_configuration_of_each_task_is_trained_here() -> None:
    tasks = {read_yaml(TRAININGS[name])["task"] for name in TRAINED_HERE}
    assert tasks == {read_yaml(TRAININGS[name])["task"] for name in OF_METANETWORKS}


def test_the_released_experiments_are_all_here() -> None:
    directions = ("forward", "bidirectional")
    pictures = {
        f"inr-classification/{dataset}-{direction}.yaml"
        for dataset in ("mnist", "fmnist", "cifar10", "cifar10-aug")
        for direction in directions
    }
    edits = {f"inr-editing/mnist-dilation-{direction}.yaml" for direction in directions}
    accuracies = {
        f"generalization/{dataset}-{activation}-{direction}.yaml"
        for dataset in ("cifar10", "svhn")
        for activation in ("relu", "tanh", "mixed")
        for direction in directions
    }
    trojans = {f"{folder}{task}.yaml" for folder in ("", "patches/") for task in ("detection", "repair")}
    assert pictures | edits | accuracies | trojans <= TRAININGS.keys()
    for name in pictures | edits | accuracies:
        assert read_yaml(TRAININGS[name])["metanetwork"]["direction"] in Path(name).stem
    for name in accuracies:
        values, activation = read_yaml(TRAININGS[name]), Path(name).stem.split("-")[1]
        activations = ["relu", "tanh"] if activation == "mixed" else [activation]
        assert values["data"] == {"activations": activations, "checkpoints": "last"}
        assert values["metanetwork"]["symmetry"] == {"relu": "scale", "tanh": "sign"}.get(activation, "mixed")


def test_the_benchmark_trains_what_the_configurations_train() -> None:
    benchmark = read_yaml(CONFIGS["bench/trojan.yaml"])
    for task, name in (("detection", "detection.yaml"), ("repair", "repair.yaml")):
        assert {"task": task, **benchmark[task]} == read_yaml(CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_says_what_it_is_for_and_names_itself(name: str) -> None:
    text = CONFIGS[name].read_text(encoding="utf-8")
    assert text.startswith("# ")
    for verb, path in re.findall(r"^# +zoovet (\w+) (\S+)", text, flags=re.MULTILINE):
        assert verb in ("bench", "build", "train")
        assert path == f"configs/{name}"


@pytest.mark.parametrize("name", TRAININGS)
def test_no_training_ends_by_the_clock(name: str) -> None:
    run = read_config(TASKS[read_yaml(TRAININGS[name])["task"]].run, TRAININGS[name], {"data.zoo": "zoo"})
    assert name not in OF_METANETWORKS or run.training.max_minutes is None
