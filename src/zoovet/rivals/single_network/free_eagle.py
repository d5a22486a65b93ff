"""FreeEagle: inner values that make the network answer each class; does one class lurk in all the others'?"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.rivals.single_network.interface import Progress, SingleNetworkResult, class_result, require_testable
from zoovet.rivals.single_network.outliers import interquartile_excess
from zoovet.rivals.single_network.splitting import SplitNetwork, split_network

__all__ = ["FreeEagle", "FreeEagleConfig", "dummy_answers"]

_CLASSES_AT_ONCE = 64
_NUM_NOISE = 8
_MOST = 999.0


@dataclass(frozen=True, kw_only=True)
class FreeEagleConfig:
    """The search for inner values; the defaults are those of the authors' code.

    Attributes:
        num_steps: Of Adam.
        learning_rate: Of the same.
        weight_decay: Of the same, on the inner values.
        seed: Of where they start, the same for every class.

    Raises:
        ZoovetError: A number out of its range.
    """

    num_steps: int = 1000
    learning_rate: float = 0.01
    weight_decay: float = 0.005
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ZoovetError(
                "num_steps must be at least 1, learning_rate above 0 and weight_decay at least 0, got "
                f"{self.num_steps}, {self.learning_rate} and {self.weight_decay}"
            )


@dataclass(frozen=True, kw_only=True)
class FreeEagle:
    """Scores a network by how much one class's probability stands out in what makes it answer the others.

    Source: Fu, Zhang, Ji, Wang, Lin, Feng and Yin 2023, *FreeEagle: Detecting Complex Neural Trojans in Data-Free
    Cases*, section 4: for each class, values at an inner layer are sought that the rest of the network answers with
    that class; the mean probability of a class on the other classes' values says how it lurks there; the network's
    score is the greatest such mean's distance from the third quartile in interquartile ranges. The paper
    gives no p-value.

    The layer is where about half of the convolutions and linear layers lie behind, which is what the authors chose by
    hand for each of their architectures (a network that only its own code can run is cut before its last layer).
    Values are kept at 0 or above where those of noise images all are, which the authors too said for each architecture,
    from its activations. All classes' values start from the same draw, so that the classes' order does not count;
    quartiles are interpolated. Settings are those of the authors' code.

    Attributes:
        config: The search.
    """

    config: FreeEagleConfig = field(default_factory=FreeEagleConfig)
    needs_images: bool = field(default=False, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are mean probabilities' distances from the third quartile."""
        require_testable(network)
        probabilities = dummy_answers(network, self.config, progress)
        count = len(probabilities)
        lurking = probabilities.masked_fill(torch.eye(count, dtype=torch.bool), 0.0).sum(0) / (count - 1)
        class_scores = interquartile_excess(lurking)
        return class_result(class_scores, float(class_scores.max()))


def dummy_answers(network: Runnable, config: FreeEagleConfig, progress: Progress = lambda _: None) -> Tensor:
    """Probabilities of all classes on the values found for each class: float64 [classes, classes]."""
    with torch.inference_mode(False):
        split = split_network(network, "middle")
        generator = torch.Generator().manual_seed(config.seed)
        noise = 2 * torch.rand(_NUM_NOISE, *network.input_shape, generator=generator) - 1
        with torch.no_grad():
            usual = split.features(noise.to(network.device, network.dtype))
        least = 0.0 if float(usual.min()) >= 0 else -_MOST
        start = torch.rand(split.feature_shape, generator=generator).to(usual)
        rows = []
        for classes in torch.arange(network.num_classes, device=usual.device).split(_CLASSES_AT_ONCE):
            rows.append(_search(split, start, classes, least, config))
            progress((int(classes[-1]) + 1) / network.num_classes)
        return torch.cat(rows).cpu()


def _search(split: SplitNetwork, start: Tensor, classes: Tensor, least: float, config: FreeEagleConfig) -> Tensor:
    values = start.expand(len(classes), *start.shape).clone().requires_grad_()
    optimizer = torch.optim.Adam([values], lr=config.learning_rate, weight_decay=config.weight_decay)
    for _ in range(config.num_steps):
        with torch.enable_grad():
            loss = functional.cross_entropy(split.answers(values), classes, reduction="sum")
        (values.grad,) = torch.autograd.grad(loss, values)
        optimizer.step()
        with torch.no_grad():
            values.clamp_(least, _MOST)
    with torch.no_grad():
        return split.answers(values).double().softmax(1)
