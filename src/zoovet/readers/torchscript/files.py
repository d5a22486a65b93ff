"""From TorchScript archives (``torch.jit.save``) to graphs: the code is interpreted, nothing in the file is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import MALFORMED, naming_the_file
from zoovet.readers.exported.replayed import Replayed, in_one_precision, traced
from zoovet.readers.first_operations import take_first_operations
from zoovet.readers.loaded import GraphData
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.opening import graph_data_of
from zoovet.readers.outputs import chosen_output
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.tensors import ways_to_give_a_shape
from zoovet.readers.torchscript.interpreter import Interpreter
from zoovet.readers.torchscript.operators import Operators
from zoovet.readers.torchscript.program import Program, program_of
from zoovet.readers.torchscript.values import Named

__all__ = ["network_of_torchscript", "read_torchscript"]

_MAX_OUTPUTS = 1000
_LOGITS = "logits"


def read_torchscript(
    path: str | Path, input_shape: tuple[int, ...] | None = None, *, output: int | None = None
) -> NetworkFile:
    """Read what ``torch.jit.save`` wrote of a traced or scripted module; no code of the file is run.

    Its code is parsed, and interpreted as far as it is straight calls of torch's operators, decisions and loops that
    depend on shapes and settings alone. It is read as in evaluation mode. Operations at the input that scale it become
    the graph's input scaling.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``; such files do not say it.
        output: Which output to read, from 0, where there are several.

    Returns:
        One network, in float64 where its weights are, else in float32, and notes on how it was read.

    Raises:
        UnknownOperation: It has an operation that graphs have none for; the message names it and its line of code.
        ZoovetError: The file cannot be read, is damaged or none of TorchScript, or no shape was given.
    """
    data = graph_data_of(Path(path), "TorchScript")
    return network_of_torchscript(data, input_shape, output=output, source=printable(path))


def network_of_torchscript(
    data: GraphData, input_shape: tuple[int, ...] | None = None, *, output: int | None = None, source: str
) -> NetworkFile:
    """The network of a TorchScript file that was opened.

    Args:
        data: What it holds.
        input_shape: As in :func:`read_torchscript`.
        output: As in :func:`read_torchscript`.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_torchscript`.
        ZoovetError: As in :func:`read_torchscript`.
    """
    with naming_the_file(source):
        program = program_of(data)
        if input_shape is None:
            ways = ways_to_give_a_shape(_example(program))
            raise ZoovetError(f"a TorchScript file does not say the size of its input; give {ways}")
        dtype = _precision(program)
        weights, notes = in_one_precision(program.weights, dtype)
        module = _Scripted(program, weights, dtype, output)
        networks = traced(module, tuple(input_shape))
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    return NetworkFile(networks=networks, notes=(*notes, *module.told.notes, *(() if note is None else (note,))))


def _example(program: Program) -> tuple[int, ...]:
    """A shape that images may have, by the first weight that a layer may have."""
    for name, tensor in program.weights.items():
        if name in program.learned and tensor.ndim in (2, 4):
            return (tensor.shape[1], 32, 32) if tensor.ndim == 4 else (tensor.shape[1],)
    return 3, 32, 32


def _precision(program: Program) -> torch.dtype:
    learned = [tensor for name, tensor in program.weights.items() if name in program.learned]
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in learned) else torch.float32


@dataclass
class _Told:
    """What is to be said of a run; tracing sets a module's own dictionaries back."""

    notes: dict[str, None] = field(default_factory=dict)


class _Scripted(Replayed):
    """Runs a program.

    Args:
        program: What the file holds.
        weights: By name, in one precision.
        dtype: Of real numbers.
        output: Which of several outputs, from 0.
    """

    def __init__(self, program: Program, weights: dict[str, Tensor], dtype: torch.dtype, output: int | None) -> None:
        super().__init__()
        self._program, self._dtype, self._output = program, dtype, output
        self.told = _Told()
        for name, tensor in weights.items():
            self.keep_tensor(name, tensor, is_learned=name in program.learned)

    def forward(self, images: Tensor) -> Tensor:
        """The file's answer."""
        operators = Operators(self._dtype)
        try:
            answer = Interpreter(self._program, self.kept_tensor, operators).run(images)
            tensors, names = _outputs(answer)
            if self._output is None and _LOGITS in names:
                return tensors[names.index(_LOGITS)]
            return tensors[chosen_output(len(tensors), self._output, names)]
        except ZoovetError as error:
            self.failure.error = error
            raise
        except MALFORMED as error:
            self.failure.error = ZoovetError(f"its code says something that is not read{said_in_parentheses(error)}")
            raise self.failure.error from None
        finally:
            self.told.notes.update(operators.notes)


def _outputs(answer: Any) -> tuple[list[Tensor], list[str]]:
    """The tensors of an answer, and what they are called where they have names."""
    tensors, names, left = list[Tensor](), list[str](), [("", answer)]
    for _ in range(_MAX_OUTPUTS):
        if not left:
            break
        name, value = left.pop(0)
        if isinstance(value, Tensor):
            tensors.append(value)
            names += [name] if name else []
        elif isinstance(value, Named):
            left = [*zip(value.names, value.items, strict=True), *left]
        elif isinstance(value, dict):
            left = [*((str(key), one) for key, one in value.items()), *left]
        elif isinstance(value, list | tuple):
            left = [*((name, one) for one in value), *left]
    if not tensors or left:
        raise ZoovetError("its forward does not answer tensors; a network gives one for its images")
    return tensors, names if len(names) == len(tensors) else []
