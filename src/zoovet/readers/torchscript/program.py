"""A TorchScript program from its description: objects, their weights by name, classes and functions by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.loaded import GraphData, tensor_of
from zoovet.readers.torchscript.values import Function, ScriptClass, ScriptObject, Weight

__all__ = ["Program", "program_of"]

_STATISTICS = slice(3, 5)
"""Which arguments of ``batch_norm`` are running statistics."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a file holds.

    Attributes:
        root: The module whose ``forward`` is the network.
        constants: Of the code, by number.
        weights: By name, as they are stored.
        learned: Names of those that are parameters.
        nodes: Where in the file each lies, as the reading process describes it.
    """

    root: ScriptObject
    constants: tuple[Any, ...]
    weights: Mapping[str, Tensor]
    learned: frozenset[str]
    nodes: Mapping[str, Any]
    _classes: Mapping[str, ScriptClass]
    _functions: Mapping[str, Function]

    def found(self, path: str) -> Function | ScriptClass | None:
        """A function or class by its path, ``__torch__.…``."""
        return self._functions.get(path) or self._classes.get(path)

    def class_of(self, value: ScriptObject) -> ScriptClass | None:
        """An object's class."""
        return self._classes.get(value.of)


def program_of(data: GraphData) -> Program:
    """A program from its description.

    Raises:
        ZoovetError: Its root is no module, or a tensor in it has no plain numbers.
    """
    described = data.description
    classes, functions = dict[str, ScriptClass](), dict[str, Function]()
    for where, file in described["code"].items():
        module = where.removeprefix("code/").removesuffix(".py").replace("/", ".")
        for name, one in file["classes"].items():
            classes[f"{module}.{name}"] = _class(f"{module}.{name}", where, one)
        for name, one in file["functions"].items():
            functions[f"{module}.{name}"] = _function(name, where, one)
    maker = _Maker(data, classes)
    root = maker.value(described["root"], "")
    if not isinstance(root, ScriptObject):
        raise ZoovetError("it holds no module, but something else; save the module itself by torch.jit.save")
    statistics = _statistics(described["code"])
    constants = []
    for index, node in enumerate(described["constants"][1:]):
        name = f"CONSTANTS.c{index}"
        constants.append(maker.value(node, name, is_learned=f"c{index}" not in statistics, is_constant=True))
    return Program(
        root=root,
        constants=tuple(constants),
        weights=maker.weights,
        learned=frozenset(maker.learned),
        nodes=maker.nodes,
        _classes=classes,
        _functions=functions,
    )


@dataclass
class _Maker:
    """Makes values of the description; a weight that is there several times is one, by its first name."""

    data: GraphData
    classes: Mapping[str, ScriptClass]
    weights: dict[str, Tensor] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)
    nodes: dict[str, Any] = field(default_factory=dict)
    _objects: dict[int, ScriptObject] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def value(self, node: Any, name: str, *, is_learned: bool = False, is_constant: bool = False) -> Any:
        """What a node of the description stands for."""
        if not isinstance(node, list):
            return node
        kind, *parts = node
        match kind:
            case "object":
                return self._object(parts[0], name)
            case "list":
                return [
                    self.value(one, f"{name}.{index}", is_learned=is_learned, is_constant=is_constant)
                    for index, one in enumerate(parts)
                ]
            case "dict":
                keys = [str(key) for key in parts[::2]]
                entries = zip(keys, parts[1::2], strict=True)
                return {key: self.value(one, f"{name}.{key}", is_learned=is_learned) for key, one in entries}
            case "tensor":
                return self._tensor(node, name, is_learned, is_constant)
            case "odd":
                raise ZoovetError(
                    f"the tensor '{printable(name, 80)}' is {printable(parts[0], 20)}; weights are dense real numbers"
                )
        return None

    def _object(self, index: int, name: str) -> ScriptObject:
        if index not in self._objects:
            described = self.data.description["objects"][index]
            made = self._objects[index] = ScriptObject(of=str(described["class"]))
            of = self.classes.get(made.of)
            parameters = frozenset[str]() if of is None else of.parameters
            attributes = described["attributes"]
            for key, node in zip(attributes[::2], attributes[1::2], strict=True):
                path = f"{name}.{key}" if name else str(key)
                made.attributes[str(key)] = self.value(node, path, is_learned=key in parameters)
        return self._objects[index]

    def _tensor(self, node: list[Any], name: str, is_learned: bool, is_constant: bool) -> Any:
        tensor = tensor_of(self.data, node)
        is_number = tensor.ndim == 0 and not tensor.is_complex() and not tensor.is_meta
        if is_number and (is_constant or not tensor.is_floating_point()):
            return tensor.item()  # beside tensors it has no part in what dtype comes out, just as a number
        known = self._names.setdefault(str(node[1:]), name)
        if known not in self.weights:
            self.weights[known], self.nodes[known] = tensor, node
        if is_learned:
            self.learned.add(known)
        return Weight(known)


def _class(name: str, where: str, described: Mapping[str, Any]) -> ScriptClass:
    return ScriptClass(
        name=name,
        base=described["base"],
        parameters=frozenset(described["parameters"]),
        fields=tuple(described["fields"]),
        constants=described["constants"],
        methods={method: _function(method, where, one) for method, one in described["methods"].items()},
    )


def _function(name: str, where: str, described: Mapping[str, Any]) -> Function:
    parameters = tuple((str(one), default) for one, default in described["parameters"])
    return Function(printable(name, 60), printable(where, 120), parameters, tuple(described["body"]))


def _statistics(code: Mapping[str, Any]) -> set[str]:
    """Names of the constants that a batch norm reads as running statistics, as in a frozen module."""
    found: set[str] = set()
    left: list[Any] = list(code.values())
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            if one[:1] == ["call"] and one[1][:2] == ["attribute", ["name", "torch"]] and one[1][2] == "batch_norm":
                given = one[2][_STATISTICS]
                found |= {str(part[2]) for part in given if part[:2] == ["attribute", ["name", "CONSTANTS"]]}
            left += one
    return found
