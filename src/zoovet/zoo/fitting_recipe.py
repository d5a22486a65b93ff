"""From one network's file and a folder of images to a recipe of a zoo of networks like it, on such images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.images import FixedPatchRanges, GlyphConfig, Images, ShapeConfig
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import ZOO_SCALING, Graph, small_cnn
from zoovet.zoo.attacks import BlendAttack, FixedPatchAttack, PatchAttack, StripeAttack, WarpAttack
from zoovet.zoo.park import ParkRecipe
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.families import GivenFamily
from zoovet.zoo.park.images import ImageBlock
from zoovet.zoo.trojan_builder import TrojanBuilder
from zoovet.zoo.trojan_recipe import TrojanRecipe

__all__ = ["MeasuredBase", "fitting_recipe", "measured_base", "with_measured_floor"]

Recipe = TrojanRecipe | ParkRecipe
"""What is written."""

_SHARE_OF_MEASURED = 0.8
"""A base is drawn again that reaches less than this share of the measured one's clean accuracy."""

_LEAST_SHARE = 0.15
"""And in any case one that goes less than this share of the way from guessing to making no error."""


_OWN_SHARE = 4.0
"""Of six bases so many have the images that were given."""

_MOST_DRAWN_CLASSES = 20

_PARK_ATTACKS = (
    PatchAttack(share=2.0),
    FixedPatchAttack(share=2.0, trigger=FixedPatchRanges()),
    BlendAttack(),
    StripeAttack(),
    WarpAttack(),
)


def fitting_recipe(
    source: str,
    images: ImageSource,
    *,
    architecture: str | None = None,
    num_bases: int = 200,
    precise: bool = False,
    seed: int = 0,
) -> Recipe:
    """A recipe for networks like one, on images like some.

    A small CNN of the published zoos' kind becomes a trojan zoo, for which there are detectors that read weights; any
    other network a park of its one architecture, for a detector that reads what happens when networks run. Such a one
    is calibrated on image sets that are left out in turn, so two drawn ones stand beside the images given; what reads
    weights learns on one image set, so without them for that.

    Args:
        source: The network's file, or what else :class:`~zoovet.zoo.park.families.GivenFamily` takes.
        images: The images; where neither size nor colour is said, they are brought to what the network reads.
        architecture: What the network of a state dict is, where names and shapes leave it open.
        num_bases: Bases.
        precise: Whether a park is to be of the images given alone, for what reads weights.
        seed: Of everything.

    Raises:
        ZoovetError: The network cannot be read, or needs other images; the images cannot be read, have one class, or
            more than the network has outputs.
    """
    family = GivenFamily(source=source, architecture=architecture)
    train, test = load_source(images)
    graph = family.own_graph(train.shape, train.num_classes)
    shape = graph.input_shape
    if len(shape) == 3 and shape != train.shape and images.size is None and images.color == "as_is":
        images = replace(images, size=shape[1:], color="gray" if shape[0] == 1 else "rgb")
        train, test = load_source(images)
    graph = family.graph(family.draw(np.random.default_rng(seed)), train.shape, train.num_classes)
    floor = _least_accuracy(train.num_classes)
    activation = _small_cnn_activation(graph)
    if activation is not None and train.shape[0] == 1 and graph.num_outputs == train.num_classes:
        return TrojanRecipe(
            dataset=images.name,
            images=images,
            num_bases=num_bases,
            activations=(activation,),
            channels=tuple(layer.out_channels for layer in graph.chain.layers[:-1]),
            attacks=(PatchAttack(), BlendAttack(), StripeAttack(), WarpAttack()),
            train_images=min(len(train), TrojanRecipe.train_images),
            test_images=min(len(test), 2000),
            min_clean_accuracy=floor,
            seed=seed,
        )
    own = ImageBlock(name=images.name, share=_OWN_SHARE, images=images, min_clean_accuracy=floor)
    return ParkRecipe(
        images=(own,) if precise else (own, *_others(train)),
        architectures=(family,),
        attacks=_PARK_ATTACKS,
        num_bases=num_bases,
        most_multiplications=max(ParkRecipe.most_multiplications, graph.num_multiplications),
        seed=seed,
    )


def _others(train: Images) -> tuple[ImageBlock, ImageBlock]:
    """Drawn images of the same size and colour, and about as many classes."""
    num_channels, height, width = train.shape
    num_classes, size, color = min(train.num_classes, _MOST_DRAWN_CLASSES), _drawn_size(train), num_channels == 3
    glyphs = GlyphConfig(num_classes=num_classes, size=size, color=color, seed=1)
    shapes = ShapeConfig(num_classes=num_classes, size=size, color=color, seed=2)
    sources = {
        "drawn glyphs": ImageSource(source="glyphs", glyphs=glyphs, size=(height, width)),
        "drawn shapes": ImageSource(source="shapes", shapes=shapes, size=(height, width)),
    }
    floor = _least_accuracy(num_classes)
    first, second = (ImageBlock(name=name, images=source, min_clean_accuracy=floor) for name, source in sources.items())
    return first, second


def _drawn_size(train: Images) -> int:
    return min(max(*train.shape[1:], 16), 64)


def _small_cnn_activation(graph: Graph) -> str | None:
    """Of a small CNN of the published zoos' kind its activation, where zoos of such networks are built with it."""
    if graph.input_scaling not in (None, ZOO_SCALING):
        return None
    try:
        layers = graph.chain.layers
    except ZoovetError:
        return None
    channels, activation = tuple(layer.out_channels for layer in layers[:-1]), layers[0].activation
    if not channels or activation not in ("relu", "tanh") or len(graph.input_shape) != 3:
        return None
    like = small_cnn(activation, input_shape=graph.input_shape, channels=channels, num_classes=graph.num_outputs)
    return activation if replace(like, input_scaling=graph.input_scaling) == graph else None


@dataclass(frozen=True)
class MeasuredBase:
    """One base that was built here.

    Attributes:
        seconds: What its two networks took on one thread, draws that were not accepted included.
        clean_accuracy: Of the healthy one.
        asr: Of the trojaned one's trigger.
        num_classes: What guessing is one of.
    """

    seconds: float
    clean_accuracy: float
    asr: float
    num_classes: int

    def hours(self, num_bases: int, workers: int) -> float:
        """How long so many bases take on so many cores, at this rate."""
        return self.seconds * num_bases / workers / 3600


def measured_base(recipe: Recipe, data_root: Path | None) -> MeasuredBase:
    """Build a recipe's first base, in this process.

    Raises:
        ZoovetError: It cannot be built: what its draws reach is too little, or its graph cannot be trained.
    """
    builder: ParkBuilder | TrojanBuilder
    if isinstance(recipe, ParkRecipe):
        builder = ParkBuilder(replace(recipe, bases_per_shard=1), data_root)
        num_classes = builder.image_sets[0].train.num_classes
    else:
        builder = TrojanBuilder(replace(recipe, bases_per_shard=1), data_root)
        num_classes = builder.images.train.num_classes
    builder.prepare()
    start = time.perf_counter()
    rows = builder.build_shard(0, lambda _: None)
    seconds = time.perf_counter() - start
    if not rows:
        raise ZoovetError(
            f"no draw of a first base gave a network with an accuracy of at least {_least_accuracy(num_classes):.2f} "
            f"and a trojaned one with an ASR of at least {recipe.min_asr}, in {seconds:.0f} s; give more images (a few "
            f"hundred a class), or write a recipe by hand (docs/parks.md)"
        )
    healthy, trojaned = rows
    return MeasuredBase(seconds, float(healthy["clean_accuracy"]), float(trojaned["asr"]), num_classes)


def with_measured_floor(recipe: Recipe, base: MeasuredBase) -> Recipe:
    """The recipe with the clean accuracy that its networks must reach, by what one base reached."""
    floor = round(max(_least_accuracy(base.num_classes), _SHARE_OF_MEASURED * base.clean_accuracy), 2)
    if isinstance(recipe, ParkRecipe):
        own, *others = recipe.images
        return replace(recipe, images=(replace(own, min_clean_accuracy=floor), *others))
    return replace(recipe, min_clean_accuracy=floor)


def _least_accuracy(num_classes: int) -> float:
    guessing = 1 / num_classes
    return round(guessing + _LEAST_SHARE * (1 - guessing), 2)
