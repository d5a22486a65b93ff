"""Compile the C fitter for the SIRENs of one graph, and call it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.networks.graph import Graph
from zoovet.zoo.native.libraries import NativeUnavailable, load_library, pointer
from zoovet.zoo.samples import Floats

__all__ = ["NativeSirenFitter", "compile_siren_fitter"]

_SOURCE = Path(__file__).with_name("siren_fitter.c")


@dataclass(frozen=True)
class NativeSirenFitter:
    """The compiled fitter of one graph.

    Attributes:
        graph: The SIRENs it fits.
        library: The loaded shared library.
    """

    graph: Graph
    library: Any

    @property
    def num_together(self) -> int:
        """SIRENs that are fitted side by side: fewer in one call take as long."""
        return int(self.library.zoovet_lanes())

    def fit(self, flat: Floats, targets: Floats, places: Floats, rates: NDArray[np.float64]) -> Floats:
        """Adam on the mean squared error over all places, one step a rate; runs on one thread.

        Args:
            flat: [B, P] where the SIRENs start; left as it is.
            targets: [B, N, C] what their outputs should be.
            places: [N, 2] what they read.
            rates: [steps] learning rate of each step.

        Returns:
            [B, P]; a SIREN's numbers do not depend on the others of the batch.

        Raises:
            MemoryError: No work space could be had.
        """
        num_sirens, num_places, num_outputs = targets.shape
        assert flat.shape == (num_sirens, self.graph.num_parameters)
        assert num_outputs == self.graph.num_outputs
        assert places.shape == (num_places, 2)
        assert {array.dtype for array in (flat, targets, places)} == {np.dtype(np.float32)}
        result = flat.copy()
        failed = self.library.zoovet_fit(
            pointer(result),
            pointer(targets),
            ctypes.c_long(num_sirens),
            pointer(places),
            ctypes.c_long(num_places),
            pointer(rates),
            ctypes.c_long(len(rates)),
        )
        if failed:
            raise MemoryError("the fitter could not allocate its work space")
        return result

    def sincos(self, values: Floats) -> tuple[Floats, Floats]:
        """Sines and cosines of [N] numbers, as the fitter computes them."""
        sines, cosines = np.empty_like(values), np.empty_like(values)
        self.library.zoovet_sincos(pointer(values), ctypes.c_long(len(values)), pointer(sines), pointer(cosines))
        return sines, cosines


@cache
def compile_siren_fitter(graph: Graph) -> NativeSirenFitter:
    """The compiled fitter of a graph, from the cache folder where it is there already.

    Args:
        graph: Linear layers from two numbers, sines between them.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the graph is no SIREN.
    """
    hidden = {layer.activation for layer in graph.chain.layers[:-1]}
    if graph.input_shape != (2,) or hidden - {"sine"} or graph.chain.layers[-1].activation != "identity":
        raise NativeUnavailable(f"the compiled fitter knows SIRENs only, got {graph.describe()}")
    return NativeSirenFitter(graph, load_library(_SOURCE, _describe_layers(graph)))


def _describe_layers(graph: Graph) -> str:
    """The C file that holds the layers as constants."""
    entries, weights, values = [], 0, 0
    for layer in graph.chain.layers:
        w0 = layer.activation_parameter if layer.activation == "sine" else 0.0
        biases = weights + layer.in_channels * layer.out_channels
        entries.append(f"{{{layer.in_channels}, {layer.out_channels}, {w0!r}f, {weights}, {biases}, {values}}}")
        weights, values = biases + layer.out_channels, values + layer.out_channels
    steps = [f"STEP({index})" for index in range(len(graph.chain.layers))]
    return "\n".join(
        [
            f"#define NUM_LAYERS {len(graph.chain.layers)}",
            f"#define NUM_PARAMETERS {graph.num_parameters}",
            f"#define NUM_UNITS {values}",
            f"#define NUM_OUTPUTS {graph.num_outputs}",
            f"static const layer LAYERS[] = {{\n  {(',' + chr(10) + '  ').join(entries)}\n}};",
            f"#define FOR_EACH_LAYER(STEP) {' '.join(steps)}",
            f"#define FOR_EACH_LAYER_BACKWARD(STEP) {' '.join(reversed(steps))}",
            "",
        ]
    )
