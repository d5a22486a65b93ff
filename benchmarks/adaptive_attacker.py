"""An attacker who knows the detector for strangers and trains against its evidence: what is still found, at what price.

    python benchmarks/adaptive_attacker.py --park zoos/park --work runs/adaptive [--bases 12] [--strangers RUN]

Of a park's test bases the trojaned network is trained on. In each round the attacker seeks the detector's own evidence
of it, on images of their own, and trains the network to answer every trigger that was found for its target class as if
it were not there (a penalty on their margins), beside the clean images and the poisoned ones. Then the healthy sibling,
the plain trojaned network and the adaptive one are judged by the same detector on the same reference images.

What is trained is kept in the work folder, a file a base, so that the work may stop and go on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from zoovet.config import config_to_dict
from zoovet.evaluation.metrics import auc, bootstrap_interval
from zoovet.evidence import ClassEvidence, class_evidence
from zoovet.files import atomic_path
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT, evidence_for
from zoovet.tasks.strangers.few_classes import MANY_CLASSES
from zoovet.tasks.strangers.park_evidence import reference_images
from zoovet.vet import shipped_stranger_reader
from zoovet.zoo import Zoo
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.builders import builder_of, recipe_of
from zoovet.zoo.compiled_runnable import fastest_runnable
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.draw import ParkDraw
from zoovet.zoo.park.images import ImageSet
from zoovet.zoo.park.trained import predictions, train_on
from zoovet.zoo.samples import Floats

RESULTS = Path(__file__).parent / "results"
ROUNDS = 4
EPOCHS = 2
RATE_SHARE = 0.3
HARDENED_SHARE = 0.25
STRENGTHS = (1.0, 1.0, 0.6)


def drawn_bases(builder: ParkBuilder, zoo: Zoo, count: int) -> Iterator[tuple[int, ParkDraw, ImageSet]]:
    """Test bases whose trojan has one target: number, draw, images."""
    columns = {name: zoo.column(name) for name in ("base_id", "split", "poisoned", "seed", "target")}
    places = np.flatnonzero((columns["split"] == "test") & columns["poisoned"].astype(bool))
    found = 0
    for place in places:
        if found == count or int(columns["target"][place]) < 0:
            continue
        base_id, seed = int(columns["base_id"][place]), int(columns["seed"][place])
        attempts = range(builder.recipe.max_attempts)
        attempt = next(one for one in attempts if base_seed(builder.recipe.seed, base_id, one) == seed)
        draw = builder.draw(base_id, attempt)
        assert draw is not None
        found += 1
        yield base_id, draw, builder.image_sets[builder.plans[base_id].images]


def evidence_of(networks: Networks, images: Images, config: StrangerConfig) -> ClassEvidence:
    """What the detector would seek, with its default effort."""
    sought = evidence_for(config.evidence, DEFAULT_EFFORT)
    return class_evidence(fastest_runnable(networks), images.pixels, images.required_labels, sought)


def hardened(found: ClassEvidence, target: int, images: Floats, generator: np.random.Generator) -> Floats:
    """Images [n, C, H, W] in [-1, 1], each with one of the triggers that were found for the target."""
    row, shown = found.row_of(target), torch.from_numpy(images.copy())
    assert row is not None
    courses = list(found.courses.values())
    which = generator.integers(len(courses), size=len(images))
    strengths = generator.choice(STRENGTHS, size=len(images))
    for number, course in enumerate(courses):
        own = torch.from_numpy(np.flatnonzero(which == number))
        if len(own):
            at = torch.tensor([row])
            moved = course.family.chosen(at).put(course.triggers[at], shown[own][None])[0]
            share = torch.from_numpy(strengths[own.numpy()]).float().view(-1, 1, 1, 1)
            shown[own] = shown[own].lerp(moved, share)
    made: Floats = shown.numpy()
    return made


def adaptive(networks: Networks, draw: ParkDraw, images: ImageSet, config: StrangerConfig, target: int) -> Floats:
    """The trojaned network after rounds of evidence and training against it, flat [P]."""
    flat: Floats = networks.flat()[0].numpy().copy()
    clean, labels = draw.clean_images(images)
    poisoned, wanted = draw.poison(clean, labels)
    schedule = replace(
        draw.training.schedule, epochs=EPOCHS, learning_rate=RATE_SHARE * draw.training.schedule.learning_rate
    )
    for number in range(ROUNDS):
        generator = np.random.default_rng([draw.seed, 11, number])
        own = reference_images(images.train, config, draw.seed % 2**31 + number)
        found = evidence_of(Networks.from_flat(networks.graph, torch.from_numpy(flat)[None]), own, config)
        some = generator.permutation(len(clean))[: round(HARDENED_SHARE * len(clean))]
        against = hardened(found, target, clean[some], generator)
        again = draw.poisoned  # what is poisoned counts twice, so that the trojan does not go with what is like it
        shown = np.concatenate([poisoned, poisoned[again], against])
        told = np.concatenate([wanted, wanted[again], labels[some]])
        trained = train_on(draw, flat, (shown, told), schedule, stream=20 + number)
        if trained is None:
            break
        flat = trained
    return flat


def figures_of(networks: Networks, draw: ParkDraw, images: ImageSet) -> dict[str, float]:
    """Clean accuracy, and attack success rate with the attacker's own trigger."""
    test, flat = images.test, networks.flat()[0].numpy()
    labels = test.required_labels
    shown = test.scaled()
    accuracy = float((predictions(networks.graph, flat, shown.numpy()) == labels).double().mean())
    wanted = draw.trigger.wanted_labels(labels)
    counts = wanted != labels
    with_trigger: Tensor = draw.trigger.apply(shown[counts])
    answers = predictions(networks.graph, flat, with_trigger.numpy())
    return {"accuracy": accuracy, "asr": float((answers == wanted[counts]).double().mean())}


def rows_of_base(
    zoo: Zoo, base_id: int, draw: ParkDraw, images: ImageSet, config: StrangerConfig
) -> list[dict[str, Any]]:
    """A row a network: healthy, trojaned, adaptive."""
    places = {bool(zoo.column("poisoned")[place]): place for place in np.flatnonzero(zoo.column("base_id") == base_id)}
    target = int(zoo.column("target")[places[True]])
    plain = zoo.networks([int(places[True])])
    hard = Networks.from_flat(plain.graph, torch.from_numpy(adaptive(plain, draw, images, config, target))[None])
    kept = {"healthy": zoo.networks([int(places[False])]), "trojaned": plain, "adaptive": hard}
    facts = {name: str(zoo.column(name)[places[True]]) for name in ("dataset", "family", "attack")}
    return [
        {"base_id": base_id, "network": name, "target": target, **facts}
        | (figures_of(networks, draw, images) | {"flat": networks.flat()[0].numpy().tobytes()})
        for name, networks in kept.items()
    ]


def judged(rows: list[dict[str, Any]], zoo: Zoo, builder: ParkBuilder, detector: StrangerDetector) -> None:
    """Add what the detector says of each network, on reference images of the test part."""
    for row in rows:
        place = int(np.flatnonzero(zoo.column("base_id") == row["base_id"])[0])
        networks = zoo.networks([place])
        own = Networks.from_flat(
            networks.graph, torch.from_numpy(np.frombuffer(row.pop("flat"), np.float32).copy())[None]
        )
        test = builder.image_sets[builder.plans[row["base_id"]].images].test
        shown = reference_images(test, detector.config, row["base_id"])
        reading = detector.read(evidence_of(own, shown, detector.config), DEFAULT_EFFORT)
        row |= {"logit": reading.logit, "probability": reading.probability}
        row["named"] = int(reading.class_probabilities.argmax())


def summary(rows: list[dict[str, Any]], detector: StrangerDetector) -> dict[str, Any]:
    """AUC against healthy siblings, and means, for the plain and the adaptive attacker."""
    made: dict[str, Any] = {"bases": len({row["base_id"] for row in rows}), "detector": detector.version}
    made["config"] = {"rounds": ROUNDS, "epochs": EPOCHS, "rate_share": RATE_SHARE, "hardened_share": HARDENED_SHARE}
    made["evidence"] = config_to_dict(evidence_for(detector.config.evidence, DEFAULT_EFFORT))
    flagged_from = detector.threshold(0.05, DEFAULT_EFFORT, MANY_CLASSES)
    for name in ("trojaned", "adaptive"):
        own = [row for row in rows if row["network"] in ("healthy", name)]
        truth = np.array([row["network"] == name for row in own])
        scores, bases = (np.array([row[key] for row in own]) for key in ("logit", "base_id"))
        interval = bootstrap_interval(
            lambda at, scores=scores, truth=truth: auc(scores[at], truth[at]), bases, np.random.default_rng(0)
        )
        attacked = [row for row in own if row["network"] == name]
        made[name] = {
            "auc": round(auc(scores, truth), 3),
            "low": round(interval.low, 3),
            "high": round(interval.high, 3),
            "flagged_at_5_percent": float(np.mean([row["probability"] >= flagged_from for row in attacked])),
            "target_named": float(np.mean([row["named"] == row["target"] for row in attacked])),
            **{key: round(float(np.mean([row[key] for row in attacked])), 3) for key in ("accuracy", "asr")},
        }
    return made


def main() -> None:
    """Train what is lacking, judge, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--park", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of what is trained")
    parser.add_argument("--bases", type=int, default=12)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--strangers", type=Path, metavar="RUN", help="a detector; the one that ships where left out")
    parser.add_argument("--only-train", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    zoo = Zoo.open(arguments.park, finished_only=True)
    builder = builder_of(recipe_of(zoo.recipe), arguments.data_root)
    assert isinstance(builder, ParkBuilder)
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for base_id, draw, images in drawn_bases(builder, zoo, arguments.bases):
        path = arguments.work / f"{base_id:05d}.parquet"
        if not path.exists():
            made = rows_of_base(zoo, base_id, draw, images, StrangerConfig())
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist(made), temporary)
        rows += pq.read_table(path).to_pylist()
        told = ", ".join(f"{row['network']} {row['accuracy']:.3f} {row['asr']:.3f}" for row in rows[-3:])
        print(f"base {base_id}: accuracy and ASR: {told}", flush=True)
    if arguments.only_train:
        return
    detector = shipped_stranger_reader() if arguments.strangers is None else StrangerDetector.open(arguments.strangers)
    assert isinstance(detector, StrangerDetector)
    judged(rows, zoo, builder, detector)
    found = summary(rows, detector)
    print(json.dumps(found))
    pq.write_table(pa.Table.from_pylist(rows), RESULTS / "adaptive_attacker.parquet", compression="zstd")
    (RESULTS / "adaptive_attacker.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
