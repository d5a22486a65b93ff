"""Populations of networks: stored, drawn from recipes, built in parallel."""

from zoovet.zoo.factory import BuildProgress, build_zoo, rebuild_network
from zoovet.zoo.recipes import BaseTraining, FineTuning, SplitShares, ZooRecipe
from zoovet.zoo.store import COLUMNS, Zoo

__all__ = [
    "COLUMNS",
    "BaseTraining",
    "BuildProgress",
    "FineTuning",
    "SplitShares",
    "Zoo",
    "ZooRecipe",
    "build_zoo",
    "rebuild_network",
]
