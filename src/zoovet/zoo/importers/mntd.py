"""The shadow and target networks of MNTD (Xu et al. 2021, "Detecting AI Trojans Using Meta Neural Analysis")."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from zoovet.printable import printable
from zoovet.zoo.importers.network_files import NetworkFiles, networks_in_files, weight_files
from zoovet.zoo.importers.published import ImportOptions, MissingPartError

__all__ = ["open_mntd"]

_NAME = "mntd"
_FILE = re.compile(r"(shadow|target)_(benign|jumbo|troj([A-Za-z]*))_(\d+)\.model")
_ATTACKS = {"M": "patch", "B": "blend"}
_VALIDATED = 9
"""One shadow network of so many validates: 256 of 2,304."""


def open_mntd(folder: Path, options: ImportOptions) -> NetworkFiles:
    """List the files that the released training scripts write, and read every one's graph.

    Files are ``shadow_benign_N.model``, ``shadow_jumbo_N.model`` (trojaned, each with an attack of its own),
    ``target_benign_N.model`` and ``target_trojM_N.model`` (patch) or ``target_trojB_N.model`` (blended). Targets test;
    of the shadow networks of a kind the last ninth validates, as published. Their triggers were not kept in files.

    Args:
        folder: Holds them, or a folder ``models`` that does.
        options: ``read`` reads a file; ``dataset`` names the images.

    Raises:
        ZoovetError: There are no such files, or one cannot be read.
    """
    found = [(path, match) for path in weight_files(folder) if (match := _FILE.fullmatch(PurePosixPath(path).name))]
    if not found:
        raise MissingPartError(f"{printable(folder)} holds no shadow_benign_N.model, shadow_jumbo_N.model, target_…")
    found.sort(key=lambda one: (one[1][1], one[1][2], int(one[1][4]), one[0]))
    counts = Counter((match[1], match[2]) for _, match in found)
    seen: Counter[tuple[str, str]] = Counter()
    rows: list[dict[str, Any]] = []
    for path, match in found:
        kind = (match[1], match[2])
        is_last = seen[kind] >= counts[kind] - counts[kind] // _VALIDATED
        seen[kind] += 1
        row: dict[str, Any] = {"source": path, "poisoned": match[2] != "benign"}
        row["split"] = "test" if match[1] == "target" else "validation" if is_last else "train"
        if attack := _ATTACKS.get(match[3] or ""):
            row["attack"] = attack
        rows.append(row)
    return networks_in_files(_NAME, folder, rows, options)
