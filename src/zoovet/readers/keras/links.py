"""What a layer of a Keras model reads, at each place where it is used: links to others, and numbers beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation

__all__ = ["ARITHMETIC", "CODE", "Reads", "kind_of", "layer_in_words", "reads_of"]

CODE = ("Lambda", "SlicingOpLambda", "TFOpLambda")
"""Classes of layers that are code, but for TensorFlow's functions of arithmetic."""

ARITHMETIC: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"arithmetic:{name.lower()}" for name in ("Add", "Subtract", "Multiply", "Divide")},
        "TrueDivide": "arithmetic:divide",
        "math.add": "arithmetic:add",
        "math.divide": "arithmetic:divide",
        "math.multiply": "arithmetic:multiply",
        "math.subtract": "arithmetic:subtract",
        "math.truediv": "arithmetic:divide",
        "__operators__.add": "arithmetic:add",
    }
)
"""Operations of Keras 3 and functions of TensorFlow → the kind of layer that they are taken for."""

_OWN_HOMES = ("keras", "tf_keras", "tensorflow")
_MAX_PLACES = 10_000
_NUMBER = "_CONSTANT_VALUE"


@dataclass(frozen=True)
class Reads:
    """What a layer reads at one place.

    Attributes:
        links: (layer, at which place that is used), in order.
        operands: Of arithmetic: a number, or ``None`` for the next link.
    """

    links: tuple[tuple[str, int], ...] = ()
    operands: tuple[float | None, ...] = ()


def layer_in_words(name: str) -> str:
    """For messages: ``layer 'conv2d'``."""
    return f"layer '{printable(name, 80)}'"


def kind_of(entry: Any, name: str) -> str:
    """A layer's class, or the kind of arithmetic that it is.

    Args:
        entry: As the file describes it.
        name: For messages.

    Raises:
        UnknownOperation: It is code, or a class of its own, or another operation.
    """
    kind, where = str(entry["class_name"]), layer_in_words(name)
    if kind == "TFOpLambda" and entry["config"].get("function") in ARITHMETIC:
        return ARITHMETIC[entry["config"]["function"]]
    if kind in CODE:
        raise UnknownOperation(kind, where, "is code in the file, which is never run")
    home = str(entry.get("module") or "keras.layers").split(".")
    # Keras 3 registers its own under no name, or under that of the class.
    if entry.get("registered_name") not in (None, kind) or home[0] not in _OWN_HOMES:
        raise UnknownOperation(printable(kind, 60), where, "is a class of its own")
    if "ops" in home or set(entry["config"]) <= {"name"}:  # in .h5 files operations have no module, but few settings
        if kind not in ARITHMETIC:
            raise UnknownOperation(printable(kind, 60), where, "is an operation outside of layers, not read")
        return ARITHMETIC[kind]
    return kind


def reads_of(entry: Any, name: str) -> list[Reads]:
    """What a layer reads, at each place where it is used.

    Args:
        entry: As the file describes it.
        name: For messages.

    Raises:
        UnknownOperation: It reads layers in a way that is not known.
    """
    nodes = entry.get("inbound_nodes") or []
    if len(nodes) > _MAX_PLACES:
        raise ZoovetError(f"its {layer_in_words(name)} is used at more than {_MAX_PLACES:,} places")
    if not nodes:
        return [Reads()]
    return [_of_keras_2(node, name) if isinstance(node, list) else _of_keras_3(node, name) for node in nodes]


def _of_keras_2(node: Sequence[Any], name: str) -> Reads:
    """[layer, place, output, keywords] for each; what arithmetic reads second stands among the keywords."""
    entries = [node] if node and isinstance(node[0], str) else node
    links: list[tuple[str, int]] = []
    operands: list[float | None] = []
    for entry in entries:
        if entry[0] == _NUMBER:
            operands.append(float(entry[2]))
        else:
            links.append((str(entry[0]), int(entry[1])))
            operands.append(None)
        keywords = {key: value for key, value in (entry[3] if len(entry) > 3 else {}).items() if value is not None}
        second = keywords.pop("y", None)
        if isinstance(second, list):
            links.append((str(second[0]), int(second[1])))
        if second is not None:
            operands.append(None if isinstance(second, list) else float(second))
        if any(isinstance(value, list | dict) and value for value in keywords.values()):
            raise _by_keyword(name)
    return Reads(tuple(links), tuple(operands))


def _of_keras_3(node: Mapping[str, Any], name: str) -> Reads:
    args = node["args"]
    entries = args[0] if args and isinstance(args[0], list) else args
    if (entries is not args and len(args) > 1) or any(isinstance(one, dict) for one in node.get("kwargs", {}).values()):
        raise _by_keyword(name)
    links: list[tuple[str, int]] = []
    operands: list[float | None] = []
    for entry in entries:
        if isinstance(entry, dict):
            history = entry["config"]["keras_history"]
            links.append((str(history[0]), int(history[1])))
        operands.append(None if isinstance(entry, dict) else float(entry))
    return Reads(tuple(links), tuple(operands))


def _by_keyword(name: str) -> UnknownOperation:
    return UnknownOperation(layer_in_words(name), "", "reads layers by keyword, which is not read")
