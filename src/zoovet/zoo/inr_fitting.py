"""Fitting many SIRENs at once: on a GPU where there is one, else in compiled code, else through torch.

All ways take the same steps as ``torch.optim.Adam`` on the mean squared error over all pixels; they agree to float
precision.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.networks import Graph, Networks, run
from zoovet.zoo.native import NativeUnavailable, compile_siren_fitter
from zoovet.zoo.samples import Floats

__all__ = ["SirenFitter", "TorchSirenFitter", "initial_siren", "learning_rates", "siren_fitter"]

_TOGETHER = {"cpu": 16, "cuda": 4096}
"""SIRENs at a time: on a processor few enough for its caches, on a GPU enough to fill it."""


class SirenFitter(Protocol):
    """What fits SIRENs: :class:`~zoovet.zoo.native.NativeSirenFitter` or :class:`TorchSirenFitter`."""

    @property
    def num_together(self) -> int:
        """SIRENs that are best fitted by one call."""

    def fit(self, flat: Floats, targets: Floats, places: Floats, rates: NDArray[np.float64]) -> Floats:
        """Adam on the mean squared error over all places, one step a rate.

        Args:
            flat: [B, P] where the SIRENs start; left as it is.
            targets: [B, N, C] what their outputs should be.
            places: [N, 2] what they read.
            rates: [steps] learning rate of each step.

        Returns:
            [B, P]; NaN where a fit diverged.
        """


@cache
def siren_fitter(graph: Graph) -> SirenFitter:
    """The fastest fitter there is for a graph. Where that is torch on the processor, a warning says why."""
    if torch.cuda.is_available():
        return TorchSirenFitter(graph, "cuda")
    try:
        return compile_siren_fitter(graph)
    except NativeUnavailable as reason:
        warnings.warn(f"fitting SIRENs through torch, several times slower than compiled: {reason}", stacklevel=2)
        return TorchSirenFitter(graph)


@dataclass(frozen=True)
class TorchSirenFitter:
    """Fitting through :func:`zoovet.networks.run` and ``torch.optim``: any graph and device, no compiler.

    Attributes:
        graph: The SIRENs it fits.
        device: ``cpu`` or ``cuda``.
    """

    graph: Graph
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def num_together(self) -> int:
        """SIRENs that are best fitted by one call."""
        return _TOGETHER[self.device]

    def fit(self, flat: Floats, targets: Floats, places: Floats, rates: NDArray[np.float64]) -> Floats:
        """As :meth:`SirenFitter.fit`; one batch on the device."""
        start = Networks.from_flat(self.graph, torch.from_numpy(flat).to(self.device))
        networks = start.map(lambda tensor: tensor.clone().requires_grad_())
        wanted, grid = torch.from_numpy(targets).to(self.device), torch.from_numpy(places).to(self.device)
        optimizer = torch.optim.Adam(networks.parameters.values())
        for rate in rates:
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.zero_grad()
            errors = run(networks, grid) - wanted
            errors.square().mean(dim=(1, 2)).sum().backward()
            optimizer.step()
        result: Floats = networks.detach().flat().cpu().numpy()
        return result


def initial_siren(graph: Graph, seed: int) -> Floats:
    """Fresh weights of one SIREN, flat [P] float32 (Sitzmann et al. 2020, section 3.2 and supplement 1.5).

    Weights are uniform: up to 1 / inputs in the first layer, up to √(6 / inputs) / w0 in the others. Biases are uniform
    up to 1 / √inputs, as in the authors' code.

    Args:
        graph: The SIREN; the w0 of its first layer is that of all.
        seed: Of the draws, at least 0.
    """
    generator = np.random.default_rng(seed)
    w0 = graph.chain.layers[0].activation_parameter or 1.0
    parts = []
    for index, layer in enumerate(graph.chain.layers):
        most = 1 / layer.in_channels if index == 0 else math.sqrt(6 / layer.in_channels) / w0
        parts.append(generator.uniform(-most, most, layer.in_channels * layer.out_channels))
        parts.append(generator.uniform(-1, 1, layer.out_channels) / math.sqrt(layer.in_channels))
    return np.concatenate(parts).astype(np.float32)


def learning_rates(schedule: str, learning_rate: float, steps: int) -> NDArray[np.float64]:
    """The learning rate [steps] of each step: ``constant``, or ``cosine``, which falls to 0 along half a cosine."""
    if schedule == "constant":
        return np.full(steps, learning_rate)
    return learning_rate * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))
