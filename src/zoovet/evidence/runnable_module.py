"""A module of any class, to be run on images in [-1, 1]."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zoovet.errors import ZoovetError
from zoovet.evidence.scaled_images import ScaledInput
from zoovet.networks.output_shape import answers_are_classes
from zoovet.networks.scaling import InputScaling

__all__ = ["RunnableModule"]

_TINY = 1e-20
_ROUNDING = 1e-3


class RunnableModule:
    """One network (B = 1) that only its own code can run; in evaluation mode, a copy of it.

    One whose answers to random images are all probabilities has their logarithms for logits;
    ``is_of_probabilities`` says so.

    Args:
        module: From images [N, C, H, W] to [N, classes], or to something with such ``logits``.
        input_shape: ``(channels, height, width)``.
        scaling: What numbers it reads for pixels.

    Raises:
        ZoovetError: Nobody knows the scaling, or it does not answer a number for each class.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...], scaling: InputScaling | None) -> None:
        self.input_shape = tuple(input_shape)
        self._input = ScaledInput(self.input_shape, scaling)
        self._module = copy.deepcopy(module).eval().requires_grad_(False)
        self._weights: Mapping[str, Tensor] = {}
        like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), torch.zeros(0))
        self.dtype, self.device = like.dtype, like.device
        trial = 2 * torch.rand(4, *self.input_shape, generator=torch.Generator().manual_seed(0)) - 1
        with torch.no_grad():
            answers = self._answers(trial.to(self.device, self.dtype))
        self.num_classes = answers.shape[1]
        sums = answers.sum(1)
        self.is_of_probabilities = bool((answers >= 0).all()) and bool(((sums - 1).abs() < _ROUNDING).all())

    @property
    def module(self) -> nn.Module:
        """The copy that is run."""
        return self._module

    def with_weights(self, weights: Mapping[str, Tensor]) -> RunnableModule:
        """The same code with other numbers for some parameters, by their names; differentiable to them."""
        other = copy.copy(self)
        other._weights = weights
        return other

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: slice) -> RunnableModule:
        if index.indices(1) != (0, 1, 1):
            raise ZoovetError(f"there is one network, got the slice {index}")
        return self

    def logits(self, images: Tensor) -> Tensor:
        """[1, N, classes] for [N, C, H, W] or [1, N, C, H, W]."""
        flat = images.squeeze(0) if images.ndim == 5 else images
        answers = self._answers(self._input(flat))
        return (answers.clamp_min(_TINY).log() if self.is_of_probabilities else answers).unsqueeze(0)

    def _answers(self, images: Tensor) -> Tensor:
        answer = functional_call(self._module, dict(self._weights), (images,))
        logits = getattr(answer, "logits", answer)
        if not isinstance(logits, Tensor) or not answers_are_classes(logits.shape[1:]) or logits.shape[1] < 2:
            shape = list(logits.shape[1:]) if isinstance(logits, Tensor) else type(logits).__name__
            raise ZoovetError(f"evidence is of classifiers of at least two classes, but this answers {shape} an image")
        return logits.flatten(1)
