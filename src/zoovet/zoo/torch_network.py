"""Training a network through torch: what compiled code does not know, or where there is no compiler."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import INPUT, Graph, Networks, run
from zoovet.zoo.flat_parameters import FlatParameters
from zoovet.zoo.native.graph_activations import ACTIVATIONS
from zoovet.zoo.native.graph_source import trained_ranges
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule

__all__ = ["OPTIMIZERS", "TorchNetwork"]

OPTIMIZERS = ("sgd", "adam", "rmsprop")

_ACTIVATIONS = (*ACTIVATIONS, "selu", "mish", "softplus", "hardswish", "hardsigmoid", "log_sigmoid", "prelu", "sin")


@dataclass(frozen=True)
class TorchNetwork(FlatParameters):
    """Training through :func:`zoovet.networks.run` and autograd: any graph, no compiler.

    Attributes:
        graph: The networks it trains.
        reason: Why it is not the compiled trainer.
    """

    graph: Graph
    reason: str = field(default="it was not asked for", compare=False)

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """As :meth:`zoovet.zoo.native.NativeNetwork.train`; its dropout draws other numbers from the seed.

        Raises:
            ZoovetError: The samples are not for networks of this graph.
        """
        samples.require_fit(self.graph)
        dropout = _Dropout(schedule.dropout, torch.Generator().manual_seed(seed))
        flat = torch.from_numpy(parameters).requires_grad_()
        constant = torch.ones(len(parameters), dtype=torch.bool)
        for start, end in trained_ranges(self.graph):
            constant[start:end] = False
        total = 0.0
        for start in range(0, len(samples), schedule.batch_size):
            which = np.arange(start, min(start + schedule.batch_size, len(samples)))
            loss = self._loss(flat, samples, which, dropout)
            (gradient,) = torch.autograd.grad(loss, flat)
            kept = flat.data[constant]
            memory.num_steps[0] += 1
            gradient = gradient + schedule.weight_decay * flat.data
            if anchor is not None:
                gradient = gradient + anchor.strength * (flat.data - torch.from_numpy(anchor.flat))
            _step(flat.data, gradient, memory, schedule)
            flat.data[constant] = kept
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
            logits = run(Networks.from_flat(self.graph, torch.from_numpy(parameters)[None]), shown)[0]
            loss = functional.cross_entropy(logits, torch.from_numpy(labels).long(), reduction="sum")
            (gradients,) = torch.autograd.grad(loss, shown)
        return gradients.numpy(), logits.detach().numpy()

    def _loss(
        self, flat: torch.Tensor, samples: Samples, which: NDArray[np.int64], dropout: _Dropout | None = None
    ) -> torch.Tensor:
        """Mean cross-entropy on some of the samples, the network run as in a training where there is a dropout."""
        images, networks = torch.from_numpy(samples.gather(which)), Networks.from_flat(self.graph, flat[None])
        has_norms = any(operation.op == "batch_norm" for operation in self.graph.operations)
        if dropout is not None and (has_norms or dropout.share > 0):
            logits = _as_in_training(networks, images, dropout)
        else:
            logits = run(networks, images)[0]
        labels = samples.labels[which]
        if samples.soft is None:
            return functional.cross_entropy(logits, torch.from_numpy(labels).long())
        targets = samples.soft.in_order(which).targets(labels, self.graph.num_outputs)
        return functional.cross_entropy(logits, torch.from_numpy(targets))

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""
        networks = Networks.from_flat(self.graph, torch.from_numpy(parameters)[None])
        with torch.no_grad():
            result: Floats = run(networks, torch.from_numpy(images))[0].numpy()
        return result


@dataclass(frozen=True)
class _Dropout:
    """Dropout behind activations; in a chain, whose layers end with a pooling where they have one, behind that.

    Attributes:
        share: Of the values, that are dropped.
        generator: Source of which.
    """

    share: float
    generator: torch.Generator

    def sites(self, graph: Graph) -> set[str]:
        """The sites whose values are dropped."""
        if not self.share:
            return set()
        found = {operation.output for operation in graph.operations if operation.op in _ACTIVATIONS}
        if graph.is_chain:
            pools = [
                one for one in graph.operations if one.op in ("max_pool2d", "avg_pool2d") and one.inputs[0] in found
            ]
            found = found - {one.inputs[0] for one in pools} | {one.output for one in pools}
        return found

    def drop(self, values: torch.Tensor) -> torch.Tensor:
        """The values, those that stay divided by the share that does."""
        stays = torch.rand(values.shape, generator=self.generator) >= self.share
        return values * stays / (1 - self.share)


def _as_in_training(networks: Networks, images: torch.Tensor, dropout: _Dropout) -> torch.Tensor:
    """Logits [N, classes] of one network, its batch norms by the images' statistics, which the running ones follow."""
    sites, dropped = {INPUT: images}, dropout.sites(networks.graph)
    for operation in networks.graph.operations:
        own = {role: networks.parameters[name][0] for role, name in operation.parameters.items()}
        inputs = [sites[name] for name in operation.inputs]
        if operation.op == "batch_norm":
            sites[operation.output] = functional.batch_norm(
                inputs[0],
                own["running_mean"].detach(),
                own["running_var"].detach(),
                own.get("weight"),
                own.get("bias"),
                training=True,
                eps=operation.attributes["eps"],
            )
            continue
        if len(inputs) > 1 and not operation.kind.broadcasts:  # what does not depend on the images is there once
            most = max(len(values) for values in inputs)
            inputs = [values.expand(most, *values.shape[1:]) for values in inputs]
        values = operation.kind.plain(operation.attributes, inputs, own)
        sites[operation.output] = dropout.drop(values) if operation.output in dropped else values
    return sites[networks.graph.output]


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
