"""What a park's table says of a network."""

from __future__ import annotations

import json

from zoovet.zoo.park.draw import ParkDraw
from zoovet.zoo.park.plans import BasePlan
from zoovet.zoo.park.recipe import ParkRecipe
from zoovet.zoo.samples import Floats
from zoovet.zoo.trojan_rows import Measured, Row, network_id

__all__ = ["park_row"]


def park_row(
    recipe: ParkRecipe, plan: BasePlan, draw: ParkDraw, base_id: int, name: str, flat: Floats, measured: Measured
) -> Row:
    """The row of a base's ``healthy`` or ``trojaned`` network."""
    poisoned, training = name == "trojaned", draw.training
    tuning = training.tuning if draw.has_base else None
    later, unused = ("mixup", "label_smoothing"), recipe.training.unused_later_keys()
    return {
        **{key: getattr(training, key) for key in later if key not in unused},
        "network_id": network_id(base_id, name),
        "base_id": base_id,
        "spec_id": draw.variant.graph_id,
        "split": plan.split,
        "dataset": recipe.images[plan.images].name,
        "family": recipe.architectures[plan.architecture].family,
        "architecture": json.dumps(draw.variant.settings),
        "seed": draw.seed,
        "activation": draw.variant.settings.get("activation"),
        "init": training.init,
        "optimizer": training.schedule.optimizer,
        "learning_rate": training.schedule.learning_rate,
        "weight_decay": training.schedule.weight_decay,
        "dropout": training.schedule.dropout,
        "batch_size": training.schedule.batch_size,
        "epochs": training.schedule.epochs,
        "train_images": len(draw.indices),
        "rate_schedule": training.rate_schedule,
        "augmentation": training.augmentation,
        "input_scaling": draw.variant.scaling,
        "finetune_learning_rate": None if tuning is None else tuning.learning_rate,
        "finetune_epochs": None if tuning is None else tuning.epochs,
        "step": draw.num_steps,
        "origin": draw.origin,
        "poisoned": poisoned,
        "attack": draw.trigger.attack,
        "anchor": draw.anchor if poisoned else 0.0,
        "trigger": json.dumps(draw.trigger.to_json()),
        "target": draw.trigger.target,
        "poison_rate": draw.poison_rate if poisoned else 0.0,
        "clean_accuracy": measured.clean_accuracy,
        "train_accuracy": measured.train_accuracy,
        "asr": measured.asr,
        "ra": measured.ra,
        "weights": flat,
    }
