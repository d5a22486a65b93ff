"""Tests of single networks on a zoo's networks: a row a network and test, kept as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import RunnableGraphs
from zoovet.files import atomic_path
from zoovet.images import Images
from zoovet.networks import fold_batch_norms
from zoovet.printable import printable
from zoovet.rivals.single_network import SingleNetworkTest
from zoovet.zoo import Zoo

__all__ = ["ReferenceChoice", "kept_scores", "score_networks"]

_SCHEMA = pa.schema(
    {
        "network_id": pa.string(),
        "test": pa.string(),
        "score": pa.float64(),
        "p_value": pa.float64(),
        "target": pa.int64(),
        "seconds": pa.float64(),
        "note": pa.string(),
    }
)
_SETTINGS = b"settings"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReferenceChoice:
    """Which images tests are given.

    Attributes:
        images_per_class: Of the images that the networks were not trained on; 0 for none at all.
        labelled: Whether tests are told their classes.
        seed: Of which.

    Raises:
        ZoovetError: A number below 0.
    """

    images_per_class: int = 6
    labelled: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.images_per_class, self.seed) < 0:
            raise ZoovetError(
                f"images_per_class and seed must be at least 0, got {self.images_per_class} and {self.seed}"
            )

    def of(self, images: Images) -> Images:
        """Drawn images, the same number of every class where there are as many."""
        order = np.random.default_rng(self.seed).permutation(len(images))
        labels = images.required_labels.numpy()[order]
        rows = np.concatenate([order[labels == label][: self.images_per_class] for label in np.unique(labels)])
        return images[torch.from_numpy(np.sort(rows))]


def score_networks(
    zoo: Zoo,
    images: Mapping[str, Images],
    tests: Mapping[str, SingleNetworkTest],
    out: Path,
    *,
    reference: ReferenceChoice | None = None,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> None:
    """Put tests to all networks of a zoo; what ``out`` holds already is kept and not done again.

    A network is given by its row: its graph with its input scaling, its weights, and the images that its ``dataset``
    names. Batch norms are folded, which changes no answer. A test that refuses a network gives a row without a score,
    whose note says why. Seconds are the processor's. The file is written anew after each network, whole.

    Args:
        zoo: The networks.
        images: A row's ``dataset`` → labelled images that its network was not trained on.
        tests: By the name that rows call them.
        out: A Parquet file: ``network_id``, ``test``, ``score``, ``p_value``, ``target``, ``seconds``, ``note``.
        reference: Which images tests are given.
        progress: Told how many networks are done, and how many there are.

    Raises:
        ZoovetError: A dataset's images are not given, or ``out`` holds scores of other settings.
    """
    reference = reference or ReferenceChoice()
    datasets = sorted(set(zoo.column("dataset").tolist()))
    if missing := [name for name in datasets if name not in images]:
        raise ZoovetError(f"images of {missing[0]!r}, which networks of {zoo.path} read, are not given")
    chosen = {name: reference.of(images[name]) for name in datasets if reference.images_per_class}
    settings = {"reference": repr(reference), "zoo": str(zoo.recipe.get("seed")), "tests": _in_words(tests)}
    rows, settings = _kept(out, settings)
    done = {(row["network_id"], row["test"]) for row in rows}
    for place, name in enumerate(zoo.column("network_id")):
        left = [test for test in tests if (name, test) not in done]
        if left:
            some = chosen.get(zoo.column("dataset")[place])
            found = _scores(zoo, place, {test: tests[test] for test in left}, some, reference)
            rows += [{"network_id": name, **row} for row in found]
            _write(out, rows, settings)
        progress(place + 1, len(zoo))


def _scores(
    zoo: Zoo, place: int, tests: Mapping[str, SingleNetworkTest], images: Images | None, reference: ReferenceChoice
) -> list[Row]:
    network = RunnableGraphs(fold_batch_norms(zoo.networks([place])))
    pixels = None if images is None else images.pixels
    labels = None if images is None or not reference.labelled else images.required_labels
    rows = []
    for name, test in tests.items():
        start, row = time.process_time(), dict[str, Any](test=name)
        try:
            result = test.test(network, pixels, labels)
            row |= {"score": result.score, "p_value": result.p_value, "target": result.target}
            row["note"] = "; ".join(result.notes) or None
        except ZoovetError as error:
            row["note"] = printable(str(error))
        rows.append(row | {"seconds": time.process_time() - start})
    return rows


def _in_words(tests: Mapping[str, SingleNetworkTest]) -> dict[str, str]:
    return {name: repr(test) for name, test in tests.items()}


def kept_scores(out: Path) -> list[Row]:
    """The rows that a file of scores holds; none where there is no file.

    Raises:
        ZoovetError: It holds something else.
    """
    return _read(out)[0] if out.exists() else []


def _kept(out: Path, settings: dict[str, Any]) -> tuple[list[Row], dict[str, Any]]:
    """The rows that a file holds, and its settings with the new tests beside the earlier ones."""
    if not out.exists():
        return [], settings
    rows, earlier = _read(out)
    tests = {**earlier["tests"], **settings["tests"]}
    if {**earlier, "tests": tests} != {**settings, "tests": {**settings["tests"], **earlier["tests"]}}:
        raise ZoovetError(f"{out} holds scores of other settings; give another file, or remove it")
    return rows, {**settings, "tests": tests}


def _read(out: Path) -> tuple[list[Row], dict[str, Any]]:
    """Rows and settings of a file."""
    try:
        table = pq.read_table(out)
        settings: dict[str, Any] = json.loads((table.schema.metadata or {})[_SETTINGS])
        return table.cast(_SCHEMA).to_pylist(), settings
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ZoovetError(f"{out} holds no scores of single-network tests; give another file") from error


def _write(out: Path, rows: Sequence[Row], settings: dict[str, Any]) -> None:
    schema = _SCHEMA.with_metadata({_SETTINGS: json.dumps(settings).encode()})
    with atomic_path(out) as path:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
