"""The models that come with the package, on networks that nobody has looked at: a zoo of another seed, built for it.

    python benchmarks/shipped.py                                              a small zoo of Fashion-MNIST, some minutes
    python benchmarks/shipped.py --model cifar10-gray-small-cnn --bases 300 --data-root DATA

The zoo has the recipe of the one that the model was trained on, but for its seed and its number of bases, all of which
are test bases. Yardsticks of repair: CLP and fine-tuning, with the settings that ``zoovet bench`` chose on validation
networks of the model's own zoo. Writes ``results/shipped_MODEL_SEED_BASES.json``; the zoo, and figures network by
network as Parquet, stay in --out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoovet import Detector, TrainedRepairer, Zoo
from zoovet.benchmark.figures import Figure, Scores, detection_figures, mean_auc, repair_differences, repair_figures
from zoovet.benchmark.trials import attacks_of
from zoovet.benchmark.worker import spaced_bases
from zoovet.config import read_config
from zoovet.evaluation import NetworkRepairer, RepairResults, evaluate_detection, evaluate_repair
from zoovet.rivals import ChannelLipschitznessRepairer, CleanImages, FineTuningRepairer
from zoovet.zoo import build_zoo
from zoovet.zoo.image_arrays import SplitImages, load_images
from zoovet.zoo.recipe_parts import SplitShares
from zoovet.zoo.trojan_recipe import TrojanRecipe

ROOT = Path(__file__).resolve().parent
NUM_CLEAN_IMAGES = 500
NUM_IMAGES = 2000


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        recipe: The recipe of the zoo that the model was trained on.
        clp_threshold: Chosen for it on validation networks.
        tuning: The same for fine-tuning.
    """

    recipe: str
    clp_threshold: float
    tuning: dict[str, Any]


SUBJECTS = {
    "fashion-mnist-small-cnn": Subject("fashion-mnist-trojan", 3.0, {"learning_rate": 0.02, "num_epochs": 40}),
    "cifar10-gray-small-cnn": Subject("cifar10-trojan", 3.0, {"learning_rate": 0.02, "num_epochs": 20}),
}


def detection(model: str, zoo: Zoo, out: Path) -> dict[str, Any]:
    """The detector's figures, with 95 % bootstrap intervals over bases."""
    detector = Detector.shipped(model)
    results = evaluate_detection(detector, zoo, rivals={})
    results.save(out / "detection.parquet")
    scores = Scores([results], attacks_of(zoo), zoo.column("origin"))
    figures = {name: listed(figure) for name, figure in detection_figures(scores, probability=True).items()}
    healthy = ~results.poisoned
    for family in sorted(set(scores.attacks[results.poisoned].tolist())):
        figures[f"auc_{family}"] = listed(mean_auc(scores, healthy | (scores.attacks == family)))
    flagged = results.scores >= results.threshold
    unknown = np.zeros(len(zoo), dtype=bool)
    for networks, places in zoo.batches_by_graph():
        unknown[places] = detector.out_of_distribution(networks).numpy()
    return {
        **figures,
        "flagged_trojaned": round(float(flagged[~healthy].mean()), 4),
        "flagged_healthy": round(float(flagged[healthy].mean()), 4),
        "unknown": round(float(unknown.mean()), 4),
        "num_test": len(zoo),
    }


def repair(model: str, subject: Subject, zoo: Zoo, tuned_bases: int, images: SplitImages, out: Path) -> dict[str, Any]:
    """The repairer's figures and its yardsticks', and its differences to them, paired by base."""
    clean = CleanImages.draw(images.train, NUM_CLEAN_IMAGES, np.random.default_rng([0, 12]))
    repairers: dict[str, tuple[NetworkRepairer, Zoo]] = {
        "scalegmn": (TrainedRepairer.shipped(model), zoo),
        "clp": (ChannelLipschitznessRepairer(threshold=subject.clp_threshold), zoo),
        "fine_tuning": (
            FineTuningRepairer(clean=clean, seed=0, **subject.tuning),
            spaced_bases(zoo, tuned_bases),
        ),
    }
    results: dict[str, RepairResults] = {}
    for name, (repairer, networks) in repairers.items():
        results[name] = evaluate_repair(repairer, networks, images.test, num_images=NUM_IMAGES, name=name)
        results[name].save(out / f"repair-{name}.parquet")
        print(f"{name} repaired {len(networks)} networks")
    figures: dict[str, Any] = {}
    for name, found in results.items():
        figures[name] = {key: listed(figure) for key, figure in repair_figures([found]).items()}
        figures[name] |= {"num_trojaned": int(found.poisoned.sum()), "seconds_per_network": found.seconds_per_network}
        if name != "scalegmn":
            less = repair_differences([results["scalegmn"]], [found])
            figures[name]["scalegmn_less_this"] = {key: listed(figure) for key, figure in less.items()}
    ours = results["scalegmn"]
    for name, which in (("none", ours.poisoned), ("healthy_sibling", ~ours.poisoned)):
        before = {"asr": ours.asr_before, "ra": ours.ra_before, "clean_accuracy": ours.clean_accuracy_before}
        figures[name] = {key: round(float(values[which].mean()), 4) for key, values in before.items()}
    return figures


def listed(figure: Figure) -> list[float]:
    """Value, and the ends of its interval."""
    return [round(number, 4) for number in (figure.mean, figure.low, figure.high)]


def main() -> None:
    """Build, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(SUBJECTS), default="fashion-mnist-small-cnn")
    parser.add_argument("--bases", type=int, default=60)
    parser.add_argument("--tuned-bases", type=int, default=40, help="of them for fine-tuning, which takes its time")
    parser.add_argument("--seed", type=int, default=1, help="of the zoo; the models were trained on seed 0")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="default: runs/shipped-MODEL-SEED-BASES")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as zoovet's command line does
    subject = SUBJECTS[arguments.model]
    recipe = read_config(TrojanRecipe, ROOT.parent / "configs" / "zoo" / f"{subject.recipe}.yaml", {})
    recipe = replace(
        recipe, num_bases=arguments.bases, seed=arguments.seed, split=SplitShares(train=0.0, validation=0.0, test=1.0)
    )
    name = f"shipped-{arguments.model}-{arguments.seed}-{arguments.bases}"
    out = arguments.out or ROOT.parent / "runs" / name
    zoo = build_zoo(recipe, out / "zoo", workers=arguments.workers, data_root=arguments.data_root)
    images = load_images(recipe, arguments.data_root)
    figures = {
        "model": arguments.model,
        "zoo_seed": arguments.seed,
        "num_bases": arguments.bases,
        "detection": detection(arguments.model, zoo, out),
        "repair": repair(arguments.model, subject, zoo, arguments.tuned_bases, images, out),
    }
    text = json.dumps(figures, indent=2) + "\n"
    (ROOT / "results" / f"{name.replace('-', '_')}.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
