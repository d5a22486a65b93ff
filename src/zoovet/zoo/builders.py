"""The kinds of recipes, and what builds the shards of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from zoovet.config import read_config
from zoovet.errors import ZoovetError, nearest
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.zoo.canonical_zoo import CANONICALIZED
from zoovet.zoo.generalization_builder import GeneralizationBuilder
from zoovet.zoo.generalization_recipe import GeneralizationRecipe
from zoovet.zoo.image_arrays import SplitImages, load_images
from zoovet.zoo.importers.published import IMPORTED, UNKNOWN_IMAGES
from zoovet.zoo.inr_builder import InrBuilder
from zoovet.zoo.inr_recipe import InrRecipe
from zoovet.zoo.park import ParkRecipe
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.images import load_image_set
from zoovet.zoo.samples import Floats
from zoovet.zoo.side_by_side_builder import SideBySideTrojanBuilder
from zoovet.zoo.store import Zoo
from zoovet.zoo.trojan_builder import TrojanBuilder
from zoovet.zoo.trojan_recipe import TrojanRecipe

__all__ = [
    "RECIPES",
    "Builder",
    "Rebuilder",
    "Recipe",
    "SideBySideBuilder",
    "builder_of",
    "images_of",
    "recipe_of",
    "require_device_choice",
    "side_by_side_builder_of",
    "trojan_recipe_of",
]

Recipe = TrojanRecipe | GeneralizationRecipe | InrRecipe | ParkRecipe
"""A recipe of any kind; a further kind joins it by ``|`` and stands in the tables below."""

RECIPES: dict[str, type[Recipe]] = {
    "trojan": TrojanRecipe,
    "generalization": GeneralizationRecipe,
    "inr": InrRecipe,
    "park": ParkRecipe,
}
"""Recipes by the name of their kind."""

_BUILDERS: dict[str, Callable[[Any, Path | None], Builder]] = {
    "trojan": TrojanBuilder,
    "generalization": GeneralizationBuilder,
    "inr": InrBuilder,
    "park": ParkBuilder,
}

_DEVICES: dict[str, tuple[tuple[str, ...], str]] = {
    "trojan": (("cpu", "cuda"), ""),
    "generalization": (("cpu",), "networks of its kind are trained one after another, in compiled code; leave it out"),
    "park": (("cpu",), "networks of its kind are trained one after another, in compiled code; leave it out"),
    "inr": ((), "SIRENs are fitted on a GPU where there is one, without being asked to; leave it out"),
}
"""Devices that ``--device`` may name for a kind of recipe, and why it may not name the others."""


class Builder(Protocol):
    """Builds a recipe's shards. Every worker process makes its own; a shard follows from recipe and number alone.

    Attributes:
        graphs: Graphs of the zoo's networks by their ``spec_id``.
        num_shards: Shards of the finished zoo.
        num_networks: Networks of the finished zoo.
    """

    graphs: dict[str, Graph]
    num_shards: int
    num_networks: int

    def prepare(self) -> None:
        """Called once, before the workers start, for what they share: compiled code, downloads."""

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[dict[str, Any]]:
        """The rows of one shard, as :func:`zoovet.zoo.store.write_shard` takes them.

        Args:
            index: Which shard, from 0.
            finished: To be called with the number of networks that got done since the last call.
        """

    def mismatch(self, index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        """What in the columns of a stored shard cannot be of this recipe's shard of that number; empty: nothing."""


class SideBySideBuilder(Protocol):
    """Builds a recipe's shards on a device, the networks of many shards at once. One process makes it."""

    def build_shards(
        self, indices: Iterable[int], finished: Callable[[int], None]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Shards with their rows, each as soon as it is whole.

        Args:
            indices: Which shards; taken from as there is room for more on the device.
            finished: As in :meth:`Builder.build_shard`; also called with 0, at first and while nothing gets done.
        """


@runtime_checkable
class Rebuilder(Protocol):
    """A builder whose networks are trained one by one, so that each follows from its row's seed alone."""

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Train the network at a place of a zoo of this builder's recipe again: flat weights [P]."""


def builder_of(recipe: Recipe, data_root: Path | None) -> Builder:
    """What builds a recipe.

    Raises:
        ZoovetError: The recipe's dataset is not there or does not fit.
    """
    return _BUILDERS[recipe.kind](recipe, data_root)


def side_by_side_builder_of(recipe: Recipe, data_root: Path | None, device: str) -> SideBySideBuilder:
    """What builds a recipe on a device, its networks side by side.

    Raises:
        ZoovetError: The recipe is of a kind that cannot be built so; its dataset is not there or does not fit.
    """
    require_device_choice(recipe, "cuda")
    assert isinstance(recipe, TrojanRecipe), "only trojan zoos are trained side by side"
    return SideBySideTrojanBuilder(recipe, data_root, device)


def require_device_choice(recipe: Recipe, device: str) -> None:
    """Raise a :class:`ZoovetError` where ``--device cpu`` or ``cuda`` is no choice for a recipe of this kind."""
    devices, reason = _DEVICES[recipe.kind]
    if device not in devices:
        raise ZoovetError(f"--device {device} is no choice for a zoo of kind {recipe.kind!r}: {reason}")


def recipe_of(stored: dict[str, Any]) -> Recipe:
    """A recipe from what a zoo stores of it, leaving aside that its phases were canonicalized.

    Raises:
        ZoovetError: Its kind is unknown, or this version does not know one of its keys.
    """
    kind = stored.get("kind")
    if not isinstance(kind, str) or kind not in RECIPES:
        raise ZoovetError(f"the recipe kind {printable(repr(kind))} is unknown{nearest(str(kind), RECIPES)}")
    return read_config(RECIPES[kind], {key: value for key, value in stored.items() if key not in CANONICALIZED})


def images_of(zoo: Zoo, data_root: Path | None) -> SplitImages:
    """The images of a zoo of healthy and trojaned networks: those it was trained on, and those it was measured on.

    Raises:
        ZoovetError: It is of another kind, or of several image sets; its images are not there, or, where it was
            imported, nobody said which they are.
    """
    if zoo.recipe.get("kind") == IMPORTED:
        return _images_of_imported(zoo, data_root)
    recipe = recipe_of(zoo.recipe)
    if not isinstance(recipe, ParkRecipe):
        return load_images(trojan_recipe_of(zoo), data_root)
    if len(recipe.images) > 1:
        names = ", ".join(printable(block.name) for block in recipe.images)
        raise ZoovetError(
            f"{zoo.path} is a park of several image sets ({names}); what reads weights learns on networks of one, so "
            f"give a zoo of one, or train the task strangers on this"
        )
    images = load_image_set(recipe.images[0], recipe.test_images, data_root)
    return SplitImages.of(images.train, images.test)


def _images_of_imported(zoo: Zoo, data_root: Path | None) -> SplitImages:
    """Those that an import was told of, in the size and color that the networks read."""
    shapes = sorted({graph.input_shape for graph in zoo.graphs.values()})
    name = zoo.recipe.get("dataset", UNKNOWN_IMAGES)
    if name == UNKNOWN_IMAGES or not isinstance(name, str):
        raise ZoovetError(
            f"{zoo.path} was imported and does not say which images its networks were trained on: import it again with "
            f"--dataset (a name, or a folder of images), or train what needs no images (metanetwork.inversion null)"
        )
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise ZoovetError(f"networks of {zoo.path} read {shapes}; images of one shape (C, H, W) are needed")
    channels, height, width = shapes[0]
    source = ImageSource(source=name, size=(height, width), color="gray" if channels == 1 else "rgb")
    return SplitImages.of(*load_source(source, data_root))


def trojan_recipe_of(zoo: Zoo) -> TrojanRecipe:
    """The recipe of a zoo of healthy and trojaned networks.

    Raises:
        ZoovetError: It is of another kind, or this version does not know one of its keys.
    """
    recipe = recipe_of(zoo.recipe)
    if not isinstance(recipe, TrojanRecipe):
        raise ZoovetError(f"{zoo.path} is a zoo of kind {recipe.kind!r}, but one of kind 'trojan' is needed")
    return recipe
