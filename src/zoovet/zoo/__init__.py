"""Populations of networks: stored, drawn from recipes, built in parallel."""

from zoovet.zoo.attacks import (
    Attackers,
    BlendAttack,
    ColourPatchAttack,
    FixedPatchAttack,
    PatchAttack,
    SeveralAttack,
    SourceSpecificAttack,
    StickerAttack,
    StripeAttack,
    WarpAttack,
)
from zoovet.zoo.base_training import BaseTraining
from zoovet.zoo.factory import build_zoo, rebuild_network
from zoovet.zoo.generalization_recipe import GeneralizationRecipe
from zoovet.zoo.growing_zoo import BuildProgress
from zoovet.zoo.inr_recipe import Augmentation, InrRecipe
from zoovet.zoo.park import ImageBlock, ParkRecipe, ParkTraining
from zoovet.zoo.recipe_parts import SplitShares
from zoovet.zoo.store import COLUMNS, Zoo
from zoovet.zoo.trojan_recipe import FineTuning, TrojanRecipe
from zoovet.zoo.writing import write_zoo

__all__ = [
    "COLUMNS",
    "Attackers",
    "Augmentation",
    "BaseTraining",
    "BlendAttack",
    "BuildProgress",
    "ColourPatchAttack",
    "FineTuning",
    "FixedPatchAttack",
    "GeneralizationRecipe",
    "ImageBlock",
    "InrRecipe",
    "ParkRecipe",
    "ParkTraining",
    "PatchAttack",
    "SeveralAttack",
    "SourceSpecificAttack",
    "SplitShares",
    "StickerAttack",
    "StripeAttack",
    "TrojanRecipe",
    "WarpAttack",
    "Zoo",
    "build_zoo",
    "rebuild_network",
    "write_zoo",
]
