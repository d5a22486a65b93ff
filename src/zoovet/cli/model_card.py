"""model_card: what a shipped model was trained on, how good it is, and where it ends, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoovet.tasks.checkpoints import Checkpoint
from zoovet.tasks.edit_sizes import edit_sizes_of
from zoovet.tasks.vetting import distribution_of, graphs_of, scaling_of
from zoovet.zoo.store import ZooInfo

__all__ = ["EDIT_SIZES_SENTENCE", "edit_sizes_in_words", "model_card"]

EDIT_SIZES_SENTENCE = "The repairer's edits are refused where they"
"""How the paragraph on the sizes of a repairer's edits begins."""

_LIMITS = """\
- It knows networks of the graphs above, trained much as those of its zoo were. Each network gets an in-distribution
  score; `zoovet scan` calls one that is far from the training networks *unknown*, and `zoovet repair` refuses it. About
  1 % of networks like the training networks are called unknown too.
- They learnt from networks that read images scaled to [-1, 1]. Networks of another input scaling are run on the same
  images in theirs where it is said (`--input-range`, `--mean`, `--std`, `--scaling`, or in the file); where it is not,
  [-1, 1] is assumed, with a note, and what is said of a network of another scaling is worth nothing.
  A network whose scaling is far from that ([0, 255], say) is unknown.
- A high in-distribution score is no proof that a network is one of theirs: statistics of the weights and answers to a
  few patterns are compared, and small changes do not show.
- Attacks of families that are not in the zoo have not been measured; a low probability is no proof of health, and an
  attacker who knows the detector may train against it.
- A repair lowers the attack success rate on average, not of every network, and may cost accuracy.
- A repaired network is not like the training networks: many are *unknown* to `zoovet scan`, and some are still called
  trojaned though their trigger works no more. Measure a repaired network on images, if there are any."""

_IMAGE_TENSORS = ("inversion.known", "refit.images")

_TEST_FIGURES = {
    "detection": ("auc", "accuracy", "tpr_at_1pct_fpr"),
    "repair": (
        "asr_before",
        "asr_after",
        "ra_before",
        "ra_after",
        "clean_accuracy_before",
        "clean_accuracy_after",
        "healthy_accuracy_before",
        "healthy_accuracy_after",
    ),
}


def model_card(name: str, checkpoints: Mapping[str, Checkpoint], figures: Mapping[str, Any] | None) -> str:
    """The card's text.

    Args:
        name: The model's.
        checkpoints: By kind; one at least.
        figures: What ``zoovet evaluate`` measured, or ``None``.
    """
    sections = [
        f"# {name}",
        f"A {' and a '.join(checkpoints)} for trojaned networks: what `zoovet scan` and `zoovet repair` use.",
        "## Data",
        *_data(checkpoints),
        *(_kept_images(kind, checkpoint) for kind, checkpoint in checkpoints.items() if _num_kept(checkpoint)),
        "## Figures",
        *_test_figures(figures),
        *(_validation_figures(kind, checkpoint) for kind, checkpoint in checkpoints.items()),
        *(words for checkpoint in checkpoints.values() if (words := edit_sizes_in_words(checkpoint))),
        "## Limits",
        _LIMITS,
        "## Training",
        *(_training(kind, checkpoint) for kind, checkpoint in checkpoints.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _data(checkpoints: Mapping[str, Checkpoint]) -> list[str]:
    """The networks that were trained on: once where they are the same, else for each kind."""
    zoos = {kind: checkpoint.get("zoo") for kind, checkpoint in checkpoints.items()}
    kinds: dict[str, list[str]] = {}
    for kind, zoo in zoos.items():
        kinds.setdefault(zoo["train_fingerprint"], []).append(kind)
    return [
        f"Networks that the {' and the '.join(same)} learnt from:\n\n{_networks(checkpoints[same[0]], zoos[same[0]])}"
        for same in kinds.values()
    ]


def _kept_images(kind: str, checkpoint: Checkpoint) -> str:
    return (
        f"The {kind} keeps {_num_kept(checkpoint)} training images of the dataset, on which it runs the networks "
        f"that it is given; whoever uses it needs none."
    )


def _num_kept(checkpoint: Checkpoint) -> int:
    """How many images of the dataset are in a checkpoint; backgrounds are among those of known class."""
    kept = [tensor for name, tensor in checkpoint.tensors.items() if name.endswith(_IMAGE_TENSORS)]
    return sum(tensor[..., 0, 0, 0].numel() for tensor in kept)


def _networks(checkpoint: Checkpoint, zoo: Mapping[str, Any]) -> str:
    recipe = _recipe(Path(zoo["path"]))
    graphs = graphs_of(checkpoint)
    lines = [f"- {graph.describe()}" for graph in graphs]
    lines += [f"- images scaled to {scaling.describe()}" for scaling in dict.fromkeys(map(scaling_of, graphs))]
    lines.append(f"- {zoo['num_train']} to train on and {zoo['num_validation']} to validate, healthy and trojaned")
    for key in ("dataset", "num_bases", "train_images", "min_clean_accuracy", "min_asr", "seed"):
        if key in recipe:
            lines.append(f"- {key}: {recipe[key]}")
    attacks = recipe.get("attacks") or [recipe[key] for key in ("trigger",) if key in recipe]
    lines += [f"- attack: `{json.dumps(attack)}`" for attack in attacks]
    lines.append(f"- SHA-256 of the training networks: `{zoo['train_fingerprint']}`")
    return "\n".join(lines)


def _recipe(zoo: Path) -> dict[str, Any]:
    """The zoo's recipe, where it is still there."""
    return ZooInfo.read(zoo).recipe if (zoo / "zoo.json").is_file() else {}


def _test_figures(figures: Mapping[str, Any] | None) -> list[str]:
    """A table for each part that was measured."""
    tables = []
    for part, names in _TEST_FIGURES.items():
        measured = (figures or {}).get(part)
        if not measured:
            continue
        rows = [f"| {name} | {_rounded(measured[name])} | {_interval(measured, name)} |" for name in names]
        title = f"{part.capitalize()}, {measured['num_networks']} test networks that training did not see:"
        tables.append("\n".join([title, "", "| figure | value | 95 % |", "|---|---|---|", *rows]))
    return tables


def _interval(measured: Mapping[str, Any], name: str) -> str:
    interval = measured.get(f"{name}_interval")
    return "" if interval is None else f"{_rounded(interval[0])} to {_rounded(interval[1])}"


def _rounded(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.3f}"


def _validation_figures(kind: str, checkpoint: Checkpoint) -> str:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in checkpoint.get("validation").items())
    distribution = distribution_of(checkpoint)
    assert distribution is not None
    counts = ", ".join(str(len(own.distances)) for own in distribution.by_graph.values())
    return (
        f"The {kind} on the validation networks that its checkpoint was chosen by: {figures}. Networks that the "
        f"in-distribution score compares with, graph by graph: {counts}."
    )


def edit_sizes_in_words(checkpoint: Checkpoint) -> str:
    """Which edits a repairer's user is spared; empty where it does not say, or is none."""
    graphs = graphs_of(checkpoint)
    sizes = edit_sizes_of(checkpoint, graphs)
    limits = [
        f"{100 * sizes[graph].limit:.1f} % of the norm with {graph.chain.activation} "
        f"({sizes[graph].num_networks} networks)"
        for graph in graphs
        if graph in sizes
    ]
    if not limits:
        return ""
    many = ", ".join(limits)
    return (
        f"{EDIT_SIZES_SENTENCE} change more than 99.9 % of its training networks' did, hidden channels brought to unit "
        f"size: {many}."
    )


def _training(kind: str, checkpoint: Checkpoint) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in checkpoint.get("versions").items())
    config = json.dumps(checkpoint.get("config"), indent=2)
    return f"The {kind}: step {checkpoint.get('step')}, {versions}.\n\n```json\n{config}\n```"
