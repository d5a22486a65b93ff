"""The layers of a Keras model, from its JSON: Sequential and Functional, within one another, by Keras 2 and 3.

A layer that is used at several places is there once for each; a model within a model is there as its layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.keras.links import Reads, kind_of, layer_in_words, reads_of
from zoovet.readers.outputs import chosen_output

__all__ = ["Layer", "Link", "Model", "read_model"]

_MODELS = ("Sequential", "Functional", "Model")
_MAX_DEPTH, _MAX_LAYERS = 16, 10_000

Link = tuple[str, tuple[int, ...]]
"""A layer's name, and which of the places where it, and the models that it is in, are used."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer at one place.

    Attributes:
        kind: Its class.
        path: Names of the models that it is in, outermost first, and its own.
        stored_as: Where its weights are in a ``.keras`` file.
        config: Its settings.
        use: At which place it, and the models that it is in, are used.
        inputs: What it reads.
        operands: Of arithmetic: a number, or ``None`` for the next input.
    """

    kind: str
    path: tuple[str, ...]
    stored_as: str
    config: Mapping[str, Any]
    use: tuple[int, ...]
    inputs: tuple[Link, ...]
    operands: tuple[float | None, ...] = ()

    @property
    def name(self) -> str:
        """Its name behind those of the models that it is in."""
        return "/".join(self.path)

    @property
    def link(self) -> Link:
        """What reads it calls it so."""
        return self.name, self.use

    @property
    def place(self) -> str:
        """Where it stands, safe to show."""
        return layer_in_words(self.name)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model.

    Attributes:
        layers: Each behind those that it reads; what reads nothing is the input.
        output: What gives its answer.
    """

    layers: list[Layer]
    output: Link


def read_model(described: Any, output: int | None = None) -> Model:
    """A model from its description.

    Args:
        described: As Keras wrote it.
        output: Which of several outputs, from 0.

    Raises:
        UnknownOperation: The model is of a class of its own, or a layer is code.
        ZoovetError: It has several inputs, it is open which output is to be read, or layers read what is not there.
    """
    walk = _Walk()
    answer = walk.model(described, _Place(), output)
    layers = [replace(layer, inputs=tuple(map(walk.resolved, layer.inputs))) for layer in walk.layers]
    if len({layer.link for layer in layers}) < len(layers):
        raise ZoovetError("two of its layers have the same name")
    if sum(not layer.inputs for layer in layers) != 1:
        raise ZoovetError("it does not have one input; models with one are read")
    ordered, answer = _in_order(layers), walk.resolved(answer)
    if answer not in {layer.link for layer in ordered}:
        raise ZoovetError("nothing makes its output")
    return Model(layers=ordered, output=answer)


@dataclass(frozen=True)
class _Place:
    """Where in the outermost model a model is."""

    path: tuple[str, ...] = ()
    stored_in: str = ""
    use: tuple[int, ...] = ()
    inputs: tuple[Link, ...] = ()

    def link(self, name: str, use: int) -> Link:
        return "/".join((*self.path, name)), (*self.use, use)


class _Walk:
    """Collects layers; what reads a model reads what gives that one's answer."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.answers: dict[Link, Link] = {}

    def resolved(self, link: Link) -> Link:
        while link in self.answers:
            link = self.answers[link]
        return link

    def model(self, described: Any, place: _Place, output: int | None = None) -> Link:
        """Adds a model's layers, and says what gives its answer, the chosen one of several."""
        kind, config = described["class_name"], described["config"]
        if kind not in _MODELS:
            raise UnknownOperation(printable(str(kind), 60), "", "is a model of a class of its own")
        if len(place.path) > _MAX_DEPTH:
            raise ZoovetError(f"it has models within one another, more than {_MAX_DEPTH} deep")
        entries = config["layers"] if isinstance(config, dict) else config
        names = [str(entry.get("name") or entry["config"]["name"]) for entry in entries]
        if len(set(names)) < len(names):
            raise ZoovetError("two of its layers have the same name")
        counts: Counter[str] = Counter()
        before: tuple[Link, ...] = ()  # what the layer before it gives, of a Sequential
        for entry, name in zip(entries, names, strict=True):
            stored = place.stored_in + _stored_as(str(entry["class_name"]), counts)
            uses = [Reads()] if kind == "Sequential" else reads_of(entry, name)
            for number, reads in enumerate(uses):
                links = before if kind == "Sequential" else tuple(place.link(*link) for link in reads.links)
                before = (self._layer(entry, place.link(name, number), stored, links, reads.operands, place),)
        if kind == "Sequential":
            if not before:
                raise ZoovetError("it has no layers")
            chosen_output(1, output)
            return before[0]
        _the_one(config["input_layers"], "inputs")
        answers = _entries(config["output_layers"])
        name, index, *_ = answers[chosen_output(len(answers), output, [str(one[0]) for one in answers])]
        return place.link(str(name), int(index))

    def _layer(
        self,
        entry: Any,
        own: Link,
        stored: str,
        reads: tuple[Link, ...],
        operands: tuple[float | None, ...],
        place: _Place,
    ) -> Link:
        """Adds a layer, or the layers of a model that stands in its place."""
        inputs = reads or place.inputs
        path = (*place.path, own[0].removeprefix("".join(f"{outer}/" for outer in place.path)))
        if entry["class_name"] in _MODELS:
            self.answers[own] = self.model(entry, _Place(path, f"{stored}/layers/", own[1], inputs))
            return own
        kind = kind_of(entry, own[0])
        if bool(reads) and kind == "InputLayer":
            raise ZoovetError(f"its {layer_in_words(own[0])} is an input that reads something")
        if len(self.layers) >= _MAX_LAYERS:
            raise ZoovetError(f"it has more than {_MAX_LAYERS:,} layers")
        self.layers.append(
            Layer(
                kind=kind,
                path=path,
                stored_as=stored,
                config=entry["config"],
                use=own[1],
                inputs=inputs,
                operands=operands,
            )
        )
        return own


def _stored_as(kind: str, counts: Counter[str]) -> str:
    """How Keras calls a layer's weights: its class in small letters, numbered from the second on."""
    kind = {"Functional": "functional", "Model": "functional"}.get(kind, kind)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind)))
    stored = snake.lower()
    counts[stored] += 1
    return stored if counts[stored] == 1 else f"{stored}_{counts[stored] - 1}"


def _entries(value: Any) -> list[Any]:
    """Layer and place of each; a single one may stand alone."""
    if not value:
        raise ZoovetError("it has no inputs or no outputs")
    return [value] if isinstance(value[0], str) else list(value)


def _the_one(value: Any, what: str) -> tuple[str, int]:
    """The one input: its layer, and at which place that is used."""
    entries = _entries(value)
    if len(entries) != 1:
        raise ZoovetError(f"it has {len(entries)} {what}; models with one are read")
    return str(entries[0][0]), int(entries[0][1])


def _in_order(layers: list[Layer]) -> list[Layer]:
    done: dict[Link, Layer] = {}
    waiting = layers
    while waiting:
        ready = [layer for layer in waiting if all(link in done for link in layer.inputs)]
        if not ready:
            raise ZoovetError(f"its {waiting[0].place} reads what nothing makes, or itself")
        done.update({layer.link: layer for layer in ready})
        waiting = [layer for layer in waiting if layer.link not in done]
    return list(done.values())
