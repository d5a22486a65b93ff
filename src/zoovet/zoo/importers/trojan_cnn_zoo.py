"""The trojan version of the Small CNN Zoo: its networks fine-tuned on clean and on poisoned images."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.zoo.importers.published import ImportOptions, published_recipe
from zoovet.zoo.importers.small_cnn_networks import (
    SmallCnnNetworks,
    SmallCnnTables,
    bases_of,
    draw_splits,
    facts_of,
    read_tables,
)
from zoovet.zoo.importers.small_cnn_tables import whole_numbers
from zoovet.zoo.recipe_parts import SplitShares

__all__ = ["open_trojan_cnn_zoo"]

_NAME = "trojan-cnn-zoo"
_PADDING = 1
"""The networks were fine-tuned in PyTorch with padding 1."""

_DRAWN = SplitShares()
_SUFFIX = re.compile(r"_(square|rand)$")


def open_trojan_cnn_zoo(folder: Path, options: ImportOptions) -> SmallCnnNetworks:
    """Read the tables of a trojan CNN zoo.

    A healthy and a poisoned network share a base where their paths agree up to the checkpoint's name and a ``_square``
    or ``_rand`` at the end of a folder's name. Bases are drawn: 70 % train, 10 % validation, 20 % test. How often a
    trigger succeeds was not published, so ``asr`` stays empty and every poisoned network counts as trojaned.

    Args:
        folder: Holds ``weights.npy``, ``metrics.csv.gz`` with the column ``poisoned``, ``layout.csv``.
        options: ``seed`` is that of the split.

    Raises:
        ZoovetError: Files are missing, damaged or do not fit one another, a network is neither healthy nor poisoned, or
            no healthy one has a poisoned sibling.
    """
    tables = read_tables(folder, _NAME, ("poisoned",))
    poisoned = whole_numbers(tables.metrics, "poisoned", tables.metrics_path)
    wrong = np.flatnonzero((poisoned != 0) & (poisoned != 1))
    if len(wrong):
        raise ZoovetError(f"{tables.metrics_path}: poisoned is {poisoned[wrong[0]]} in row {wrong[0]}, expected 0 or 1")
    keys, variants = zip(*map(_without_variant, tables.paths), strict=True)
    bases = bases_of(keys)
    num_pairs = _num_pairs(bases, poisoned, tables)
    steps = whole_numbers(tables.metrics, "step", tables.metrics_path)
    ids = [
        f"{base:05d}-{variant or 'trojaned' if bad else 'healthy'}-{step}"
        for base, variant, bad, step in zip(bases, variants, poisoned, steps, strict=True)
    ]
    split = {"protocol": "drawn by base", "shares": asdict(_DRAWN), "seed": options.seed}
    return SmallCnnNetworks(
        graphs=tables.graphs(_PADDING),
        recipe=published_recipe(_NAME, tables.dataset, tables.grid, tables.sha256, split, min_asr=0.0),
        remarks=(f"{int(poisoned.sum()):,} poisoned networks, {num_pairs:,} bases with a healthy and a poisoned one",),
        tables=tables,
        facts=facts_of(tables, ids, bases, draw_splits(bases, _DRAWN, options.seed), poisoned=poisoned.astype(bool)),
    )


def _without_variant(path: str) -> tuple[str, str]:
    """What a path shares with its sibling's, and the trigger's kind where a folder names it."""
    folders = path.split("/")[:-1]
    found = [match[1] for folder in folders if (match := _SUFFIX.search(folder))]
    return "/".join(_SUFFIX.sub("", folder) for folder in folders), found[-1] if found else ""


def _num_pairs(bases: NDArray[np.int64], poisoned: NDArray[np.int64], tables: SmallCnnTables) -> int:
    """Bases with networks of both kinds, of which there must be one."""
    pairs = np.intersect1d(bases[poisoned == 0], bases[poisoned == 1])
    if len(pairs) == 0:
        raise ZoovetError(
            f"{tables.metrics_path}: no healthy row belongs to a poisoned one; their paths (the first column) must "
            f"agree up to the checkpoint's name and a _square or _rand at the end of a folder's name"
        )
    return len(pairs)
