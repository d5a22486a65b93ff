"""Case files: networks, a released model, and what the released code made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.json_files import parse_json_object
from zoovet.metanets.official.model import from_official
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec, PoolSpec

__all__ = ["Case", "deviation", "read_case"]


@dataclass(frozen=True)
class Case:
    """One case file.

    Attributes:
        name: Of the case.
        arguments: The released configuration block.
        state: The released parameters.
        networks: What the model read.
        activations: Each network's activation.
        expected: The released code's output, by name.
    """

    name: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    networks: Networks
    activations: list[str]
    expected: dict[str, Tensor]


def read_case(path: Path) -> Case:
    """Read a case file.

    Raises:
        ZoovetError: It is not a case file; the message names it and says why.
    """
    try:
        with safe_open(path, "pt") as file:
            description = parse_json_object((file.metadata() or {})["case"], f"the description in {path}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        layout, activations = description["layer_layout"], description["activations"]
        name, family, arguments = description["name"], description["family"], description["scalegmn_args"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ZoovetError(f"{path}: not a case file ({type(error).__name__}: {error})") from None
    num_layers = len(layout) - 1
    missing = [
        f"input.{kind}.{index}"
        for kind in ("weight", "bias")
        for index in range(num_layers)
        if f"input.{kind}.{index}" not in tensors
    ]
    if missing:
        raise ZoovetError(f"{path}: lacks the tensor {missing[0]!r}")
    weights = [tensors[f"input.weight.{index}"] for index in range(num_layers)]
    biases = [tensors[f"input.bias.{index}"] for index in range(num_layers)]
    networks = Networks.from_layers(_graph(weights, activations[0], family), tuple(weights), tuple(biases))
    return Case(
        name=name,
        arguments=arguments,
        state=_below("state.", tensors),
        networks=networks.to(dtype=torch.float64),
        activations=activations,
        expected={key: tensor for key, tensor in tensors.items() if key.split(".")[0] == "output"},
    )


def deviation(case: Case) -> float:
    """Largest max |ours − theirs| / max |theirs| of all output tensors, of our model in float64.

    Raises:
        ZoovetError: The case cannot be run, or its outputs are not those of its model.
    """
    model = from_official(case.arguments, case.state, case.networks.graph)
    with torch.no_grad():
        output = model(case.networks, case.activations)
    if isinstance(output, Tensor):
        ours = {"output": output}
    else:
        ours = {
            f"output.delta_{kind}.{index}": tensor
            for kind, tensors in zip(("weight", "bias"), output, strict=True)
            for index, tensor in enumerate(tensors)
        }
    if {name: tensor.shape for name, tensor in ours.items()} != {
        name: tensor.shape for name, tensor in case.expected.items()
    }:
        raise ZoovetError(f"{case.name}: expected the outputs {sorted(case.expected)}, the model makes {sorted(ours)}")
    return max(_relative(ours[name], theirs) for name, theirs in case.expected.items())


def _relative(ours: Tensor, theirs: Tensor) -> float:
    difference, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
    return difference / size if difference else 0.0


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _graph(weights: list[Tensor], activation: str, family: str) -> Graph:
    """A graph with these layers; convolutions keep the map's size, and the last one is pooled globally."""
    layers = []
    for index, weight in enumerate(weights):
        is_last = index == len(weights) - 1
        out_channels, in_channels, *kernel = weight.shape[1:]
        is_convolution = len(kernel) == 2
        before_linear = is_convolution and (is_last or weights[index + 1].ndim == 3)
        layers.append(
            LayerSpec(
                kind="conv" if is_convolution else "linear",
                in_channels=in_channels,
                out_channels=out_channels,
                kernel=tuple(kernel),
                padding=(kernel[0] // 2, kernel[1] // 2) if is_convolution else (0, 0),
                activation="identity" if is_last else activation,
                pool=PoolSpec(kind="global") if before_linear else None,
            )
        )
    num_inputs = weights[0].shape[2]
    input_shape = (num_inputs, 16, 16) if family == "cnn" and weights[0].ndim == 5 else (num_inputs,)
    return Graph.of_layers(input_shape=input_shape, layers=tuple(layers))
