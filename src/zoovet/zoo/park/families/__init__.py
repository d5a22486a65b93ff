"""Families of architectures, a file each: blocks of a park's recipe, and the graphs that are drawn from them."""

from __future__ import annotations

from zoovet.zoo.park.families.densenet import DensenetFamily
from zoovet.zoo.park.families.family import DrawnFamily, Family, Settings
from zoovet.zoo.park.families.given import GivenFamily
from zoovet.zoo.park.families.layers import num_layers
from zoovet.zoo.park.families.mlp import MlpFamily
from zoovet.zoo.park.families.plain import PlainFamily
from zoovet.zoo.park.families.resnet import ResnetFamily
from zoovet.zoo.park.families.separable import SeparableFamily
from zoovet.zoo.park.families.squeeze import SqueezeFamily
from zoovet.zoo.park.families.vgg import VggFamily
from zoovet.zoo.park.families.vit import VitFamily
from zoovet.zoo.park.families.wide_resnet import WideResnetFamily

__all__ = [
    "Architecture",
    "DensenetFamily",
    "DrawnFamily",
    "Family",
    "GivenFamily",
    "MlpFamily",
    "PlainFamily",
    "ResnetFamily",
    "SeparableFamily",
    "Settings",
    "SqueezeFamily",
    "VggFamily",
    "VitFamily",
    "WideResnetFamily",
    "num_layers",
]

Architecture = (
    PlainFamily
    | VggFamily
    | ResnetFamily
    | WideResnetFamily
    | SeparableFamily
    | DensenetFamily
    | SqueezeFamily
    | MlpFamily
    | VitFamily
    | GivenFamily
)
"""A block of architectures in a recipe; a further family joins it by ``|``."""
