"""Reading configurations: YAML and dotted overrides into frozen dataclasses, strictly.

A configuration is a frozen, keyword-only dataclass that lives beside what it configures. Reading is driven by its type
hints (``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal``, ``None``, unions, tuples and further dataclasses).
Nothing is guessed: an unknown key is an error that names the nearest known one, and a value of another type is an error
that names the key, what was expected and what was received. Where a key takes one of several dataclasses, each of them
has a field ``kind`` (or ``family``) of its own ``Literal``, and the mapping's says which is meant.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

import yaml

from zoovet.attribute_docs import meanings_of
from zoovet.errors import ZoovetError, nearest
from zoovet.files import write_text
from zoovet.printable import printable
from zoovet.yaml12 import read_yaml, received, yaml_value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "ConfigKey",
    "config_keys",
    "config_to_dict",
    "dotted",
    "read_config",
    "read_yaml",
    "write_config",
    "written_config",
]

Config = TypeVar("Config", bound="DataclassInstance")

_MAPPING = "a mapping (key: value)"
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path"}
_NAMES |= {date: "a day, as 2027-01-31", type(None): "null"}


@dataclass(frozen=True)
class ConfigKey:
    """One key of a configuration, for help texts.

    Attributes:
        name: Dotted: ``metanetwork.width``.
        expected: What it takes, in words.
        default: As in YAML; ``None`` where the key must be given.
        meaning: What the dataclass's docstring says of it; empty where it says nothing.
    """

    name: str
    expected: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class _Override:
    """A value that came from outside the file, as text or as a value, and how to name its origin in an error."""

    value: Any
    where: str


def read_config(
    cls: type[Config],
    source: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    where: str | None = None,
) -> Config:
    """A configuration from a YAML file or a mapping, changed by overrides.

    Args:
        cls: The dataclass.
        source: Path of a YAML file, or a mapping as such a file holds.
        overrides: ``{"a.b": value}`` or ``["a.b=value"]``. A text value is read as YAML unless the key takes text.
        where: What to call ``source`` in errors; by default its path.

    Raises:
        ZoovetError: A key is unknown or missing, or a value does not fit; the message says where.
    """
    if isinstance(source, Mapping):
        values, where = dict(source), where or "configuration"
    else:
        values, where = read_yaml(source), where or printable(source)
    for key, value in _override_items(overrides):
        if key not in _known_keys(cls):
            raise _unknown_key(key, f"--{key}", cls)
        values = _with_override(values, key.split("."), _Override(value, f"--{key}"), where)
    return typing.cast(Config, _dataclass_from(cls, values, "", where, cls))


def config_to_dict(config: DataclassInstance) -> dict[str, Any]:
    """A configuration as plain values that :func:`read_config` reads back to an equal one."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}


def write_config(config: DataclassInstance, path: str | Path) -> None:
    """Write a configuration as YAML; the file appears whole or not at all."""
    write_text(Path(path), yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True))


def written_config(cls: type[DataclassInstance], path: str | Path) -> dict[str, Any]:
    """What :func:`write_config` wrote as plain values; keys that its version had not yet are as by default.

    Where the file has keys that ``cls`` has no more, or that take other values now, its own values alone.
    """
    values = read_yaml(path)
    try:
        return config_to_dict(read_config(cls, values, where=printable(path)))
    except ZoovetError:
        return values


def config_keys(cls: type[DataclassInstance]) -> list[ConfigKey]:
    """Every key of a configuration, nested ones dotted, in the order of the dataclass."""
    return _keys_below(cls, "", None)


def _keys_below(cls: type[DataclassInstance], prefix: str, default: Any) -> list[ConfigKey]:
    hints, meanings = typing.get_type_hints(cls), meanings_of(cls)
    keys: list[ConfigKey] = []
    for name, value in _defaults(cls, default).items():
        if classes := _dataclasses_in(hints[name]):
            keys.extend(_merged([_keys_below(nested, f"{prefix}{name}.", value) for nested in classes]))
        else:
            keys.append(ConfigKey(prefix + name, _in_words(hints[name]), _default_text(value), meanings.get(name, "")))
    return keys


def _merged(lists: Sequence[list[ConfigKey]]) -> list[ConfigKey]:
    """The keys of several dataclasses that stand for one another; a shared name comes once, with what each takes."""
    merged: dict[str, ConfigKey] = {}
    for key in itertools.chain.from_iterable(lists):
        known = merged.setdefault(key.name, key)
        expected = dict.fromkeys([*known.expected.split(" or "), *key.expected.split(" or ")])
        merged[key.name] = dataclasses.replace(known, expected=" or ".join(expected))
    return list(merged.values())


def _override_items(overrides: Mapping[str, Any] | Sequence[str]) -> Iterable[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        yield from overrides.items()
        return
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ZoovetError(f"an override must look like key=value or group.key=value, got '{printable(text)}'")
        yield key, value


def _with_override(values: Mapping[str, Any], path: list[str], override: _Override, where: str) -> dict[str, Any]:
    """A copy of ``values`` with ``override`` at ``path``, a known key; ``where`` is the origin of ``values``."""
    name, rest = path[0], path[1:]
    inner = values.get(name)
    if not rest:
        return {**values, name: override}
    if isinstance(inner, _Override):
        raise ZoovetError(f"{inner.where} and {override.where} are both given; give one of them")
    if inner is not None and not isinstance(inner, Mapping):
        raise _wrong_value(name, _MAPPING, inner, where)
    return {**values, name: _with_override(inner or {}, rest, override, where)}


def _dataclass_from(
    cls: type[DataclassInstance], values: Any, key: str, where: str, root: Any, default: Any = None
) -> Any:
    """``values`` as a ``cls``, what they leave out as in ``default`` (or as ``cls`` has it).

    ``key`` is the dotted name of the whole (empty at the root), ``root`` the class of the whole configuration.
    """
    if not isinstance(values, Mapping):
        raise _wrong_value(key, _MAPPING, values, where)
    hints, prefix = typing.get_type_hints(cls), f"{key}." if key else ""
    defaults = _defaults(cls, default)
    for name in values:
        if name not in defaults:
            raise _unknown_key(f"{prefix}{name}", where, root, cls)
    arguments = {
        name: _convert(hints[name], value, prefix + name, where, root, defaults[name]) for name, value in values.items()
    }
    for name in [name for name in defaults if name not in values]:
        arguments[name] = defaults[name]
        if defaults[name] is dataclasses.MISSING:
            nested = _dataclass_for(hints[name], {}, prefix + name, where, None)
            if nested is None:
                raise ZoovetError(f"{where}: the key '{prefix}{name}' is missing; it takes {_in_words(hints[name])}")
            arguments[name] = _dataclass_from(nested, {}, prefix + name, where, root)
    try:
        return cls(**arguments)
    except ZoovetError as error:
        named = not key or str(error).startswith(f"{key}.")
        raise ZoovetError(f"{where}: {'' if named else f'{key}: '}{error}") from None


def _convert(expected: Any, value: Any, key: str, where: str, root: Any, default: Any = None) -> Any:
    """``value`` as ``expected``, or an error that names the key."""
    if isinstance(value, _Override):
        where, value = value.where, _override_value(expected, value)
    if isinstance(value, Mapping) and (cls := _dataclass_for(expected, value, key, where, default)):
        return _dataclass_from(cls, value, key, where, root, default)
    for option in _options(expected):
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return _tuple_from(option, list(value), key, where, root)
        if _is_scalar(option, value):
            return Path(value) if option is Path else float(value) if option is float else value
    raise _wrong_value(key, _in_words(expected), value, where)


def _is_scalar(option: Any, value: Any) -> bool:
    """Whether ``value`` fits a type without parts."""
    if option is None or option is type(None):
        return value is None
    if typing.get_origin(option) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(option))
    if option is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    if option is Path:
        return isinstance(value, str | Path) and str(value) != ""
    return type(value) is date if option is date else option in (str, bool) and isinstance(value, option)


def _tuple_from(expected: Any, values: list[Any], key: str, where: str, root: Any) -> tuple[Any, ...]:
    parts = typing.get_args(expected)
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = (parts[0],) * len(values)
    if len(parts) != len(values):
        raise _wrong_value(key, _in_words(expected), values, where)
    return tuple(
        _convert(part, value, f"{key}[{index}]", where, root)
        for index, (part, value) in enumerate(zip(parts, values, strict=True))
    )


def _override_value(expected: Any, override: _Override) -> Any:
    """An override's value; text is read as YAML, unless the key takes text: then it is what it is."""
    if not isinstance(override.value, str):
        return override.value
    options = _options(expected)
    if str in options or Path in options:
        return None if override.value == "null" and type(None) in options else override.value
    return yaml_value(override.value, override.where)


def _options(expected: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    return typing.get_args(expected) if typing.get_origin(expected) in (Union, types.UnionType) else (expected,)


def _dataclasses_in(expected: Any) -> list[type[DataclassInstance]]:
    return [option for option in _options(expected) if isinstance(option, type) and dataclasses.is_dataclass(option)]


def _dataclass_for(
    expected: Any, values: Mapping[str, Any], key: str, where: str, default: Any
) -> type[DataclassInstance] | None:
    """Which of a union's dataclasses ``values`` is: as its ``kind`` says, else as ``default`` is, else the first.

    Those with a ``family`` in the place of ``kind`` must say it.
    """
    classes = _dataclasses_in(expected)
    if len(classes) < 2:
        return classes[0] if classes else None
    word = "kind" if "kind" in vars(classes[0]) else "family"
    kinds: dict[Any, type[DataclassInstance]] = {vars(cls)[word]: cls for cls in classes}
    usual = classes[0] if word == "kind" else None
    kind = values.get(word, vars(type(default) if type(default) in classes else usual).get(word) if usual else None)
    if isinstance(kind, _Override):
        where, kind = kind.where, kind.value
    if not isinstance(kind, str) or kind not in kinds:
        hint = nearest(kind, kinds) if isinstance(kind, str) and difflib.get_close_matches(kind, kinds, 1, 0.5) else ""
        raise ZoovetError(f"{_wrong_value(f'{key}.{word}', ' or '.join(kinds), kind, where)}{hint}")
    return kinds[kind]


def _in_words(expected: Any) -> str:
    words: list[str] = []
    for option in _options(expected):
        parts = typing.get_args(option)
        if typing.get_origin(option) is Literal:
            words.extend(str(choice) if isinstance(choice, str) else repr(choice) for choice in parts)
        elif typing.get_origin(option) is tuple and len(parts) == 2 and parts[1] is Ellipsis:
            words.append(f"a list, each {_in_words(parts[0])}")
        elif typing.get_origin(option) is tuple:
            words.append(f"a list of {len(parts)} ({', '.join(map(_in_words, parts))})")
        else:
            words.append(_MAPPING if dataclasses.is_dataclass(option) else _NAMES[option])
    return " or ".join(dict.fromkeys(words))


def _wrong_value(key: str, expected: str, value: Any, where: str) -> ZoovetError:
    name = f"'{printable(key)}'" if key else "the configuration"
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return ZoovetError(f"{where}: {name} must be {expected}, got {received(value)}, which 64 bits do not hold")
    if isinstance(value, float) and not math.isfinite(value):
        return ZoovetError(f"{where}: {name} must be {expected}, got {value}; it must be finite")
    return ZoovetError(f"{where}: {name} must be {expected}, got {received(value)}")


def _unknown_key(
    key: str, where: str, root: type[DataclassInstance], owner: type[DataclassInstance] | None = None
) -> ZoovetError:
    """Name the nearest known key: among its siblings, then by its last part anywhere; else list the siblings.

    A key that is known to another kind than ``owner`` says so.
    """
    known = _known_keys(root)
    if key in known:
        word = "kind" if "kind" in vars(owner) else "family"
        return ZoovetError(f"{where}: the key '{key}' means nothing where {word} is {vars(owner)[word]!r}")
    shown = f"'{printable(key)}'"
    parent, _, last = key.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    anywhere = {name.rpartition(".")[2]: name for name in reversed(known)}
    for candidates, cutoff in ((siblings, 0.8), (anywhere, 1.0), (siblings, 0.6), (anywhere, 0.7)):
        if close := difflib.get_close_matches(last, candidates, n=1, cutoff=cutoff):
            return ZoovetError(f"{where}: unknown key {shown}; did you mean {candidates[close[0]]!r}?")
    return ZoovetError(f"{where}: unknown key {shown}; known: {', '.join(map(repr, siblings.values() or known))}")


def _known_keys(cls: type[DataclassInstance]) -> list[str]:
    """Every dotted key, and every group of keys."""
    keys = [key.name for key in config_keys(cls)]
    return [*keys, *dict.fromkeys(name[: match.start()] for name in keys for match in re.finditer(r"\.", name))]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return config_to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _defaults(cls: type[DataclassInstance], default: Any = None) -> dict[str, Any]:
    """What each key is where it is not given: as in the instance ``default``, or as ``cls`` has it, or ``MISSING``."""
    fields = [field for field in dataclasses.fields(cls) if field.init]
    if isinstance(default, cls):
        return {field.name: getattr(default, field.name) for field in fields}
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in fields
    }


def _default_text(value: Any) -> str | None:
    if value is dataclasses.MISSING:
        return None
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=1000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def dotted(values: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as a flat one with dotted keys, as settings are named on the command line.

    Mappings in a list are told apart by their places: ``architectures[0].family``.
    """
    if isinstance(values, list) and any(isinstance(inner, dict) for inner in values):
        named = [(f"{prefix}[{place}]", inner) for place, inner in enumerate(values)]
    elif isinstance(values, dict):
        named = [(f"{prefix}.{name}" if prefix else name, inner) for name, inner in values.items()]
    else:
        return {prefix: values}
    return {key: value for name, inner in named for key, value in dotted(inner, name).items()}
