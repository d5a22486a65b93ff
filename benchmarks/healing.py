"""Healing strangers on a park's networks: clean accuracy, ASR, RA and time, beside plain fine-tuning.

    python benchmarks/healing.py --zoo zoos/park --out healing.parquet              its test networks, 10 images a class
    python benchmarks/healing.py --zoo zoos/park --out healing.parquet --split train --images-per-class 50 --limit 5

Each trojaned network is healed as `zoovet repair --force` heals it: the detector for strangers names the classes that
are suspected, nobody says the true one. `--oracle` names the true one, which tells the edit from the verdict and takes
half of the time. A row a network and method, written as they come: what the file holds is not done again, so that a
stopped run goes on. Reference images are drawn from the image set's test images; all is measured on 1,000 others.

Fine-tuning is Adam on the labels of the same reference images, moved by up to two pixels, for as many steps as
healing's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import bootstrap
from torch import Tensor
from torch.nn import functional

from zoovet.benchmark.single_network import ReferenceChoice
from zoovet.errors import ZoovetError
from zoovet.evidence.scaled_images import as_signed
from zoovet.files import atomic_path
from zoovet.healing import Edit, HealingConfig, heal
from zoovet.images import Images, Trigger
from zoovet.networks import fold_batch_norms
from zoovet.vet import Network, Repairer
from zoovet.vet.editable_network import editable_network, with_weights
from zoovet.vet.network import network_of_graph
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.park.images import load_image_set
from zoovet.zoo.park.recipe import ParkRecipe

NUM_MEASURED = 1000
METHODS = ("as it is", "fine-tuning", "healing")
TUNING_STEPS, TUNING_RATE = 120, 1e-3


def main() -> None:
    """Heal, measure, and print the means over networks with their 95 % intervals."""
    options = arguments()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    zoo = Zoo.open(options.zoo, finished_only=True).split(options.split)
    rows = pq.read_table(options.out).to_pylist() if options.out.exists() else []
    places = np.flatnonzero(zoo.column("poisoned").astype(bool))[: options.limit]
    image_sets = ImageSets(zoo, options.data_root)
    for done, place in enumerate(places.tolist(), start=1):
        known = {(row["network_id"], row["method"]) for row in rows}
        name = str(zoo.column("network_id")[place])
        missing = [method for method in METHODS if (name, method) not in known]
        for row in measured(zoo, place, image_sets, missing, options) if missing else ():
            rows.append(row)
            write(options.out, rows)
        print(f"{done} of {len(places)}: {name}", flush=True)
    for method in METHODS:
        print(f"{method:12} {in_words([row for row in rows if row['method'] == method])}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="Parquet file of rows; what it holds is kept")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--limit", type=int, help="networks at most")
    parser.add_argument("--oracle", action="store_true", help="name the true target instead of asking the detector")
    parser.add_argument("--data-root", type=Path, help="folder of image datasets")
    return parser.parse_args()


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
        return reference, some[torch.tensor(places[:NUM_MEASURED])]


def measured(
    zoo: Zoo, place: int, image_sets: ImageSets, methods: list[str], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row for each method on one network."""
    networks, trigger = zoo.networks([place]), zoo.trigger(place)
    assert trigger is not None
    network = replace(network_of_graph(fold_batch_norms(networks), "network of a park"), unfolded=networks)
    scaling = networks.graph.input_scaling
    assert scaling is not None
    network = network.with_scaling(scaling)
    reference, test = image_sets.drawn(str(zoo.column("dataset")[place]), options.images_per_class)
    target = int(zoo.column("target")[place])
    ways: dict[str, Callable[[], tuple[Network, str]]] = {
        "as it is": lambda: (network, ""),
        "fine-tuning": lambda: (fine_tuned(network, reference), ""),
        "healing": lambda: healed(network, reference, target if options.oracle else None),
    }
    facts = {name: str(zoo.column(name)[place]) for name in ("network_id", "dataset", "family", "attack")}
    for method in methods:
        start = time.process_time()
        edited, said = ways[method]()
        row = {"method": method, "said": said, "images_per_class": options.images_per_class, "oracle": options.oracle}
        yield facts | row | {"seconds": time.process_time() - start} | figures(edited, test, trigger)


def healed(network: Network, images: Images, target: int | None) -> tuple[Network, str]:
    """After healing, and what came of it by its own measures."""
    if target is None:
        made = Repairer(force=True).repair(network, images)
        assert made.healing is not None
        return made, "healed" if made.healing.is_healed else "; ".join(made.healing.shortcomings)
    editable = editable_network(network)
    edit: Edit = heal(editable, as_signed(images.pixels), images.labels, [target], HealingConfig())
    return with_weights(network, edit.weights), f"strength {edit.strength:g}"


def fine_tuned(network: Network, images: Images) -> Network:
    """After Adam's steps on the reference images and their labels, in batches of 32, moved by some pixels."""
    editable, generator = editable_network(network), torch.Generator().manual_seed(0)
    weights = {name: own.clone().requires_grad_() for name, own in editable.weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=TUNING_RATE)
    shown, labels = as_signed(images.pixels), images.required_labels
    for _ in range(TUNING_STEPS):
        rows = torch.randint(len(shown), (32,), generator=generator)
        loss = functional.cross_entropy(editable.logits(weights, moved(shown[rows], generator)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return with_weights(network, weights)


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """All of them moved by up to two pixels."""
    height, width = images.shape[-2:]
    top, left = torch.randint(5, (2,), generator=generator).tolist()
    return functional.pad(images, (2,) * 4, mode="replicate")[..., top : top + height, left : left + width]


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
