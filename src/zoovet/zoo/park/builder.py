"""Shards of a park: bases drawn from seeds, their networks trained and measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images import attack_success_rate, clean_accuracy, draw_trigger, robust_accuracy, triggered_test
from zoovet.networks import Graph
from zoovet.zoo.base_training import base_seed, is_base_seed
from zoovet.zoo.native.graph_source import graph_source
from zoovet.zoo.native.libraries import NativeUnavailable
from zoovet.zoo.park.draw import ParkDraw, draw_base
from zoovet.zoo.park.images import ImageSet, load_image_set
from zoovet.zoo.park.plans import base_plans
from zoovet.zoo.park.recipe import ParkRecipe
from zoovet.zoo.park.rows import park_row
from zoovet.zoo.park.trained import predictions, starting_weights, train_sibling
from zoovet.zoo.park.variants import Variant, drawn_variant
from zoovet.zoo.samples import Anchor, Floats
from zoovet.zoo.shard_content import first_difference, foreign_seed
from zoovet.zoo.store import Zoo
from zoovet.zoo.training import initial_weights
from zoovet.zoo.trojan_rows import Measured, Row, network_id

__all__ = ["ParkBuilder"]

_MEASURED_TRAIN_IMAGES = 2000


class ParkBuilder:
    """Builds the shards of a park: see :class:`zoovet.zoo.builders.Builder`.

    Attributes:
        recipe: What is built.
        image_sets: The recipe's, in its order.
        plans: Every base's plan.
        graphs: The graphs that bases have, by their ``spec_id``.
    """

    def __init__(self, recipe: ParkRecipe, data_root: Path | None) -> None:
        self.recipe = recipe
        self.num_shards, self.num_networks = recipe.num_shards, recipe.num_networks
        self.image_sets = [load_image_set(block, recipe.test_images, data_root) for block in recipe.images]
        self.plans = base_plans(recipe)
        self._variants: dict[tuple[int, int, int], Variant] = {}
        variants = [self._variant(base_id) for base_id in range(recipe.num_bases)]
        self.graphs: dict[str, Graph] = {variant.graph_id: variant.graph for variant in variants}

    def prepare(self) -> None:
        """Say of which families compiled code does not know a graph.

        Raises:
            ZoovetError: A graph cannot be trained, or an attack's triggers do not fit an image set.
        """
        self._require_triggers()
        told: dict[str, str] = {}
        for (architecture, _, _), variant in self._variants.items():
            family: str = self.recipe.architectures[architecture].family
            try:
                initial_weights(variant.graph, "he", 0.1, np.random.default_rng(0))
            except ZoovetError as error:
                raise ZoovetError(f"architectures[{architecture}] ({family}): {error}") from None
            try:
                graph_source(variant.graph.reading(None))
            except NativeUnavailable as error:
                told[family] = str(error)
        for name, reason in told.items():
            warnings.warn(f"the family {name} trains through torch, several times slower: {reason}", stacklevel=2)

    def _require_triggers(self) -> None:
        for block, image_set in zip(self.recipe.images, self.image_sets, strict=True):
            for number, attack in enumerate(self.recipe.attacks):
                train = image_set.train
                try:
                    draw_trigger(attack.trigger, train.shape, train.num_classes, np.random.default_rng(0))
                except ZoovetError as error:
                    where = f"attacks[{number}] ({attack.kind}) on the images {block.name!r}"
                    raise ZoovetError(f"{where}: {error}") from None

    def bases_of(self, shard: int) -> range:
        """The bases whose networks are in a shard."""
        first = shard * self.recipe.bases_per_shard
        return range(first, min(first + self.recipe.bases_per_shard, self.recipe.num_bases))

    def build_shard(self, index: int, finished: Callable[[int], None]) -> list[Row]:
        """The rows of one shard; a base of which no draw was accepted has none."""
        rows: list[Row] = []
        for base_id in self.bases_of(index):
            rows += self.build_base(base_id)
            finished(2)
        return rows

    def build_base(self, base_id: int) -> list[Row]:
        """Train, measure and describe a base's networks, drawing it again until they are what the recipe asks for.

        Returns:
            A row for each of the two; nothing where no draw gave such networks.
        """
        plan = self.plans[base_id]
        for attempt in range(self.recipe.max_attempts):
            draw = self.draw(base_id, attempt)
            made = None if draw is None else self._made(draw, base_id)
            if draw is not None and made is not None:
                return [
                    park_row(self.recipe, plan, draw, base_id, name, flat, measured)
                    for name, (flat, measured) in made.items()
                ]
        return []

    def draw(self, base_id: int, attempt: int) -> ParkDraw | None:
        """One draw of a base: see :func:`~zoovet.zoo.park.draw.draw_base`."""
        plan = self.plans[base_id]
        image_set = self.image_sets[plan.images]
        return draw_base(self.recipe, plan, self._variant(base_id), image_set, base_id, attempt)

    def mismatch(self, index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        """What in a stored shard's columns cannot be of this shard: see :class:`zoovet.zoo.builders.Builder`."""
        present = set(facts["base_id"].tolist())
        bases = [base_id for base_id in self.bases_of(index) if base_id in present]
        rows = [(base_id, name) for base_id in bases for name in ("healthy", "trojaned")]
        expected: dict[str, list[Any]] = {
            "base_id": [base_id for base_id, _ in rows],
            "network_id": [network_id(base_id, name) for base_id, name in rows],
            "split": [self.plans[base_id].split for base_id, _ in rows],
            "spec_id": [self._variant(base_id).graph_id for base_id, _ in rows],
        }
        return first_difference(facts, expected) or foreign_seed(
            facts, lambda base_id, seed: is_base_seed(seed, self.recipe.seed, base_id, self.recipe.max_attempts)
        )

    def rebuild(self, zoo: Zoo, place: int) -> Floats:
        """Train a stored network again from its seed: see :func:`zoovet.zoo.factory.rebuild_network`."""
        base_id, seed = int(zoo.column("base_id")[place]), int(zoo.column("seed")[place])
        attempts = range(self.recipe.max_attempts)
        attempt = next(number for number in attempts if base_seed(self.recipe.seed, base_id, number) == seed)
        draw = self.draw(base_id, attempt)
        made = None if draw is None else self._made(draw, base_id)
        assert made is not None, "a stored network's seed gives networks that the recipe accepts"
        return made["trojaned" if zoo.column("poisoned")[place] else "healthy"][0]

    def _variant(self, base_id: int) -> Variant:
        plan = self.plans[base_id]
        key = (plan.architecture, plan.variant, plan.images)
        if key not in self._variants:
            self._variants[key] = drawn_variant(self.recipe, *key, self.image_sets[plan.images])
        return self._variants[key]

    def _made(self, draw: ParkDraw, base_id: int) -> dict[str, tuple[Floats, Measured]] | None:
        """A draw's two networks with their figures; ``None`` where the recipe does not accept them."""
        plan = self.plans[base_id]
        image_set = self.image_sets[plan.images]
        floor = (
            self.recipe.images[plan.images].min_clean_accuracy * self.recipe.architectures[plan.architecture].accuracy
        )
        start = starting_weights(draw, image_set)
        healthy = None if start is None else train_sibling(draw, start, image_set, poisoned=False)
        if start is None or healthy is None:
            return None
        measured = _measured(draw, healthy, image_set)
        if measured.clean_accuracy < floor:
            return None
        anchor = Anchor(healthy, draw.anchor) if draw.anchor else None
        trojaned = train_sibling(draw, start, image_set, poisoned=True, anchor=anchor)
        if trojaned is None:
            return None
        of_trojaned = _measured(draw, trojaned, image_set)
        assert of_trojaned.asr is not None
        least = max(floor * 0.9, measured.clean_accuracy - self.recipe.max_accuracy_loss)
        if of_trojaned.clean_accuracy < least or of_trojaned.asr < self.recipe.min_asr:
            return None
        return {"healthy": (healthy, measured), "trojaned": (trojaned, of_trojaned)}


def _measured(draw: ParkDraw, flat: Floats, image_set: ImageSet) -> Measured:
    """Accuracies of a network, and what the draw's trigger does to it."""
    graph, test = draw.variant.graph, image_set.test
    images, labels = draw.clean_images(image_set)
    images, labels = images[:_MEASURED_TRAIN_IMAGES], labels[:_MEASURED_TRAIN_IMAGES]
    triggered = triggered_test(test, draw.trigger)
    answers = predictions(graph, flat, triggered.images.numpy())
    return Measured(
        clean_accuracy=float(clean_accuracy(predictions(graph, flat, test.scaled().numpy()), test.required_labels)),
        train_accuracy=float(np.mean(predictions(graph, flat, images).numpy() == labels)),
        asr=float(attack_success_rate(answers, triggered.wanted, triggered.labels)),
        ra=float(robust_accuracy(answers, triggered.wanted, triggered.labels)),
    )
