"""Healing networks of any graph: triggers are sought and unlearned, and clean behaviour is watched meanwhile."""

from __future__ import annotations

from zoovet.healing.editable import Editable, FloatingWeights, editable_graph, editable_module, learned_names
from zoovet.healing.healing import Edit, HealingConfig, heal
from zoovet.healing.sought_triggers import SoughtTrigger, TriggerSearch
from zoovet.healing.unlearning import UnlearningConfig
from zoovet.healing.watch import CleanLoss

__all__ = [
    "CleanLoss",
    "Edit",
    "Editable",
    "FloatingWeights",
    "HealingConfig",
    "SoughtTrigger",
    "TriggerSearch",
    "UnlearningConfig",
    "editable_graph",
    "editable_module",
    "heal",
    "learned_names",
]
