"""``python -m zoovet.cli.ship DETECTOR REPAIRER --name NAME``: make finished runs a model that comes with the package.

Puts both checkpoints into ``zoovet/shipped/NAME`` and writes the model's card from what they and their zoo say, and
from the ``figures.json`` of their evaluation. All models together stay within 10 MB.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from zoovet import shipped
from zoovet.cli.model_card import model_card
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path, require_writable_folder, write_text
from zoovet.json_files import read_json_object, typed_value
from zoovet.printable import printable
from zoovet.tasks.checkpoints import Checkpoint, load_checkpoint
from zoovet.tasks.vetting import distribution_of, graphs_of

__all__ = ["main", "packed", "ship"]


def ship(runs: dict[str, Path], name: str, *, models: Path, figures: dict[str, Any] | None = None) -> Path:
    """Make a model of finished runs; one that is there under the name is replaced.

    Args:
        runs: Folders by what they hold: ``detector``, ``repairer``.
        name: The model's: lower-case words and hyphens.
        models: Folder of models.
        figures: What ``zoovet evaluate`` measured of both, for the card.

    Returns:
        The model's folder.

    Raises:
        ZoovetError: A run is not finished, knows no in-distribution score, or was trained on other graphs than the
            other one; the name is malformed; or the models would be larger than 10 MB together.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ZoovetError(f"a model's name is lower-case words and hyphens, such as 'cifar10-small-cnn'; got {name!r}")
    checkpoints = {kind: _finished(run, kind) for kind, run in runs.items()}
    _require_same_graphs(checkpoints)
    contents = {f"{kind}.safetensors": packed(checkpoint) for kind, checkpoint in checkpoints.items()}
    card = model_card(name, checkpoints, figures)
    others = sum(path.stat().st_size for path in models.glob("*/*") if path.is_file() and path.parent.name != name)
    size = others + sum(map(len, contents.values())) + len(card.encode())
    if size > shipped.MAX_BYTES:
        raise ZoovetError(
            f"with {name!r} the models in {models} would take {size / 1e6:.1f} MB, and at most "
            f"{shipped.MAX_BYTES / 1e6:.0f} MB may be; train narrower metanetworks, or remove another model"
        )
    folder = require_writable_folder(models / name)
    for kind in shipped.KINDS:
        (folder / f"{kind}.safetensors").unlink(missing_ok=True)
    for file, content in contents.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(content)
    write_text(folder / shipped.CARD_NAME, card)
    return folder


def packed(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as a file, without the place where its zoo was.

    What the metanetwork has goes in half precision, which is off by a two-thousandth: that of images by less than a
    tenth of an 8-bit level. Reading makes it single precision again.
    """
    tensors = {name: _halved(tensor) for name, tensor in checkpoint.tensors.items()}
    zoo = dict(checkpoint.get("zoo"))
    description = {**checkpoint.description, "zoo": {**zoo, "path": Path(zoo["path"]).name}}
    return replace(checkpoint, tensors=tensors, description=description).to_bytes()


def _halved(tensor: Tensor) -> Tensor:
    """Numbers in half precision; whole numbers, and what half precision cannot hold, as they are."""
    half = tensor.half()
    return half if tensor.is_floating_point() and bool(half.isfinite().all()) else tensor


def _finished(run: Path, kind: str) -> Checkpoint:
    checkpoint = load_checkpoint(run, kind)
    path = run / "run.json"
    facts = read_json_object(path, missing=f"{run} is no run of `zoovet train`: it has no run.json")
    if not typed_value(facts, "finished", bool, str(path)):
        raise ZoovetError(f"the run {run} is not finished; the command that began it goes on")
    if distribution_of(checkpoint) is None:
        raise ZoovetError(f"{run} knows no in-distribution score, since an earlier zoovet trained it; train it again")
    return checkpoint


def _require_same_graphs(checkpoints: dict[str, Checkpoint]) -> None:
    first, *others = checkpoints.values()
    for other in others:
        if set(graphs_of(first)) != set(graphs_of(other)):
            raise ZoovetError(f"{first.path} and {other.path} were trained on networks of different graphs")


def main(words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m zoovet.cli.ship", description=__doc__)
    parser.add_argument("detector", type=Path, metavar="DETECTOR", help="run of a detector")
    parser.add_argument(
        "repairer", type=Path, metavar="REPAIRER", help="run of a repairer, on networks of the same graphs"
    )
    parser.add_argument("--name", required=True, help="the model's, such as fashion-mnist-small-cnn")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="figures.json of `zoovet evaluate` on both runs")
    parser.add_argument("--models", type=Path, default=shipped.folder(), help="folder of models; the package's own")
    arguments = parser.parse_args(words)
    try:
        figures = None if arguments.figures is None else read_json_object(arguments.figures)
        runs = {"detector": arguments.detector, "repairer": arguments.repairer}
        folder = ship(runs, arguments.name, models=arguments.models, figures=figures)
    except (ZoovetError, OSError, ValueError) as error:
        print(f"error: {printable(error, 2000)}", file=sys.stderr)
        return 2
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
