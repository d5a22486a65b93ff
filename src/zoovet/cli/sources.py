"""Files, folders and addresses of the command line: gathered, and put into groups that are read alike."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.fetching import Gathered, Hint, WeightFile
    from zoovet.vet import FileResult, ReadOptions

__all__ = ["SOURCES_HELP", "add_offline", "gathering", "groups_by_hint", "named"]

SOURCES_HELP = """\
Of a folder, the weight files in it and in its folders are taken. hf://OWNER/NAME[@REVISION][/FILE] is a repository on
the Hugging Face hub (pip install 'zoovet[hub]'), https://… a file (with #sha256=… no other is taken), s3://…, gs://…,
az://… a file or all below it. What is left out is listed. Nothing is fetched with --offline, or where HF_HUB_OFFLINE=1
is set; then the hub's cache serves. No telemetry is sent."""
"""For the descriptions of verbs that take files from anywhere."""


def add_offline(parser: argparse.ArgumentParser) -> None:
    """``--offline``."""
    parser.add_argument(
        "--offline", action="store_true", help="fetch nothing: of the hub, what is in its cache is taken"
    )


@contextlib.contextmanager
def gathering(given: Sequence[str], *, offline: bool, quiet: bool) -> Iterator[Gathered]:
    """The weight files that were given; what was fetched is gone afterwards, but for the hub's cache.

    Args:
        given: Paths and addresses.
        offline: Whether nothing is fetched.
        quiet: Whether nothing is shown meanwhile; nor is it where standard error is no terminal.
    """
    from zoovet.fetching import gathered, is_address

    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    with contextlib.ExitStack() as stack:
        if not any(map(is_address, given)):
            yield gathered(given, Path(), offline=offline)
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoovet-")))
        console = Console(stderr=True, quiet=quiet)
        with console.status("fetching") as status:
            found = gathered(given, folder, offline=offline, progress=lambda text: status.update(escape(text)))
        yield found


def groups_by_hint(
    files: Sequence[WeightFile], options: ReadOptions
) -> list[tuple[ReadOptions, tuple[str, ...], list[WeightFile]]]:
    """Files that are read with the same options, what is to be said of these, each group in the order of the files.

    Args:
        files: With what is known of them from where they came, which goes behind what the user says.
        options: What the user says.
    """
    groups: dict[Hint | None, list[WeightFile]] = {}
    for file in files:
        groups.setdefault(None if options.architecture is not None else file.hint, []).append(file)
    return [(_with_hint(options, hint), () if hint is None else hint.notes, group) for hint, group in groups.items()]


def _with_hint(options: ReadOptions, hint: Hint | None) -> ReadOptions:
    if hint is None:
        return options
    scaling = hint.scaling if options.scaling is None else options.scaling
    shape = options.input_shape or (hint.input_shape if options.images is None else None)
    return replace(options, architecture=hint.architecture, scaling=scaling, input_shape=shape)


def named(result: FileResult, file: WeightFile, place: int, hint_notes: tuple[str, ...]) -> FileResult:
    """A result by the name that its file is called, with what is to be said of where it came from.

    Args:
        result: Of the path that it lies at.
        file: What it is called.
        place: Its number among all files.
        hint_notes: What is to be said of how it was read, or, where it was not, why it may not have been.
    """
    failure = result.failure
    if failure is not None:
        path, name = (printable(one, MAX_PATH_CHARACTERS) for one in (file.path, file.name))
        failure = replace(failure, message="; ".join([failure.message.replace(path, name), *hint_notes]))
        hint_notes = ()
    return replace(
        result,
        place=place,
        file=file.name,
        verdicts=tuple(replace(verdict, file=file.name) for verdict in result.verdicts),
        failure=failure,
        notes=(*file.notes, *hint_notes, *result.notes),
    )
