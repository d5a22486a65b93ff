"""What the verbs' command lines share: strict parsing, dotted overrides, common options."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from zoovet.config import ConfigKey, config_keys
from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "Verb",
    "VerbParser",
    "add_data_root",
    "add_device",
    "add_effort",
    "add_repair_zoo",
    "add_seed",
    "at_least_one",
    "chosen_kind",
    "device_name",
    "number",
    "parse_verb",
]

_WIDTH = 110


class Verb(Protocol):
    """A module of this package that is a verb.

    Attributes:
        DESCRIPTION: What it does, an example, what it writes, how long it takes.
        TAKES_OVERRIDES: Whether ``--key value`` changes its configuration.
    """

    DESCRIPTION: str
    TAKES_OVERRIDES: bool

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare positional arguments and options."""
        ...

    def config_classes(self) -> dict[str, type[DataclassInstance]]:
        """The configurations whose keys the help lists, by title; slow, so asked for only then."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it.

        Returns:
            The exit status.
        """
        ...


class VerbParser(argparse.ArgumentParser):
    """A parser whose errors are :class:`ZoovetError` and whose help lists configuration keys."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(
            prog=f"zoovet {name}",
            description=textwrap.dedent(verb.DESCRIPTION).strip(),
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=_WIDTH),
            allow_abbrev=False,
            add_help=False,
        )
        self.verb = verb
        self.add_argument("-h", "--help", action="store_true", help="show this help")
        verb.add_arguments(self)

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise ZoovetError(f"{message}{'' if message.endswith('?') else '.'} See {self.prog} --help.")

    def format_help(self) -> str:
        """The help text, with every key that an override can change."""
        parts = [super().format_help()]
        for title, cls in self.verb.config_classes().items():
            parts.append(f"\n{title}:\n")
            parts.extend(map(_key_help, config_keys(cls)))
        return "".join(parts)


def parse_verb(parser: VerbParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a verb's command line.

    Every ``--key value`` or ``--key=value`` that is no option of the verb becomes an entry of ``overrides`` where the
    verb takes overrides.

    Raises:
        ZoovetError: An option is unknown or malformed.
    """
    options = {option for action in parser._actions for option in action.option_strings}
    rest, overrides = _split_overrides(words, options)
    if overrides and not parser.verb.TAKES_OVERRIDES:
        flag = "--" + next(iter(overrides))
        parser.error(f"unknown option {flag}{nearest(flag, sorted(options))}")
    for key in overrides:
        _refuse_mistyped_option(parser, key, options)
    arguments = parser.parse_args(rest)
    arguments.overrides = overrides
    return arguments


def _refuse_mistyped_option(parser: VerbParser, key: str, options: set[str]) -> None:
    """Refuse a key that is none of the configuration's, and nearly an option of the verb."""
    meant = difflib.get_close_matches(f"--{key}", options, n=1, cutoff=0.8)
    if not meant:
        return
    known = {config_key.name for cls in parser.verb.config_classes().values() for config_key in config_keys(cls)}
    if key not in known:
        parser.error(f"unknown option --{key}; did you mean {meant[0]!r}?")


def _split_overrides(words: Sequence[str], options: set[str]) -> tuple[list[str], dict[str, str]]:
    rest: list[str] = []
    overrides: dict[str, str] = {}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        key, has_value, value = word.removeprefix("--").partition("=")
        if word == "--":
            rest += [word, *remaining]
            break
        if not word.startswith("--") or f"--{key}" in options:
            negative = not has_value and word.startswith("--") and remaining and re.match(r"-[\d.]", remaining[0])
            rest.append(f"{word}={remaining.pop(0)}" if negative else word)  # argparse takes "-1,1" for an option
            continue
        if not has_value:
            if not remaining or remaining[0].startswith("--"):
                known = nearest(word, sorted(options))
                raise ZoovetError(f"{word} is no option, and as a key of the configuration it needs a value{known}")
            value = remaining.pop(0)
        if key in overrides:
            raise ZoovetError(f"--{key} is given twice")
        overrides[key] = value
    return rest, overrides


def chosen_kind(
    values: Mapping[str, Any], overrides: Mapping[str, Any], key: str, known: Sequence[str], where: object
) -> str:
    """Of which kind a configuration is, as one of its keys says.

    Args:
        values: What its file holds.
        overrides: What the command line says besides.
        key: Which key.
        known: The kinds that there are.
        where: The file, for messages.

    Raises:
        ZoovetError: The key is missing, or says none of them.
    """
    kind = overrides.get(key, values.get(key))
    if kind is None:
        raise ZoovetError(f"{where}: the key '{key}' is missing; it takes {' or '.join(known)}")
    if not isinstance(kind, str) or kind not in known:
        raise ZoovetError(f"{where}: {key} {printable(repr(kind))} is unknown{nearest(str(kind), known)}")
    return kind


def _key_help(key: ConfigKey) -> str:
    head = f"  --{key.name}: {key.expected}; {'must be given' if key.default is None else f'default {key.default}'}\n"
    plain = re.sub(r":\w+:`([^`]+)`", r"\1", key.meaning).replace("``", "")
    meaning = textwrap.fill(plain, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"{head}{meaning}\n" if meaning else head


def at_least_one(text: str) -> int:
    """An argument that counts something: an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def number(text: str, is_taken: Callable[[float], bool], expected: str) -> float:
    """An argument that is a number; ``expected`` says which are taken: ``a number from 0 to 1``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_taken(value):
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 2^63 - 1, got {text!r}")
    return int(text)


def add_seed(parser: argparse.ArgumentParser, default: str) -> None:
    """``--seed S``; ``default`` says what holds without it."""
    parser.add_argument("--seed", type=_seed, metavar="S", help=f"seed of every random draw; default {default}")


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device auto|cpu|cuda``."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto: a GPU where there is one",
    )


def add_effort(parser: argparse.ArgumentParser, sought: str, default: str | None = None) -> None:
    """``--effort WORD``; ``sought`` says what for, ``default`` is what the argument holds without it."""
    parser.add_argument(
        "--effort",
        choices=("quick", "normal", "thorough"),
        default=default,
        help=f"how much is sought {sought}; default normal",
    )


def add_repair_zoo(parser: argparse.ArgumentParser) -> None:
    """``--repair-zoo``, of verbs that make a zoo."""
    parser.add_argument(
        "--repair-zoo",
        action="store_true",
        help="make shards again that are damaged or do not belong where they lie; without, they are named and refused",
    )


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """``--data-root D``."""
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="D",
        help="folder of image datasets; default $ZOOVET_DATA, else ~/.cache/zoovet/data; what is missing is downloaded",
    )


def device_name(name: str) -> str:
    """What ``--device`` means here: ``cpu`` or ``cuda``.

    Raises:
        ZoovetError: ``cuda`` is asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ZoovetError("--device cuda: PyTorch finds no CUDA device here; use --device cpu or auto")
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
