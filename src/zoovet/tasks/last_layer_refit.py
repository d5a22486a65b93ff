"""Refitting the last layer of edited networks to a few images that a repairer keeps: a step of repair that is learned.

An edit that takes a trigger away also moves what the last layer reads. So after it the last layer is fitted anew: a few
of Newton's steps of multinomial logistic regression on images of known class, drawn towards the edited weights by a
penalty. All of it is differentiable, so that the metanetwork learns to make edits of which, after the refit, the
clean answers are right and the trigger's are not.

Source of the idea: Bertinetto et al. 2019, *Meta-learning with differentiable closed-form solvers*,
section 3.3 (LR-D2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict, read_config
from zoovet.errors import ZoovetError
from zoovet.metanets.reciprocal_norm import reciprocal_norm
from zoovet.networks import Graph, Networks, on_kept_images, values_at

__all__ = ["LastLayerRefit", "RefitConfig"]

_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.0)

_AT_A_TIME = 64
"""Networks whose curvatures, of as many numbers as the last layer has squared, are in memory at once."""

_MAX_NUMBERS = 1024
"""Greatest number of weights and biases of a last layer, which are solved for together."""


@dataclass(frozen=True, kw_only=True)
class RefitConfig:
    """How the last layer is refitted.

    Attributes:
        images_per_class: Training images of each class that are kept for it, in the checkpoint.
        num_steps: Steps of Newton's method.
        penalty: Half of it times the squared change, in units in which every input of the layer has a root mean square
            of 1, is added to the mean cross-entropy; where training begins, which learns it.

    Raises:
        ZoovetError: A number out of its range.
    """

    images_per_class: int = 25
    num_steps: int = 2
    penalty: float = 0.3

    def __post_init__(self) -> None:
        for name in ("images_per_class", "num_steps"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"refit.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.penalty < math.inf:
            raise ZoovetError(f"refit.penalty must be above 0 and finite, got {self.penalty}")


class LastLayerRefit(nn.Module):
    """Fits the last layer of networks to images of known class; commutes with every symmetry of their hidden channels.

    Args:
        config: How.
        shape: Of an image: (channels, height, width).
        num_classes: Of the images.

    Attributes:
        images: [classes · images_per_class, C, H, W] in [-1, 1]; NaN until :meth:`give_images`.
        labels: int64, of the images.
        log_penalty: Logarithm of the penalty.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, config: RefitConfig, shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.config = config
        count = num_classes * config.images_per_class
        self.register_buffer("images", torch.full((count, *shape), torch.nan))
        self.register_buffer("labels", torch.arange(num_classes).repeat_interleave(config.images_per_class))
        self.log_penalty = nn.Parameter(torch.tensor(math.log(config.penalty)))

    def give_images(self, images: Tensor) -> None:
        """Set the images: [classes, images_per_class, C, H, W] in [-1, 1].

        Raises:
            ZoovetError: They are of another shape.
        """
        if images.flatten(0, 1).shape != self.images.shape:
            raise ZoovetError(
                f"refit takes {self.config.images_per_class} images of each class, {list(self.images.shape)} in all, "
                f"got {list(images.shape)}"
            )
        self.images.copy_(images.flatten(0, 1))

    @classmethod
    def from_json(cls, data: Any, shape: Sequence[int], where: str) -> LastLayerRefit:
        """Read what :meth:`to_json` gave; the images come with the tensors.

        Raises:
            ZoovetError: It is something else; the message names ``where``.
        """
        if not isinstance(data, dict) or not isinstance(data.get("num_classes"), int) or data["num_classes"] < 1:
            raise ZoovetError(f"{where}: 'refit' should hold a configuration and num_classes, got {data!r}")
        return cls(read_config(RefitConfig, data.get("config", {}), where=where), shape, data["num_classes"])

    def to_json(self) -> dict[str, Any]:
        """The configuration, and of how many classes its images are, as JSON values."""
        return {"config": config_to_dict(self.config), "num_classes": len(self.labels) // self.config.images_per_class}

    @staticmethod
    def require_fit(graph: Graph) -> None:
        """Check that networks have a last layer that can be refitted.

        Raises:
            ZoovetError: It is no linear layer behind a hidden one, or has more than 1,024 numbers.
        """
        if not graph.is_chain:
            _require_linear_end(graph)
            return
        last = graph.chain.layers[-1]
        numbers = last.out_channels * (1 + math.prod(graph.chain.weight_shapes[-1][1:]))
        if (
            last.kind != "linear"
            or last.activation != "identity"
            or len(graph.chain.layers) < 2
            or numbers > _MAX_NUMBERS
        ):
            raise ZoovetError(
                f"refit solves for the numbers of a linear last layer behind a hidden one, {_MAX_NUMBERS} at most; "
                f"that of {graph.describe()} has {numbers} and is {last.kind} with {last.activation}; set refit to null"
            )

    def forward(self, networks: Networks) -> Networks:
        """B networks with their last layers refitted.

        Args:
            networks: B networks of one graph that passes :meth:`require_fit`; gradients flow through all of it.

        Raises:
            ZoovetError: No images were given, or they do not fit the networks.
        """
        if len(networks) > _AT_A_TIME:
            starts = range(0, len(networks), _AT_A_TIME)
            return Networks.concatenate([self(networks[start : start + _AT_A_TIME]) for start in starts])
        images, dtype = self.images.to(networks.dtype), networks.dtype
        if bool(images.isnan().any()):
            raise ZoovetError("refit needs images of known class, but none were given; train with images")
        graph = networks.graph
        last = graph.makers[graph.output]
        values = values_at(on_kept_images(networks), images, (last.inputs[0], graph.output))
        logits, features = values[graph.output], values[last.inputs[0]].flatten(2)
        units = reciprocal_norm(features.square().mean(dim=1, keepdim=True))  # what is always 0 stays as it is
        inputs = torch.cat([features * units, torch.ones_like(features[..., :1])], dim=2)
        wanted = functional.one_hot(self.labels, networks.graph.num_outputs).to(dtype)
        change = self._fitted(logits, inputs, wanted, self.log_penalty.to(dtype).exp())
        own = {role: networks.parameters[name] for role, name in last.parameters.items()}
        weight = own["weight"] + (change[..., :-1] * units).reshape(own["weight"].shape)
        changed = {last.parameters["weight"]: weight, last.parameters["bias"]: own["bias"] + change[..., -1]}
        return Networks(graph, {**networks.parameters, **changed})

    def _fitted(self, logits: Tensor, inputs: Tensor, wanted: Tensor, penalty: Tensor) -> Tensor:
        """The change of weights that minimizes the penalized cross-entropy: [B, classes, features].

        Args:
            logits: [B, N, classes] before the change.
            inputs: [B, N, features].
            wanted: [N, classes], one-hot.
            penalty: Of the squared change.
        """
        (num_networks, num_images, num_classes), num_inputs = logits.shape, inputs.shape[2]
        numbers = num_classes * num_inputs
        products = (inputs.unsqueeze(3) * inputs.unsqueeze(2)).flatten(2)
        ridge = penalty * torch.eye(numbers, dtype=logits.dtype, device=logits.device)

        def loss(tried: Tensor) -> Tensor:
            answers = (logits + inputs @ tried.mT).log_softmax(dim=2)
            return penalty / 2 * tried.square().sum(dim=(1, 2)) - (answers * wanted).sum(dim=2).mean(dim=1)

        change = logits.new_zeros(num_networks, num_classes, num_inputs)
        for _ in range(self.config.num_steps):
            probabilities = (logits + inputs @ change.mT).softmax(dim=2)
            slope = (probabilities - wanted).mT @ inputs / num_images + penalty * change
            spread = torch.diag_embed(probabilities) - probabilities.unsqueeze(3) * probabilities.unsqueeze(2)
            curvature = spread.flatten(2).mT @ products / num_images
            curvature = curvature.reshape(num_networks, num_classes, num_classes, num_inputs, num_inputs)
            curvature = curvature.transpose(2, 3).reshape(num_networks, numbers, numbers) + ridge
            step = -torch.linalg.solve(curvature, slope.reshape(num_networks, numbers, 1)).reshape(change.shape)
            change = change + _best_share(loss, change, step) * step
        return change


def _require_linear_end(graph: Graph) -> None:
    """As :meth:`LastLayerRefit.require_fit`, for a graph that is no chain."""
    last = graph.makers[graph.output]
    numbers = sum(math.prod(graph.shapes[name]) for name in last.parameters.values())
    is_linear = last.op == "linear" and set(last.parameters) == {"weight", "bias"}
    if not is_linear or len(graph.sites[last.inputs[0]].shape) != 1 or numbers > _MAX_NUMBERS:
        raise ZoovetError(
            f"refit solves for the numbers of a linear last layer with a bias, {_MAX_NUMBERS} at most; the last "
            f"operation of {graph.describe()} is {last.op} with {numbers}; set refit to null"
        )


@torch.no_grad()
def _best_share(loss: Callable[[Tensor], Tensor], start: Tensor, step: Tensor) -> Tensor:
    """The share of each network's step [B, …] that makes its loss least: far from the minimum a whole one may not."""
    losses = torch.stack([loss(start + share * step) for share in _SHARES])
    return step.new_tensor(_SHARES)[losses.argmin(dim=0)].reshape(-1, *(1 for _ in step.shape[1:]))
