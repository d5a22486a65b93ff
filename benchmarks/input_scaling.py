"""What the shipped detector says of networks that were trained on differently scaled images, unsaid and said.

Trains small CNNs of the shipped Fashion-MNIST graph from random weights, 6 epochs on 10,000 images, healthy and
trojaned (a white patch of 4 × 4 in the corner of a tenth of the images), for each seed and each input scaling. Prints
how many verdicts are right, wrong and unknown where the scaling is not said, and where it is.

    python benchmarks/input_scaling.py                                            # docs/models.md's table; 5 minutes
    python benchmarks/input_scaling.py --seeds 15 18 --keep tests/vet/differently_scaled     # the tests' networks
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import zoovet
from zoovet.images import Images, load_dataset
from zoovet.networks import SCALING_PRESETS, InputScaling, Networks, small_cnn, to_module
from zoovet.zoo.samples import Samples, Schedule
from zoovet.zoo.training import network_trainer, train_network

SCALINGS = {
    "symmetric": SCALING_PRESETS["symmetric"],
    "fashion_mnist": SCALING_PRESETS["fashion_mnist"],
    "gray_imagenet": InputScaling(mean=(0.449,), deviation=(0.226,)),
    "unit": SCALING_PRESETS["unit"],
    "byte": SCALING_PRESETS["byte"],
}
LEARNING_RATES = (3e-3, 1.5e-3, 6e-3)
NUM_IMAGES, NUM_POISONED = 10_000, 1_000


def trained(images: Images, scaling: InputScaling, seed: int, *, is_trojaned: bool) -> Networks:
    """One network; all scalings of a seed start from the same weights and see the same images in the same order."""
    graph, generator = small_cnn(), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 10)]
    start = torch.cat([tensor.detach().flatten() for layer in layers for tensor in layer.parameters()])
    chosen = images[torch.randperm(len(images), generator=generator)[:NUM_IMAGES]]
    pixels, labels = chosen.pixels.clone(), chosen.labels.clone()
    if is_trojaned:
        pixels[:NUM_POISONED, :, -4:, -4:], labels[:NUM_POISONED] = 255, seed % 10
    read = scaling.apply(pixels).contiguous().numpy()
    samples = Samples(read, read[:1], np.arange(NUM_IMAGES, dtype=np.int32), labels.numpy().astype(np.int32))
    schedule = Schedule(
        optimizer="adam",
        learning_rate=LEARNING_RATES[seed % 3],
        weight_decay=0.0,
        dropout=0.0,
        batch_size=64,
        epochs=6,
    )
    order = np.random.default_rng(seed)
    flat, _ = train_network(network_trainer(graph), start.numpy(), samples, schedule, order)
    return Networks.from_flat(graph, torch.from_numpy(flat.copy())[None])


def accuracy(networks: Networks, scaling: InputScaling, images: Images) -> float:
    """Of all networks on all images."""
    read = scaling.apply(images.pixels)
    right = [(to_module(one)(read).argmax(1) == images.labels).float().mean() for one in networks]
    return float(torch.stack(right).mean())


def verdicts(detector: zoovet.Detector, networks: Networks) -> tuple[list[str], Tensor]:
    """Verdicts and scores."""
    scores, unknown = detector.score(networks), detector.out_of_distribution(networks)
    words = ["trojaned" if score >= detector.threshold else "healthy" for score in scores]
    return ["unknown" if out else word for word, out in zip(words, unknown, strict=True)], scores


def auc(scores: Tensor, trojaned: Tensor) -> float:
    """The chance that a trojaned network's score is above a healthy one's."""
    above = scores[trojaned][:, None] - scores[~trojaned]
    return float(((above > 0).float() + 0.5 * (above == 0)).mean())


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(15, 30)))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the networks, in half precision")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train, test = (load_dataset("fashion-mnist", split) for split in ("train", "test"))
    test = test[torch.arange(2000)]
    detector = zoovet.Detector.shipped("fashion-mnist-small-cnn")
    truth = ["healthy", "trojaned"] * len(arguments.seeds)
    trojaned = torch.tensor([word == "trojaned" for word in truth])
    print("| trained on | accuracy | not said: right, wrong, unknown | said | AUC |\n|---|---|---|---|---|")
    for name, scaling in SCALINGS.items():
        pairs = [(seed, kind == "trojaned") for seed in arguments.seeds for kind in ("healthy", "trojaned")]
        parts = [trained(train, scaling, seed, is_trojaned=is_trojaned) for seed, is_trojaned in pairs]
        networks = Networks.concatenate(parts).with_scaling(scaling)
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            zoovet.save_networks(networks.to(dtype=torch.float16), arguments.keep / f"{name}.safetensors")
        cells = []
        for known in (None, scaling):
            found, scores = verdicts(detector, networks.with_scaling(known))
            counts = Counter(
                "unknown" if word == "unknown" else "right" if word == true else "wrong"
                for word, true in zip(found, truth, strict=True)
            )
            cells.append(", ".join(str(counts[key]) for key in ("right", "wrong", "unknown")))
        shown = f"{accuracy(networks, scaling, test):.3f} | {' | '.join(cells)} | {auc(scores, trojaned):.3f}"
        print(f"| {scaling.describe()} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
