"""The layers of a Keras model, from its JSON: Sequential and Functional, as Keras 2 and 3 write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation

__all__ = ["Layer", "layers_of"]

_CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer.

    Attributes:
        kind: Its class.
        name: In the model.
        stored_as: In the weights of a ``.keras`` file.
        config: Its settings.
        inputs: The layers that it reads.
        is_output: It gives the model's answer.
    """

    kind: str
    name: str
    stored_as: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    is_output: bool

    @property
    def place(self) -> str:
        """Where it stands, safe to show."""
        return f"layer '{printable(self.name, 80)}'"


def layers_of(model: Any) -> list[Layer]:
    """A model's layers, each behind those that it reads.

    Raises:
        UnknownOperation: The model is of a class of its own, or a layer is a model or code.
        ZoovetError: It has several inputs or outputs, or layers read what is not there.
    """
    kind, config = model["class_name"], model["config"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise UnknownOperation(printable(str(kind), 60), "", "is a model of a class of its own")
    counts: Counter[str] = Counter()
    layers: list[Layer] = []
    entries = config["layers"] if isinstance(config, dict) else config
    outputs = () if kind == "Sequential" else _names(config["output_layers"], "outputs")
    if kind != "Sequential":
        _names(config["input_layers"], "inputs")
    for number, entry in enumerate(entries):
        own = entry["config"]
        made, name = str(entry["class_name"]), str(entry.get("name") or own["name"])
        if made in _CODE:
            raise UnknownOperation(made, f"layer '{printable(name, 80)}'", "is code in the file, which is never run")
        if entry.get("registered_name") not in (None, made):  # Keras 3 writes None, or the class, for its own
            raise UnknownOperation(printable(made, 60), f"layer '{printable(name, 80)}'", "is a class of its own")
        snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", made)))
        stored = snake.lower()
        counts[stored] += 1
        inputs: tuple[str, ...] = (layers[-1].name,) if layers else ()
        if kind != "Sequential":
            inputs = tuple(_read_by(entry.get("inbound_nodes", []), name))
        layers.append(
            Layer(
                kind=made,
                name=name,
                stored_as=stored if counts[stored] == 1 else f"{stored}_{counts[stored] - 1}",
                config=own,
                inputs=inputs,
                is_output=name in outputs or (kind == "Sequential" and number == len(entries) - 1),
            )
        )
    if len({layer.name for layer in layers}) < len(layers):
        raise ZoovetError("two of its layers have the same name")
    for layer in layers if kind != "Sequential" else ():
        if bool(layer.inputs) == (layer.kind == "InputLayer"):
            raise ZoovetError(f"its {layer.place} reads nothing, or is an input that reads something")
    if kind != "Sequential" and sum(not layer.inputs for layer in layers) != 1:
        raise ZoovetError("it does not have one input; models with one are read")
    return _in_order(layers)


def _names(value: Any, what: str) -> tuple[str, ...]:
    entries = [value] if value and isinstance(value[0], str) else value
    if len(entries) != 1:
        raise ZoovetError(f"it has {len(entries)} {what}; models with one are read")
    return (str(entries[0][0]),)


def _read_by(nodes: Any, name: str) -> list[str]:
    if len(nodes) > 1:
        raise UnknownOperation(f"layer '{printable(name, 80)}'", "", "is used at several places")
    if not nodes:
        return []
    if isinstance(nodes[0], list):
        return [str(link[0]) for link in nodes[0]]
    args = nodes[0]["args"]
    links = args[0] if args and isinstance(args[0], list) else args
    return [str(link["config"]["keras_history"][0]) for link in links]


def _in_order(layers: list[Layer]) -> list[Layer]:
    done: dict[str, Layer] = {}
    waiting = layers
    while waiting:
        ready = [layer for layer in waiting if all(name in done for name in layer.inputs)]
        if not ready:
            raise ZoovetError(f"its {waiting[0].place} reads what nothing makes, or itself")
        done.update({layer.name: layer for layer in ready})
        waiting = [layer for layer in waiting if layer.name not in done]
    return list(done.values())
