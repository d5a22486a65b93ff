"""Healing strangers on a park's networks, and its rivals on the same reference images: clean accuracy, ASR, RA, time.

    python benchmarks/healing.py --zoo zoos/park --out healing.parquet              its test networks, 10 images a class
    python benchmarks/healing.py --zoo zoos/park --out healing.parquet --split train --images-per-class 0 2 50 --limit 5
    python benchmarks/healing.py --zoo zoos/park --out healing.parquet --split validation --methods NAD --rates

Networks are healed as `zoovet repair --force` heals them: the detector for strangers names the classes that are
suspected, nobody says the true one. `--oracle` names the true one, which tells the edit from the verdict and takes half
of the time. `--healthy` puts each one's healthy sibling through as well, without `--force`, its ASR by the sibling's
trigger. A row a network, method and number of images, written as they come: what the file holds is not done again, so
that a stopped run goes on. Reference images are drawn from the image set's test images; all is measured on 1,000
others.

Rivals are told the labels of the reference images, healing only whether they fit. Their rates are those
of RIVALS; `--rates` tries a tenth and three times of each besides, to choose them on validation networks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import bootstrap

from zoovet.benchmark.single_network import ReferenceChoice
from zoovet.errors import ZoovetError
from zoovet.evidence.scaled_images import as_signed
from zoovet.files import atomic_path
from zoovet.healing import Edit, HealingConfig, heal
from zoovet.images import Images, Trigger
from zoovet.networks import fold_batch_norms
from zoovet.rivals.any_network import (
    AttentionDistillation,
    ChannelLipschitzness,
    FineTuning,
    Healer,
    ImplicitUnlearning,
    NeuronPruning,
    SharedAdversarialUnlearning,
    SharpnessAware,
)
from zoovet.vet import Network, Repairer
from zoovet.vet.editable_network import editable_network, with_weights
from zoovet.vet.network import network_of_graph
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.park.images import load_image_set
from zoovet.zoo.park.recipe import ParkRecipe

NUM_MEASURED, LEAST_MEASURED = 1000, 100
RIVALS: dict[str, Healer] = {
    "fine-tuning": FineTuning(rate=0.009),
    "NAD": AttentionDistillation(rate=0.005),
    "FT-SAM": SharpnessAware(rate=0.0015, radius=0.5),
    "I-BAU": ImplicitUnlearning(rate=0.0004),
    "SAU": SharedAdversarialUnlearning(rate=0.003),
    "ANP": NeuronPruning(rate=0.2),
    "CLP": ChannelLipschitzness(),
}
NEEDS_NO_IMAGES = ("as it is", "CLP", "healing")


def main() -> None:
    """Heal, measure, and print the means over networks with their 95 % intervals."""
    options = arguments()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    zoo = Zoo.open(options.zoo, finished_only=True).split(options.split)
    rows = pq.read_table(options.out).to_pylist() if options.out.exists() else []
    places = np.flatnonzero(zoo.column("poisoned").astype(bool))[options.skip :][: options.limit]
    image_sets = ImageSets(zoo, options.data_root)
    ways = ways_of(options)
    for done, place in enumerate(places.tolist(), start=1):
        for count in options.images_per_class:
            try:
                subject = Subject.of(zoo, place, image_sets, count)
            except ZoovetError as error:
                print(f"{zoo.column('network_id')[place]} is left out: {error}", flush=True)
                continue
            known = {(row["network_id"], row["method"], row["images_per_class"]) for row in rows}
            for method, way in ways.items():
                is_asked = count > 0 or method.split(" at ")[0] in NEEDS_NO_IMAGES
                if is_asked and (subject.facts["network_id"], method, count) not in known:
                    rows.append(subject.measured(method, way))
                    write(options.out, rows)
        print(f"{done} of {len(places)}: {zoo.column('network_id')[place]}", flush=True)
    for count in sorted({row["images_per_class"] for row in rows}):
        for method in dict.fromkeys(row["method"] for row in rows):
            same = [row for row in rows if (row["method"], row["images_per_class"]) == (method, count)]
            if same:
                print(f"{count:3} {method:18} {in_words(same)}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="Parquet file of rows; what it holds is kept")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--images-per-class", type=int, nargs="+", default=[10])
    parser.add_argument("--methods", nargs="+", choices=("as it is", "healing", *RIVALS))
    parser.add_argument("--skip", type=int, default=0, help="networks that are passed over")
    parser.add_argument("--limit", type=int, help="networks at most")
    parser.add_argument("--rates", action="store_true", help="try other rates of rivals")
    parser.add_argument("--healthy", action="store_true", help="put the healthy siblings through as well")
    parser.add_argument("--oracle", action="store_true", help="name the true target instead of asking the detector")
    parser.add_argument("--data-root", type=Path, help="folder of image datasets")
    return parser.parse_args()


Way = Callable[["Subject"], tuple[Network, str]]


def ways_of(options: argparse.Namespace) -> dict[str, Way]:
    """By name, what makes another network of one."""
    rivals = dict(RIVALS)
    if options.rates:
        for name, rival in RIVALS.items():
            if isinstance(
                rival,
                FineTuning | AttentionDistillation | SharpnessAware | ImplicitUnlearning | SharedAdversarialUnlearning,
            ):
                rivals |= {
                    f"{name} at {rate:g}": replace(rival, rate=rate) for rate in (0.1 * rival.rate, 3 * rival.rate)
                }
    ways: dict[str, Way] = {
        "as it is": lambda subject: (subject.network, ""),
        "healing": partial(healed, oracle=options.oracle),
        **{name: partial(by_rival, rival=rival) for name, rival in rivals.items()},
    }
    if options.methods:
        ways = {name: way for name, way in ways.items() if name.split(" at ")[0] in options.methods}
    if options.healthy:
        ways |= {"healthy as it is": lambda subject: (subject.sibling, ""), "healthy": put_through}
    return ways


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trojaned network, and what it is healed and measured with.

    Attributes:
        network: It.
        sibling: The healthy one of the same base.
        reference: Reference images; ``None`` where there are none.
        test: Others.
        trigger: Its own.
        target: Its trigger's.
        facts: What is said of it.
    """

    network: Network
    sibling: Network
    reference: Images | None
    test: Images
    trigger: Trigger
    target: int
    facts: dict[str, Any]

    @classmethod
    def of(cls, zoo: Zoo, place: int, image_sets: ImageSets, images_per_class: int) -> Subject:
        """The network at a place of a zoo."""
        trigger = zoo.trigger(place)
        assert trigger is not None
        reference, test = image_sets.drawn(str(zoo.column("dataset")[place]), images_per_class or 1)
        facts = {name: str(zoo.column(name)[place]) for name in ("network_id", "dataset", "family", "attack")}
        return cls(
            network=network_at(zoo, place),
            sibling=network_at(zoo, int(zoo.sibling_places()[place])),
            reference=reference if images_per_class else None,
            test=test,
            trigger=trigger,
            target=int(zoo.column("target")[place]),
            facts=facts | {"images_per_class": images_per_class},
        )

    def measured(self, method: str, way: Way) -> dict[str, Any]:
        """A row: what comes of the network by a method."""
        start = time.process_time()
        edited, said = way(self)
        row = {"method": method, "said": said, "seconds": time.process_time() - start}
        return self.facts | row | figures(edited, self.test, self.trigger)


def network_at(zoo: Zoo, place: int) -> Network:
    """A network of a park as `zoovet.read` gives it."""
    networks = zoo.networks([place])
    scaling = networks.graph.input_scaling
    assert scaling is not None
    made = replace(network_of_graph(fold_batch_norms(networks), "network of a park"), unfolded=networks)
    return made.with_scaling(scaling)


class ImageSets:
    """A park's image sets: test images by name, loaded when first asked for."""

    def __init__(self, zoo: Zoo, data_root: Path | None) -> None:
        recipe = recipe_of(zoo.recipe)
        if not isinstance(recipe, ParkRecipe):
            raise ZoovetError(f"{zoo.path} is no park")
        self._blocks, self._data_root = {block.name: block for block in recipe.images}, data_root
        self._loaded: dict[str, Images] = {}

    def drawn(self, name: str, images_per_class: int) -> tuple[Images, Images]:
        """Reference images, and others to measure with."""
        if name not in self._loaded:
            self._loaded[name] = load_image_set(self._blocks[name], 0, self._data_root).test
        images = self._loaded[name]
        reference = ReferenceChoice(images_per_class=images_per_class).of(images)
        taken = {one.numpy().tobytes() for one in reference.pixels}
        order = np.random.default_rng(1).permutation(len(images))[: NUM_MEASURED + len(reference)]
        some = images[torch.from_numpy(order)]
        places = [row for row, one in enumerate(some.pixels) if one.numpy().tobytes() not in taken]
        if len(places) < LEAST_MEASURED:
            raise ZoovetError(f"{name} has {len(images)} images, and {len(reference)} to heal with leave too few")
        return reference, some[torch.tensor(places[:NUM_MEASURED])]


def healed(subject: Subject, *, oracle: bool) -> tuple[Network, str]:
    """After healing, and what came of it by its own measures."""
    network, images = subject.network, subject.reference
    if not oracle or images is None:
        try:
            made = Repairer(force=True).repair(network, images)
        except ZoovetError as error:  # refused: the network stays as it is
            return network, str(error)
        assert made.healing is not None
        return made, "healed" if made.healing.is_healed else "; ".join(made.healing.shortcomings)
    editable, shown = editable_network(network), as_signed(images.pixels)
    edit: Edit = heal(editable, shown, images.labels, [subject.target], HealingConfig())
    return with_weights(network, edit.weights), f"strength {edit.strength:g}"


def put_through(subject: Subject) -> tuple[Network, str]:
    """The healthy sibling after `zoovet repair`."""
    try:
        made = Repairer().repair(subject.sibling, subject.reference)
    except ZoovetError as error:
        return subject.sibling, str(error)
    assert made.healing is not None
    return made, made.healing.before.verdict


def by_rival(subject: Subject, *, rival: Healer) -> tuple[Network, str]:
    """After what a rival does on the reference images and their labels."""
    editable, images = editable_network(subject.network), subject.reference or subject.test[:1]
    weights = rival.heal(editable, as_signed(images.pixels), images.required_labels)
    return with_weights(subject.network, weights), ""


def figures(network: Network, test: Images, trigger: Trigger) -> dict[str, float]:
    """Clean accuracy, ASR and RA."""
    labels = test.required_labels
    wanted = trigger.wanted_labels(labels)
    others = torch.nonzero(wanted != labels).flatten()
    signed = trigger.apply(as_signed(test.pixels[others]))
    pixels = ((signed + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    clean, taken = network.predict(test), network.predict(replace(test[others], pixels=pixels))
    shares = {"clean_accuracy": clean == labels, "asr": taken == wanted[others], "ra": taken == labels[others]}
    return {name: float(share.double().mean()) for name, share in shares.items()}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows, whole."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)


def in_words(rows: list[dict[str, Any]]) -> str:
    """Means over networks with 95 % intervals, and the share of networks whose ASR is at most 0.1."""
    if len(rows) < 2:
        return f"{len(rows)} networks"
    words = []
    for name in ("clean_accuracy", "asr", "ra", "seconds"):
        values = np.array([row[name] for row in rows])
        interval = bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
        words.append(f"{name} {values.mean():.3f} ({interval.low:.3f} to {interval.high:.3f})")
    share = np.mean([row["asr"] <= 0.1 for row in rows])
    return f"{len(rows)} networks: {', '.join(words)}; ASR ≤ 0.1 of {share:.2f}"


if __name__ == "__main__":
    main()
