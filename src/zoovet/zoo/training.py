"""Training one small network after another, fast: in compiled code where it can be had, else through torch.

Both ways take the same images in the same order and step like ``torch.optim``; they agree to float precision where
nothing is dropped out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph, Networks, run
from zoovet.zoo.native import NativeUnavailable, compile_spec
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule

__all__ = [
    "INITIALIZERS",
    "OPTIMIZERS",
    "TorchNetwork",
    "initial_weights",
    "network_trainer",
    "train_epochs",
    "train_network",
]

INITIALIZERS = ("glorot", "he", "orthogonal", "normal", "truncated_normal")
OPTIMIZERS = ("sgd", "adam", "rmsprop")


class NetworkTrainer(Protocol):
    """What trains and runs one network: :class:`~zoovet.zoo.native.NativeNetwork` or :class:`TorchNetwork`."""

    def pack(self, flat: Floats) -> Floats:
        """The trainer's own parameters from a flat vector."""

    def unpack(self, padded: Floats) -> Floats:
        """The flat vector from the trainer's own parameters."""

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """Train in place on the samples in their order, once; returns the mean loss."""

    def gradient(self, parameters: Floats, samples: Samples) -> Floats:
        """Gradient of the mean cross-entropy on the samples, in the layout of the parameters."""

    def image_gradients(self, parameters: Floats, images: Floats, labels: Integers) -> tuple[Floats, Floats]:
        """Gradient of every image's own cross-entropy to the image [N, C, H, W], and logits [N, classes]."""

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""


@cache
def network_trainer(spec: Graph) -> NetworkTrainer:
    """The fastest trainer there is for a spec. Where that is not the compiled one, a warning says why."""
    try:
        return compile_spec(spec)
    except NativeUnavailable as reason:
        warnings.warn(f"training through torch, several times slower than compiled: {reason}", stacklevel=2)
        return TorchNetwork(spec, str(reason))


def train_epochs(
    trainer: NetworkTrainer,
    flat: Floats,
    samples: Samples,
    schedule: Schedule,
    generator: np.random.Generator,
    anchor: Anchor | None = None,
) -> Iterator[tuple[Floats, int]]:
    """Train a network from given weights, and stop after every epoch.

    Args:
        trainer: From :func:`network_trainer`.
        flat: [P] float32, where it starts; left as it is.
        samples: What it is trained on, in a new random order each epoch.
        schedule: How.
        generator: Source of the orders and of the dropout.
        anchor: What the weights are held near to, or nothing.

    Yields:
        Flat weights [P] and the number of optimizer steps so far. Weights are NaN where training diverged.
    """
    parameters = trainer.pack(flat)
    memory = OptimizerMemory.fresh(parameters)
    for _ in range(schedule.epochs):
        order = generator.permutation(len(samples))
        trainer.train(parameters, memory, samples.in_order(order), schedule, int(generator.integers(2**32)), anchor)
        yield trainer.unpack(parameters), int(memory.num_steps[0])


def train_network(
    trainer: NetworkTrainer,
    flat: Floats,
    samples: Samples,
    schedule: Schedule,
    generator: np.random.Generator,
    anchor: Anchor | None = None,
) -> tuple[Floats, int]:
    """The end of :func:`train_epochs`: trained flat weights [P] and the number of optimizer steps."""
    *_, last = train_epochs(trainer, flat, samples, schedule, generator, anchor)
    return last


def initial_weights(spec: Graph, init: str, init_std: float, generator: np.random.Generator) -> Floats:
    """Fresh weights of one network, flat [P] float32; biases are zero.

    Args:
        spec: The network.
        init: ``glorot`` (uniform), ``he`` (normal), ``orthogonal``, ``normal`` or ``truncated_normal`` (at two
            standard deviations).
        init_std: Standard deviation of the last two; the others ignore it.
        generator: Source of the draws.
    """
    source = torch.Generator().manual_seed(int(generator.integers(2**63)))
    parts: list[torch.Tensor] = []
    for layer in spec.chain.layers:
        weight = torch.empty(layer.weight_shape)
        if init == "glorot":
            torch.nn.init.xavier_uniform_(weight, generator=source)
        elif init == "he":
            torch.nn.init.kaiming_normal_(weight, generator=source)
        elif init == "orthogonal":
            torch.nn.init.orthogonal_(weight, generator=source)
        elif init == "normal":
            weight.normal_(0.0, init_std, generator=source)
        elif init == "truncated_normal":
            torch.nn.init.trunc_normal_(weight, 0.0, init_std, -2 * init_std, 2 * init_std, generator=source)
        else:
            raise ZoovetError(f"initializer {init!r} is unknown{nearest(init, INITIALIZERS)}")
        parts += [weight.flatten(), torch.zeros(layer.out_channels)]
    return torch.cat(parts).numpy()


@dataclass(frozen=True)
class TorchNetwork:
    """Training through :func:`zoovet.networks.run` and autograd: any spec, no compiler.

    Attributes:
        spec: The networks it trains.
        reason: Why it is not the compiled trainer.
    """

    spec: Graph
    reason: str = field(default="it was not asked for", compare=False)

    def pack(self, flat: Floats) -> Floats:
        """A copy of the flat vector: this trainer's parameters are the flat ones."""
        return flat.copy()

    def unpack(self, padded: Floats) -> Floats:
        """A copy of the parameters."""
        return padded.copy()

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """As :meth:`zoovet.zoo.native.NativeNetwork.train`; nothing is drawn from the seed.

        Raises:
            ZoovetError: Dropout is asked for; the compiled trainer has it.
        """
        if schedule.dropout > 0:
            raise ZoovetError(
                f"dropout needs the compiled trainer, which is not there: {self.reason}. Mend that, or set the "
                "recipe's dropout to 0"
            )
        flat = torch.from_numpy(parameters).requires_grad_()
        total = 0.0
        for start in range(0, len(samples), schedule.batch_size):
            which = np.arange(start, min(start + schedule.batch_size, len(samples)))
            loss = self._loss(flat, samples, which)
            (gradient,) = torch.autograd.grad(loss, flat)
            memory.num_steps[0] += 1
            gradient = gradient + schedule.weight_decay * flat.data
            if anchor is not None:
                gradient = gradient + anchor.strength * (flat.data - torch.from_numpy(anchor.flat))
            _step(flat.data, gradient, memory, schedule)
            total += float(loss.detach()) * len(which)
        return total / len(samples)

    def gradient(self, parameters: Floats, samples: Samples) -> Floats:
        """Gradient of the mean cross-entropy on the samples, flat [P]."""
        with torch.inference_mode(False), torch.enable_grad():
            flat = torch.from_numpy(parameters.copy()).requires_grad_()
            (gradient,) = torch.autograd.grad(self._loss(flat, samples, np.arange(len(samples))), flat)
        result: Floats = gradient.numpy()
        return result

    def image_gradients(self, parameters: Floats, images: Floats, labels: Integers) -> tuple[Floats, Floats]:
        """Gradient of every image's own cross-entropy to the image [N, C, H, W], and logits [N, classes]."""
        with torch.inference_mode(False), torch.enable_grad():
            shown = torch.from_numpy(images).requires_grad_()
            logits = run(Networks.from_flat(self.spec, torch.from_numpy(parameters)[None]), shown)[0]
            loss = functional.cross_entropy(logits, torch.from_numpy(labels).long(), reduction="sum")
            (gradients,) = torch.autograd.grad(loss, shown)
        return gradients.numpy(), logits.detach().numpy()

    def _loss(self, flat: torch.Tensor, samples: Samples, which: NDArray[np.int64]) -> torch.Tensor:
        """Mean cross-entropy on some of the samples."""
        logits = run(Networks.from_flat(self.spec, flat[None]), torch.from_numpy(samples.gather(which)))[0]
        return functional.cross_entropy(logits, torch.from_numpy(samples.labels[which]).long())

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""
        networks = Networks.from_flat(self.spec, torch.from_numpy(parameters)[None])
        with torch.no_grad():
            result: Floats = run(networks, torch.from_numpy(images))[0].numpy()
        return result


def _step(flat: torch.Tensor, gradient: torch.Tensor, memory: OptimizerMemory, schedule: Schedule) -> None:
    """One optimizer step in place, on plain tensors, so that both trainers share the form of their memory."""
    first, second, count = torch.from_numpy(memory.first), torch.from_numpy(memory.second), int(memory.num_steps[0])
    if schedule.optimizer == "sgd":
        first.copy_(gradient if count == 1 else 0.9 * first + gradient)
        flat -= schedule.learning_rate * first
    elif schedule.optimizer == "adam":
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        flat -= schedule.learning_rate / (1 - 0.9**count) * first / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
    elif schedule.optimizer == "rmsprop":
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        flat -= schedule.learning_rate * gradient / (second.sqrt() + 1e-8)
    else:
        raise ZoovetError(f"optimizer {schedule.optimizer!r} is unknown{nearest(schedule.optimizer, OPTIMIZERS)}")
