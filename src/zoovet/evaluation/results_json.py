"""``python -m zoovet.evaluation.results_json REPORT... --out docs/results.json``: figures of reports in one small file.

Takes the headline figure of every model from the ``figures.json`` of each report. A block of the file is replaced as a
whole by the reports that hold it, which together make one comparison; blocks that no report holds stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.files import write_json
from zoovet.json_files import read_json_object

__all__ = ["HEADLINES", "main", "merge_results", "results_of"]

HEADLINES = {"inr_classification": "accuracy", "inr_editing": "mse", "generalization": "tau"}
"""Blocks of ``figures.json`` that the file takes over, and the figure of a model that it states."""

_NOT_MODELS = ("num_test", "command")

Block = dict[str, Any]


def results_of(reports: Sequence[Path]) -> dict[str, Block]:
    """The blocks that some reports hold together.

    Args:
        reports: Folders that ``zoovet evaluate`` wrote.

    Returns:
        By the name of a block: each model's headline figure by its key (for ``inr_editing`` also ``nothing``),
        ``num_test``, the number of test networks, and ``command``, what makes the same again.

    Raises:
        ZoovetError: A report is missing, damaged or has none of the blocks, or two disagree on a model or on the number
            of test networks.
    """
    blocks: dict[str, Block] = {}
    for report in reports:
        found = _blocks_of(report)
        if not found:
            raise ZoovetError(f"{report / 'figures.json'} has none of the blocks {', '.join(HEADLINES)}")
        for name, block in found.items():
            blocks[name] = _joined(blocks[name], block, name, report) if name in blocks else block
    return blocks


def merge_results(path: Path, blocks: Mapping[str, Block]) -> None:
    """Put blocks into a JSON file, atomically, beside those of other names that it holds; made where missing.

    Raises:
        ZoovetError: The file is no JSON object.
    """
    before: Any = {}
    if path.exists():
        before = read_json_object(path)
    write_json(path, {**before, **blocks})


def main(words: Sequence[str] | None = None) -> None:
    """Run as a command; a user's mistake ends it with status 2."""
    parser = argparse.ArgumentParser(prog="python -m zoovet.evaluation.results_json", description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="folder of a report")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to put the figures into")
    arguments = parser.parse_args(words)
    try:
        merge_results(arguments.out, results_of(arguments.reports))
    except (ZoovetError, OSError) as error:
        parser.error(str(error))


def _blocks_of(report: Path) -> dict[str, Block]:
    path = report / "figures.json"
    figures = read_json_object(path, missing=f"{path} does not exist; give a folder that `zoovet evaluate` wrote")
    try:
        return {
            name: {
                **{key: model[headline] for key, model in figures[name]["models"].items()},
                **({"nothing": figures[name]["nothing"][headline]} if "nothing" in figures[name] else {}),
                "num_test": figures[name]["num_networks"],
                "command": " && ".join(figures["commands"]),
            }
            for name, headline in HEADLINES.items()
            if name in figures
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ZoovetError(f"{path} is not as zoovet writes it: {error!r}") from error


def _joined(one: Block, other: Block, name: str, report: Path) -> Block:
    """Two reports' parts of one comparison."""
    for key in sorted(one.keys() & other.keys() - {"command"}):
        if one[key] != other[key]:
            raise ZoovetError(
                f"{report} has {other[key]} as {key} of {name}, another report {one[key]}; they are no one comparison"
            )
    command = one["command"] if one["command"] == other["command"] else f"{one['command']} && {other['command']}"
    models = {key: value for block in (one, other) for key, value in block.items() if key not in _NOT_MODELS}
    return {**models, "num_test": one["num_test"], "command": command}


if __name__ == "__main__":
    main()
