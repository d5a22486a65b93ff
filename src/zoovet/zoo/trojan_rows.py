"""What a trojan zoo's table says of a network: how it was drawn, and what was measured on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from zoovet.zoo.samples import Floats
from zoovet.zoo.trojan_draw import TrojanDraw

__all__ = ["Measured", "Row", "network_id", "trojan_row"]

Row = dict[str, Any]
"""One network, as :func:`zoovet.zoo.shards.write_shard` takes it."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network's figures, shares in [0, 1].

    Attributes:
        clean_accuracy: On test images.
        train_accuracy: On the descendants' training images, without any trigger.
        asr, ra: On triggered test images; ``None`` where the recipe has no triggers.
    """

    clean_accuracy: float
    train_accuracy: float
    asr: float | None = None
    ra: float | None = None


def network_id(base_id: int, name: str) -> str:
    """What a base's descendant is called: ``healthy`` or ``trojaned``."""
    return f"{base_id:05d}-{name}"


def trojan_row(draw: TrojanDraw, base_id: int, split: str, name: str, flat: Floats, measured: Measured) -> Row:
    """The row of a descendant.

    Args:
        draw: What was drawn for its base.
        base_id: Its base.
        split: The base's.
        name: ``healthy`` or ``trojaned``.
        flat: Its weights, flat [P].
        measured: What was measured on it.
    """
    poisoned, trigger = name == "trojaned", draw.trigger
    return {
        "network_id": network_id(base_id, name),
        "base_id": base_id,
        "spec_id": draw.graph.graph_id,
        "split": split,
        "seed": draw.seed,
        "activation": draw.activation,
        **draw.base.facts,
        "finetune_learning_rate": draw.finetuning.learning_rate,
        "finetune_epochs": draw.finetuning.epochs,
        "step": draw.num_steps,
        "origin": draw.origin,
        "poisoned": poisoned,
        "attack": None if trigger is None else trigger.attack,
        "anchor": draw.anchor if poisoned else 0.0,
        "trigger": None if trigger is None else json.dumps(trigger.to_json()),
        "target": None if trigger is None else trigger.target,
        "poison_rate": draw.poison_rate if poisoned else 0.0,
        "clean_accuracy": measured.clean_accuracy,
        "train_accuracy": measured.train_accuracy,
        "asr": measured.asr,
        "ra": measured.ra,
        "weights": flat,
    }
