"""Graph: what a network is without its weights, whatever its architecture."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from zoovet.errors import ZoovetError
from zoovet.networks.chain import Chain
from zoovet.networks.chain_view import chain_of, chain_parts
from zoovet.networks.graph_text import describe
from zoovet.networks.input_shape import require_input_shape
from zoovet.networks.json_values import check_keys, number, plain, whole_numbers
from zoovet.networks.layer_spec import LayerSpec, layers_from_json
from zoovet.networks.operations import (
    INPUT,
    Operation,
    Parameter,
    nearest_in_words,
    operation_from_json,
    parameter_from_json,
    require_name,
)
from zoovet.networks.ops import Shape, Site
from zoovet.networks.ops.kinds import integers
from zoovet.networks.scaling import InputScaling
from zoovet.printable import printable

__all__ = ["INPUT", "Graph", "Operation", "Parameter"]

_MAX_OPERATIONS = 20_000
_MAX_PARAMETERS = 20_000
_MAX_NUMBERS = 2**33


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network without its weights: immutable, hashable, JSON both ways.

    Graphs are equal where their operations, names and shapes are, whatever is known of their input scaling.

    Attributes:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``; the site ``input``.
        parameters: Named tensors; each is read by an operation.
        operations: In an order in which they can run. Each makes a site that those behind it may read.
        output: The site that holds what the network answers.
        input_scaling: What numbers it reads for the pixels of an image; ``None`` where that is not known, or it reads
            no pixels.
        input_map: Factor and offset of each channel, which turn the images that networks are run on into those that the
            site ``input`` holds; ``()`` where they are the same. See :func:`~zoovet.networks.rescaled.rescaled`.

    Raises:
        ZoovetError: A site is read that is not made or made only later, a parameter is missing or unread, names occur
            twice, or shapes do not fit; the message names the operation and both sizes.
    """

    input_shape: Shape
    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...]
    output: str
    input_scaling: InputScaling | None = field(default=None, compare=False)
    input_map: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("input_shape", "parameters", "operations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_input_shape(self.input_shape)
        if len(self.operations) > _MAX_OPERATIONS or len(self.parameters) > _MAX_PARAMETERS:
            raise ZoovetError(
                f"a graph has at most {_MAX_OPERATIONS} operations and {_MAX_PARAMETERS} parameters, got "
                f"{len(self.operations)} and {len(self.parameters)}"
            )
        if self.input_scaling is not None and len(self.input_shape) == 3:
            self.input_scaling.require_channels(self.input_shape[0])
        if len(self.input_map) not in (0, self.input_shape[0]):
            raise ZoovetError(
                f"input_map must hold a pair for each of {self.input_shape[0]} channels, or none, got "
                f"{len(self.input_map)}"
            )
        if len(self.shapes) < len(self.parameters):
            raise ZoovetError(f"the parameter {_repeated([one.name for one in self.parameters])} occurs twice")
        read = {name for operation in self.operations for name in operation.parameters.values()}
        for parameter in self.parameters:
            if parameter.name not in read:
                raise ZoovetError(f"the parameter '{printable(parameter.name)}' is read by no operation")
        if self.output not in self.sites:
            raise ZoovetError(
                f"the output '{printable(self.output)}' is no site{nearest_in_words(self.output, self.sites)}"
            )

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Name of a parameter → its shape, in the order of ``parameters``."""
        return MappingProxyType({parameter.name: parameter.shape for parameter in self.parameters})

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """Name of a site → what it holds; ``input`` first, then in the order of the operations."""
        sites = {INPUT: Site(self.input_shape, 0)}
        for index, operation in enumerate(self.operations):
            where = f"operation {index} ({operation.describe()})"
            for name in operation.inputs:
                if name not in sites:
                    raise ZoovetError(f"{where} {self._why_unmade(name, index, sites)}")
            for role, parameter in operation.parameters.items():
                if parameter not in self.shapes:
                    raise ZoovetError(
                        f"{where}: its {role.replace('_', ' ')} '{printable(parameter)}' is not among the parameters"
                        f"{nearest_in_words(parameter, self.shapes)}"
                    )
            if operation.output in sites:
                raise ZoovetError(f"{where} makes a site that is there already; names of sites must differ")
            shapes = {role: self.shapes[name] for role, name in operation.parameters.items()}
            try:
                site = operation.kind.infer(operation.attributes, [sites[name] for name in operation.inputs], shapes)
            except ZoovetError as error:
                raise ZoovetError(f"{where}: {error}") from None
            if not 0 < site.num_numbers <= _MAX_NUMBERS:
                raise ZoovetError(f"{where} would make {list(site.shape)}: {site.num_numbers} numbers an image")
            sites[operation.output] = site
        return MappingProxyType(sites)

    def _why_unmade(self, name: str, index: int, sites: Mapping[str, Site]) -> str:
        for later, operation in enumerate(self.operations[index:], start=index):
            if operation.output == name:
                return (
                    f"reads '{printable(name)}', which operation {later} makes only then: operations must stand in the "
                    "order in which they run, without cycles"
                )
        return f"reads '{printable(name)}', which nothing makes{nearest_in_words(name, sites)}"

    @cached_property
    def makers(self) -> Mapping[str, Operation]:
        """Name of a site → the operation that makes it; not for ``input``."""
        return MappingProxyType({operation.output: operation for operation in self.operations})

    @cached_property
    def readers(self) -> Mapping[str, tuple[Operation, ...]]:
        """Name of a site → the operations that read it, in order; once for each time where one reads it twice."""
        readers: dict[str, list[Operation]] = {name: [] for name in self.sites}
        for operation in self.operations:
            for name in operation.inputs:
                readers[name].append(operation)
        return MappingProxyType({name: tuple(found) for name, found in readers.items()})

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What others worked out from the graph and keep with it, as the interpreter its plans."""
        return {}

    @cached_property
    def architecture(self) -> Graph:
        """The same without input scaling and map."""
        return self if self.input_scaling is None and not self.input_map else self.reading(None)

    def reading(self, scaling: InputScaling | None, input_map: tuple[tuple[float, float], ...] = ()) -> Graph:
        """The same graph, said to read another scaling, through another map or none."""
        made = replace(self, input_scaling=scaling, input_map=input_map)
        made.__dict__["_chain"] = self._chain
        return made

    def with_layers(self, layers: tuple[LayerSpec, ...]) -> Graph:
        """The chain of other layers, which reads what this graph reads."""
        return Graph.of_layers(
            input_shape=self.input_shape, layers=layers, input_scaling=self.input_scaling, input_map=self.input_map
        )

    @cached_property
    def _chain(self) -> Chain | None:
        return chain_of(self)

    @property
    def is_chain(self) -> bool:
        """Whether it is layers one after another, each with weights and biases of its own, and nothing else."""
        return self._chain is not None

    @property
    def chain(self) -> Chain:
        """Its layers, one after another.

        Raises:
            ZoovetError: It is no chain.
        """
        if self._chain is None:
            raise ZoovetError(
                "this needs layers one after another, each a convolution or a linear layer with a bias, got "
                f"{self.in_words()}"
            )
        return self._chain

    @cached_property
    def num_parameters(self) -> int:
        """Numbers in one network, constants included: length of its flat vector."""
        return sum(parameter.num_numbers for parameter in self.parameters)

    @property
    def num_multiplications(self) -> int:
        """Multiplications of weights of convolutions and linear operations with numbers that one image costs."""
        total = 0
        for operation in self.operations:
            if operation.op in ("conv2d", "linear"):
                weight = self.shapes[operation.parameters["weight"]]
                total += self.sites[operation.output].num_numbers * math.prod(weight[1:])
        return total

    @property
    def num_outputs(self) -> int:
        """Channels of what the network answers: classes, or values of an INR."""
        return self.output_shape[0]

    @property
    def output_shape(self) -> Shape:
        """Shape of what the network answers for one image: ``(classes,)``."""
        return self.sites[self.output].shape

    @property
    def answers(self) -> Literal["logits", "probabilities", "log_probabilities"]:
        """What the output holds, by the operation that makes it: a softmax at the end makes probabilities.

        Where a map of one place is laid flat behind it, they still are.
        """
        maker = self.makers.get(self.output)
        while maker is not None and maker.op in ("flatten", "reshape") and self._is_one_axis(maker):
            maker = self.makers.get(maker.inputs[0])
        if maker is not None and maker.op == "softmax":
            return "probabilities"
        return "log_probabilities" if maker is not None and maker.op == "log_softmax" else "logits"

    def _is_one_axis(self, operation: Operation) -> bool:
        """Whether what an operation reads and makes has but one axis that is not 1."""
        made, read = self.sites[operation.output].shape, self.sites[operation.inputs[0]].shape
        return all(sum(size > 1 for size in shape) <= 1 for shape in (made, read))

    @cached_property
    def graph_id(self) -> str:
        """A short name that differs where graphs differ, names of sites and parameters aside.

        12 hexadecimal digits of a SHA-256. What is known of the input scaling does not count.
        """
        if self._chain is not None:
            layers = self._chain.to_json() | ({"input_map": plain(self.input_map)} if self.input_map else {})
            return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).hexdigest()[:12]
        sites = {name: number for number, name in enumerate(self.sites)}
        parameters: dict[str, int] = {}
        steps = []
        for operation in self.operations:
            read = {role: parameters.setdefault(name, len(parameters)) for role, name in operation.parameters.items()}
            steps.append([operation.op, [sites[name] for name in operation.inputs], read, dict(operation.attributes)])
        constant = {parameter.name: parameter.is_constant for parameter in self.parameters}
        shapes = [[self.shapes[name], constant[name]] for name in parameters]
        content: list[Any] = [self.input_shape, steps, shapes, sites[self.output]]
        if self.input_map:
            content.append(self.input_map)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def _hash(self) -> int:
        return hash((self.input_shape, self.parameters, self.operations, self.output, self.input_map))

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the fields, not what was computed from them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def describe(self) -> str:
        """For people: one line where the operations follow one another and are few, else a table, a line each."""
        return describe(self) if self._chain is None else self._chain.describe()

    def in_words(self) -> str:
        """For messages, always one line: what :meth:`describe` says of a chain, else its id."""
        return f"the graph {self.graph_id}" if self._chain is None else self._chain.describe()

    @classmethod
    def of_layers(
        cls,
        *,
        input_shape: Shape,
        layers: tuple[LayerSpec, ...],
        input_scaling: InputScaling | None = None,
        input_map: tuple[tuple[float, float], ...] = (),
    ) -> Graph:
        """The graph of a chain: layers one after another.

        Args:
            input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
            layers: In order. The last one's output, after its activation and pooling, is the network's.
            input_scaling, input_map: As of any graph.

        Returns:
            A graph whose parameters are named ``layers.0.weight``, ``layers.0.bias``, and so on; see
            :func:`~zoovet.networks.chain_view.chain_parts`.

        Raises:
            ZoovetError: Layers do not fit one another or the input; the message names the layer and both sizes. Or the
                input scaling or map is for another number of channels.
        """
        parts = chain_parts(tuple(input_shape), tuple(layers))
        graph = cls(
            input_shape=input_shape,
            parameters=parts.parameters,
            operations=parts.operations,
            output=parts.chain.sites[-1],
            input_scaling=input_scaling,
            input_map=input_map,
        )
        graph.__dict__["_chain"] = parts.chain
        return graph

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values that :meth:`from_json` reads; a chain's are its layers."""
        if self._chain is not None and self._chain == chain_parts(self.input_shape, self._chain.layers).chain:
            return {**self._chain.to_json(), **self._reading_to_json()}
        data = {
            "input_shape": list(self.input_shape),
            "parameters": [
                {"name": one.name, "shape": list(one.shape), "is_constant": one.is_constant} for one in self.parameters
            ],
            "operations": [
                {
                    "op": one.op,
                    "inputs": list(one.inputs),
                    "output": one.output,
                    "parameters": dict(one.parameters),
                    "attributes": {name: plain(value) for name, value in one.attributes.items()},
                }
                for one in self.operations
            ],
            "output": self.output,
        }
        return {**data, **self._reading_to_json()}

    def _reading_to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self.input_scaling is not None:
            data["input_scaling"] = self.input_scaling.to_json()
        if self.input_map:
            data["input_map"] = plain(self.input_map)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Graph:
        """Read what :meth:`to_json` wrote, or somebody else did.

        Raises:
            ZoovetError: A key is missing or unknown, a value has the wrong type or is out of bounds, or the operations
                do not fit one another.
        """
        if isinstance(data, dict) and "layers" in data:
            layers = layers_from_json(data)
            return cls.of_layers(
                input_shape=whole_numbers(data["input_shape"], "input_shape", (1, 3)),
                layers=layers,
                **_reading_from_json(data),
            )
        names = ("input_shape", "parameters", "operations", "output")
        check_keys(data, (*names, "input_scaling", "input_map"), names, "a graph")
        for name, most in (("parameters", _MAX_PARAMETERS), ("operations", _MAX_OPERATIONS)):
            if not isinstance(data[name], list) or len(data[name]) > most:
                raise ZoovetError(f"a graph's {name!r} must be a list of at most {most}")
        require_name(data["output"], "a graph's 'output'")
        return cls(
            input_shape=integers(None, 1)(data["input_shape"], "a graph's 'input_shape'"),
            parameters=tuple(
                parameter_from_json(one, f"parameters[{index}]") for index, one in enumerate(data["parameters"])
            ),
            operations=tuple(
                operation_from_json(one, f"operations[{index}]") for index, one in enumerate(data["operations"])
            ),
            output=data["output"],
            **_reading_from_json(data),
        )


def _reading_from_json(data: dict[str, Any]) -> dict[str, Any]:
    """Input scaling and map, where they are told."""
    scaling, pairs = data.get("input_scaling"), data.get("input_map", [])
    if not isinstance(pairs, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        raise ZoovetError("a graph's 'input_map' must be a list of pairs, a factor and an offset each")
    return {
        "input_scaling": None if scaling is None else InputScaling.from_json(scaling),
        "input_map": tuple((number(pair[0], "input_map"), number(pair[1], "input_map")) for pair in pairs),
    }


def _repeated(names: Sequence[str]) -> str:
    return repr(printable(next(name for name, count in Counter(names).items() if count > 1)))
