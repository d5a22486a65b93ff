"""Training one small network after another, fast: in compiled code where it can be had, else through torch.

Both ways take the same images in the same order and step like ``torch.optim``; they agree to float precision where
nothing is dropped out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Networks, NetworkSpec, forward
from zoovet.zoo.native import NativeUnavailable, compile_spec

__all__ = [
    "INITIALIZERS",
    "OPTIMIZERS",
    "Samples",
    "Schedule",
    "TorchNetwork",
    "initial_weights",
    "network_trainer",
    "train_network",
]

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]

INITIALIZERS = ("glorot", "he", "orthogonal", "normal", "truncated_normal")
OPTIMIZERS = ("sgd", "adam", "rmsprop")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How one training goes.

    Attributes:
        optimizer: ``sgd`` (momentum 0.9), ``adam`` or ``rmsprop``, with torch's other defaults.
        learning_rate: Constant over the training.
        weight_decay: Added to the gradient (L2).
        dropout: Share of every hidden layer's values that is dropped.
        batch_size: Images a step.
        epochs: Passes over the samples.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    dropout: float
    batch_size: int
    epochs: int


@dataclass(frozen=True)
class Samples:
    """Training samples: pairs of an image's index and a label, over images that are stored once.

    Attributes:
        images: [N, C, H, W] float32, shared by all networks.
        more_images: [M, C, H, W] float32, this network's own (triggered ones); index N + m is its image m.
        indices: [n] int32, which image each sample is.
        labels: [n] int32, each sample's label.
    """

    images: Floats
    more_images: Floats
    indices: Integers
    labels: Integers

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, which: NDArray[np.int64]) -> Floats:
        """The images of some samples, [k, C, H, W]."""
        index = self.indices[which]
        own = index >= len(self.images)
        result = self.images[np.where(own, 0, index)]
        result[own] = self.more_images[index[own] - len(self.images)]
        return result


class NetworkTrainer(Protocol):
    """What trains and runs one network: :class:`~zoovet.zoo.native.NativeNetwork` or :class:`TorchNetwork`."""

    def pack(self, flat: Floats) -> Floats:
        """The trainer's own parameters from a flat vector."""

    def unpack(self, padded: Floats) -> Floats:
        """The flat vector from the trainer's own parameters."""

    def train(
        self,
        parameters: Floats,
        memory: tuple[Floats, Floats, NDArray[np.int64]],
        images: Floats,
        more_images: Floats,
        order: Integers,
        labels: Integers,
        *,
        batch_size: int,
        optimizer: str,
        learning_rate: float,
        weight_decay: float,
        dropout: float,
        seed: int,
    ) -> float:
        """Train in place on the images in ``order``; returns the mean loss."""

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""


@cache
def network_trainer(spec: NetworkSpec) -> NetworkTrainer:
    """The fastest trainer there is for a spec. Where that is not the compiled one, a warning says why."""
    try:
        return compile_spec(spec)
    except NativeUnavailable as reason:
        warnings.warn(f"training through torch, several times slower than compiled: {reason}", stacklevel=2)
        return TorchNetwork(spec)


def train_network(
    trainer: NetworkTrainer, flat: Floats, samples: Samples, schedule: Schedule, generator: np.random.Generator
) -> tuple[Floats, int]:
    """Train a network from given weights.

    Args:
        trainer: From :func:`network_trainer`.
        flat: [P] float32, where it starts; left as it is.
        samples: What it is trained on, in a new random order each epoch.
        schedule: How.
        generator: Source of the orders and of the dropout.

    Returns:
        The trained flat weights [P] and the number of optimizer steps. Weights are NaN where training diverged.
    """
    parameters = trainer.pack(flat)
    memory = (np.zeros_like(parameters), np.zeros_like(parameters), np.zeros(1, dtype=np.int64))
    for _ in range(schedule.epochs):
        order = generator.permutation(len(samples))
        trainer.train(
            parameters,
            memory,
            samples.images,
            samples.more_images,
            np.ascontiguousarray(samples.indices[order]),
            np.ascontiguousarray(samples.labels[order]),
            batch_size=schedule.batch_size,
            optimizer=schedule.optimizer,
            learning_rate=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            dropout=schedule.dropout,
            seed=int(generator.integers(2**32)),
        )
    return trainer.unpack(parameters), int(memory[2][0])


def initial_weights(spec: NetworkSpec, init: str, init_std: float, generator: np.random.Generator) -> Floats:
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
    for layer in spec.layers:
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
    """Training through :func:`zoovet.networks.forward` and autograd: any spec, no compiler."""

    spec: NetworkSpec

    def pack(self, flat: Floats) -> Floats:
        """A copy of the flat vector: this trainer's parameters are the flat ones."""
        return flat.copy()

    def unpack(self, padded: Floats) -> Floats:
        """A copy of the parameters."""
        return padded.copy()

    def train(
        self,
        parameters: Floats,
        memory: tuple[Floats, Floats, NDArray[np.int64]],
        images: Floats,
        more_images: Floats,
        order: Integers,
        labels: Integers,
        *,
        batch_size: int,
        optimizer: str,
        learning_rate: float,
        weight_decay: float,
        dropout: float,
        seed: int,
    ) -> float:
        """As :meth:`zoovet.zoo.native.NativeNetwork.train`.

        Raises:
            ZoovetError: Dropout is asked for; the compiled trainer has it.
        """
        if dropout > 0:
            raise ZoovetError(
                "dropout needs the compiled trainer; install a C compiler, or set the recipe's dropout to 0"
            )
        samples = Samples(images, more_images, order, labels)
        flat = torch.from_numpy(parameters).requires_grad_()
        total = 0.0
        for start in range(0, len(order), batch_size):
            which = np.arange(start, min(start + batch_size, len(order)))
            logits = forward(Networks.from_flat(self.spec, flat[None]), torch.from_numpy(samples.gather(which)))[0]
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[which]).long())
            (gradient,) = torch.autograd.grad(loss, flat)
            memory[2][0] += 1
            _step(flat.data, gradient + weight_decay * flat.data, memory, optimizer, learning_rate)
            total += float(loss.detach()) * len(which)
        return total / len(order)

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""
        networks = Networks.from_flat(self.spec, torch.from_numpy(parameters)[None])
        with torch.no_grad():
            result: Floats = forward(networks, torch.from_numpy(images))[0].numpy()
        return result


def _step(
    flat: torch.Tensor,
    gradient: torch.Tensor,
    memory: tuple[Floats, Floats, NDArray[np.int64]],
    optimizer: Literal["sgd", "adam", "rmsprop"] | str,
    learning_rate: float,
) -> None:
    """One optimizer step in place, on plain tensors, so that both trainers share the form of their memory."""
    first, second, count = torch.from_numpy(memory[0]), torch.from_numpy(memory[1]), int(memory[2][0])
    if optimizer == "sgd":
        first.copy_(gradient if count == 1 else 0.9 * first + gradient)
        flat -= learning_rate * first
    elif optimizer == "adam":
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        flat -= learning_rate / (1 - 0.9**count) * first / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
    elif optimizer == "rmsprop":
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        flat -= learning_rate * gradient / (second.sqrt() + 1e-8)
    else:
        raise ZoovetError(f"optimizer {optimizer!r} is unknown{nearest(optimizer, OPTIMIZERS)}")
