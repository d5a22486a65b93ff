"""``python -m zoovet.cli.ship_strangers RUN``: make a run the detector for strangers that comes with the package.

Puts its checkpoint into ``zoovet/shipped/strangers``, or ``strangers-without-images`` where it was trained without, and
writes the card, from what the run says and from the figures of ``zoovet bench configs/bench/strangers.yaml``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoovet import shipped
from zoovet.cli.ship import packed
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path, require_writable_folder, write_text
from zoovet.json_files import read_json_object
from zoovet.printable import printable
from zoovet.tasks.checkpoints import Checkpoint, load_checkpoint
from zoovet.tasks.strangers.detector import KIND

__all__ = ["main", "ship_strangers", "stranger_card"]

_LEFT_OUT = {"dataset": "image set", "family": "architecture family", "recipe": "recipe", "attack": "attack"}


def ship_strangers(run: Path, *, models: Path, figures: Mapping[str, Any] | None = None) -> Path:
    """Put a run's detector into the folder of models; the one that is there is replaced.

    Args:
        run: Folder of a finished run.
        models: Folder of models.
        figures: The ``results.json`` of ``zoovet bench configs/bench/strangers.yaml``, for the card.

    Returns:
        The detector's file.

    Raises:
        ZoovetError: The run is none of a detector for strangers, or its checkpoint is damaged.
    """
    checkpoint = load_checkpoint(run, KIND)
    file = shipped.stranger_detector_place(models, with_images=checkpoint.get("config")["images_per_class"] > 0)
    folder = require_writable_folder(file.parent)
    with atomic_path(file) as temporary:
        temporary.write_bytes(packed(replace(checkpoint, tensors=dict(checkpoint.tensors))))
    write_text(folder / shipped.CARD_NAME, stranger_card(checkpoint, figures))
    return file


def stranger_card(checkpoint: Checkpoint, figures: Mapping[str, Any] | None) -> str:
    """The card: Markdown."""
    networks: Mapping[str, Mapping[str, int]] = checkpoint.get("networks")
    per_class = checkpoint.get("config")["images_per_class"]
    rests_on = f"a few reference images (here {per_class} a class)" if per_class else "images that it makes itself"
    seen = "\n".join(
        f"- by {_LEFT_OUT[name]}: " + ", ".join(f"{kind} {count}" for kind, count in counts.items())
        for name, counts in networks.items()
    )
    limit = (
        "It needs reference images of the kind that the network reads. Without them another detector is asked, which "
        "tells less."
        if per_class
        else "It is asked where nobody gives reference images. Give some: they tell more."
    )
    return f"""# Detector for strangers{"" if per_class else ", without reference images"}

Tells whether a network carries a trojan, and towards which class, from what happens when it is run: for each class
triggers of several kinds are sought on {rests_on}. It reads no weights, so it
answers for any graph.

## What it learned from

{checkpoint.get("num_networks")} networks of a park (`configs/zoo/park.yaml`), healthy and trojaned siblings:

{seen}

## How good it is

Of networks whose image set was left out of training, by how much was sought (`--effort`):

{_by_effort(checkpoint)}

{_tables(figures)}
## Limits

- The park is small so far: rates of false alarms below one of its healthy networks and one are extrapolated.
- Rates of false alarms were measured for each effort, and as many images as above; with others they are not known, only
  likely to be near. Networks had 10 to 16 classes; thresholds of fewer
  than 8 classes are those of the same networks, cut to 2, 3 or 5 of their classes. Of more than 20 only some are
  examined.
- {limit}
- It looks for one target of every image, and for a square or noise that makes each class another. Trojans that work on
  images of one class only are hardly told, and one that makes each class another is not told among fewer than 8.
- An attacker who trains against such searches hides most of what is found (`benchmarks/adaptive_attacker.py`).
"""


def _by_effort(checkpoint: Checkpoint) -> str:
    found: Mapping[str, Mapping[str, float]] = checkpoint.get("validation_by_effort")
    keys = ("auc_image_set_left_out", "tpr_at_5_percent", "target_named")
    lines = ["| effort | AUC | found at 5 % of false alarms | target named, of all trojaned |", "|---|---|---|---|"]
    return "\n".join(
        [
            *lines,
            *(
                f"| {name} | {own[keys[0]]:.3f} | {own[keys[1]]:.2f} | {own[keys[2]]:.2f} |"
                for name, own in found.items()
            ),
        ]
    )


def _tables(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ""
    lines = ["| left out | asked | networks | AUC (95 %) | greatest standing alone |", "|---|---|---|---|---|"]
    for name, table in figures["tables"].items():
        by, which = name.split(", ")
        found = table["all"]
        ours, alone = ("{auc:.3f} ({low:.3f} to {high:.3f})".format(**found[key]) for key in ("logit", "greatest"))
        lines.append(f"| one {_LEFT_OUT[by]} | {which} | {found['networks']} | {ours} | {alone} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m zoovet.cli.ship_strangers", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="results.json of a benchmark of strangers")
    parser.add_argument("--models", type=Path, default=shipped.folder(), help="folder of models; the package's own")
    arguments = parser.parse_args(words)
    try:
        figures = None if arguments.figures is None else read_json_object(arguments.figures)
        file = ship_strangers(arguments.run, models=arguments.models, figures=figures)
    except (ZoovetError, OSError, ValueError) as error:
        print(f"error: {printable(error, 2000)}", file=sys.stderr)
        return 2
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
