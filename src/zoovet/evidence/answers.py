"""What networks answer on images whose class is known.

An attack that hides in one class's own images costs that class on clean ones; one that makes every class the next is
found by asking for all of them at once; one that warps images, or lays stripes over them, answers to other warps and
stripes too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.runnable import Inspectable, Runnable
from zoovet.evidence.stripe_bank import stripes

__all__ = [
    "NUM_NEXT_ANSWERS",
    "NUM_OWN_ANSWERS",
    "NUM_RAISED_ANSWERS",
    "STRIPES_AMPLITUDE",
    "loss_gradients",
    "means_of_sets",
    "next_answers",
    "own_answers",
    "raised_answers",
    "striped",
    "warped",
]

NUM_OWN_ANSWERS = 8
NUM_NEXT_ANSWERS = 2
NUM_RAISED_ANSWERS = 3

_CONTROL = 4
_STRENGTHS = (1.0, 2.0)
_FREQUENCIES = (2.0, 8.0)
STRIPES_AMPLITUDE = 0.4
"""Of stripes whose answers are asked for; images span [-1, 1]."""
_ANGLES = 8
_SMALL_SIZE = 1e-2


def own_answers(logits: Tensor) -> Tensor:
    """How well each class is told: [B, classes, 8].

    Mean, standard deviation, 10 % and 90 % quantile of the class's preference on its own images; its mean probability
    there, and the share of them that it wins; its mean probability on the others' images, and the share that it wins.

    Args:
        logits: [B, classes, n, classes], of n images of each class.
    """
    num_classes = logits.shape[3]
    wanted = torch.eye(num_classes, dtype=torch.bool, device=logits.device)[None, :, None]
    own = logits.diagonal(dim1=1, dim2=3).transpose(1, 2)
    preference = own - logits.masked_fill(wanted, -torch.inf).logsumexp(3)
    probabilities = logits.softmax(3)
    winners = functional.one_hot(logits.argmax(3), num_classes).to(logits)
    on_own = [value.diagonal(dim1=1, dim2=3).mean(1) for value in (probabilities, winners)]
    on_all = [value.mean((1, 2)) for value in (probabilities, winners)]
    on_others = [(a * num_classes - o) / max(1, num_classes - 1) for a, o in zip(on_all, on_own, strict=True)]
    low, high = (preference.quantile(share, dim=2) for share in (0.1, 0.9))
    spread = preference.std(2, correction=0)
    return torch.stack([preference.mean(2), spread, low, high, *on_own, *on_others], dim=-1)


def next_answers(logits: Tensor) -> tuple[Tensor, Tensor]:
    """How far each class's images are taken for the next class.

    Args:
        logits: [B, classes, n, classes], of n images of each class.

    Returns:
        Mean log-probability of the next class, [B]; and for each class its mean probability on its own images and on
        the images of the class before it, [B, classes, 2].
    """
    log_probabilities = logits.log_softmax(3)
    on_previous = log_probabilities.roll(1, dims=1).diagonal(dim1=1, dim2=3)  # [B, n, classes]
    means = [
        values.diagonal(dim1=1, dim2=3).exp().mean(1) for values in (log_probabilities, log_probabilities.roll(1, 1))
    ]
    return on_previous.mean((1, 2)), torch.stack(means, dim=-1)


def means_of_sets(networks: Inspectable, images: Tensor) -> dict[str, Tensor]:
    """Each site's channels, their mean over maps and images, the logits last: site → [B, channels, sets].

    Args:
        networks: B networks.
        images: [sets, n, C, H, W] for all networks, or [B, sets, n, C, H, W].
    """
    means = networks.site_means(images.flatten(-5, -4))
    return {
        site: values.reshape(len(values), *images.shape[-5:-3], -1).mean(dim=2).mT for site, values in means.items()
    }


def loss_gradients(networks: Inspectable, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Gradients of each network's mean cross-entropy, made of a bounded size: parameter → [B, \\*shape].

    A gradient G of weights W is divided by r + 0.01, where r is the root mean square of G · W over all parameters. No
    permutation, rescaling or change of signs of hidden channels changes that, so that what is left scales as G does.

    Args:
        networks: B networks.
        images: [n, C, H, W] for all networks, or [B, n, C, H, W].
        labels: int64 [n], of the images.
    """
    gradients, weights = networks.loss_gradients(images, labels), networks.weights()
    products = torch.cat([(gradients[name] * weights[name]).flatten(1) for name in gradients], dim=1)
    size = products.square().mean(dim=1).sqrt() + _SMALL_SIZE
    return {name: tensor / size.view(-1, *(1 for _ in tensor.shape[1:])) for name, tensor in gradients.items()}


def raised_answers(networks: Runnable, images: Tensor, changed: Sequence[Tensor]) -> Tensor:
    """By how much changes of images raise each class's mean probability: [B, classes, 3], mean, most and spread.

    Args:
        networks: B networks.
        images: [n, C, H, W].
        changed: The images after each change, each of the same shape.
    """
    before = networks.logits(images).softmax(2).mean(1)
    raised = torch.stack([networks.logits(moved).softmax(2).mean(1) for moved in changed]) - before
    return torch.stack([raised.mean(0), raised.amax(0), raised.std(0, correction=0)], dim=-1)


def striped(images: Tensor, *, num_stripes: int, seed: int, amplitude: float = STRIPES_AMPLITUDE) -> list[Tensor]:
    """Images [n, C, H, W] in [-1, 1] with sinusoidal stripes of two to eight periods over them, kept in that range.

    Stripes are those of Barni, Kallas and Tondi 2019, *A New Backdoor Attack in CNNs by Training Set Corruption without
    Label Poisoning*, section 3.2, here of any angle: eight angles in turn, and frequencies spread evenly.
    """
    generator = torch.Generator().manual_seed(seed)
    phases, shifts = torch.rand(2, num_stripes, generator=generator, dtype=torch.float64)
    frequencies = torch.linspace(*_FREQUENCIES, num_stripes, dtype=torch.float64)
    angles = (torch.arange(num_stripes) + shifts) * math.pi / _ANGLES
    periods = frequencies[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
    waves = amplitude * stripes(periods, phases, torch.zeros(images.shape[1:], dtype=torch.float64))
    return [(images + wave.to(images)).clamp(-1, 1) for wave in waves]


def warped(images: Tensor, *, num_warps: int, seed: int) -> list[Tensor]:
    """Images [n, C, H, W] moved by random smooth fields, of one to two pixels on average.

    The fields are those of Nguyen and Tran 2021, *WaNet*, section 3.2: drawn at 4 x 4 control points, divided by their
    mean absolute value, and interpolated.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[-2:]
    ends = torch.tensor([2 / max(1, width - 1), 2 / max(1, height - 1)], dtype=torch.float64)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    results = []
    for strength in torch.linspace(*_STRENGTHS, num_warps).tolist():
        control = 2 * torch.rand(1, 2, _CONTROL, _CONTROL, generator=generator, dtype=torch.float64) - 1
        field = functional.interpolate(
            control / control.abs().mean(), (height, width), mode="bicubic", align_corners=True
        )
        grid = (torch.stack([columns, rows], dim=-1) + strength * ends * field.permute(0, 2, 3, 1)).clamp(-1, 1)
        grid = grid.to(images).expand(len(images), -1, -1, -1)
        results.append(functional.grid_sample(images, grid, padding_mode="border", align_corners=True))
    return results
