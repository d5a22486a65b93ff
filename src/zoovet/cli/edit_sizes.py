"""``python -m zoovet.cli.edit_sizes NAME ZOO``: by how much a model's repairer usually changes weights.

For repairers of earlier versions, whose checkpoints do not say it: measured and stored there. ZOO is best the one that
the repairer was trained on, or one of the same recipe; its test networks are not read. The repairer's weights stay as
they are; the card says what it rests on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from zoovet import shipped
from zoovet.cli.model_card import EDIT_SIZES_SENTENCE, edit_sizes_in_words
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path, write_text
from zoovet.printable import printable
from zoovet.tasks import TrainedRepairer
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.edit_sizes import EditSize, edit_sizes_to_json, scale_free_changes
from zoovet.tasks.population import load_populations
from zoovet.zoo import Zoo

__all__ = ["main", "store_edit_sizes"]

_LIMITS = "## Limits\n"


def store_edit_sizes(name: str, zoo: Zoo, *, models: Path | None = None) -> str:
    """Measure on a zoo's training and validation networks, store in the repairer's checkpoint, say it in the card.

    Args:
        name: The model's.
        zoo: Networks that the repairer reads.
        models: Another folder of models than the package's own.

    Returns:
        What the card says.

    Raises:
        ZoovetError: There is no such model or it has no repairer, the networks are none that it reads, or the card has
            no section for it.
    """
    path, card = shipped.file_of(name, "repairer", models), shipped.card(name, models)
    repairer, checkpoint = TrainedRepairer.load(path), load_checkpoint(path, "repairer")
    changes: dict[object, list[torch.Tensor]] = {}
    for population in load_populations(zoo):
        for networks in population.batch(torch.arange(len(population))).networks:
            changes.setdefault(networks.graph, []).append(scale_free_changes(networks, repairer.repair(networks)))
    found = {graph: EditSize.of(torch.cat(changes[graph])) for graph in repairer.graphs if graph in changes}
    sizes = {graph: size for graph, size in found.items() if size is not None}
    described = replace(checkpoint, description=checkpoint.description | edit_sizes_to_json(sizes, repairer.graphs))
    recipe = {key: zoo.recipe.get(key) for key in ("num_bases", "seed")}
    words = (
        f"{edit_sizes_in_words(described)} That was measured afterwards, on training and validation networks of a zoo "
        f"with num_bases {recipe['num_bases']} and seed {recipe['seed']}."
    )
    text = _without_earlier(card.read_text(encoding="utf-8"))
    if text.count(_LIMITS) != 1:
        raise ZoovetError(f"{card} has no section {_LIMITS.strip()!r}, before which the edits' sizes belong")
    with atomic_path(path) as temporary:
        temporary.write_bytes(described.to_bytes())
    write_text(card, text.replace(_LIMITS, f"{words}\n\n{_LIMITS}"))
    return words


def _without_earlier(card: str) -> str:
    """A card without the paragraph that says what was measured before."""
    paragraphs = card.split("\n\n")
    return "\n\n".join(text for text in paragraphs if not text.startswith(EDIT_SIZES_SENTENCE))


def main(words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m zoovet.cli.edit_sizes", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="the model's, such as fashion-mnist-small-cnn")
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="networks as the repairer was trained on")
    parser.add_argument("--models", type=Path, default=shipped.folder(), help="folder of models; the package's own")
    arguments = parser.parse_args(words)
    try:
        print(store_edit_sizes(arguments.name, Zoo.open(arguments.zoo), models=arguments.models))
    except (ZoovetError, OSError) as error:
        print(f"error: {printable(error, 2000)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
