"""Weight files in a folder and the folders in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zoovet.fetching.hints import hint_beside
from zoovet.fetching.weight_files import NO_WEIGHT_FILE, Gathered, Skipped, WeightFile, split_by_name
from zoovet.printable import printable

__all__ = ["in_folder", "named_together"]

_MAX_FILES = 100_000


def in_folder(folder: Path) -> Gathered:
    """The weight files in a folder and those in it, by their names, in alphabetical order.

    Hidden folders and links to folders are left out, which is said, as is every file that is left out; those that no
    weight file is called like are counted by the ends of their names.

    Args:
        folder: The folder.
    """
    names, skipped = list[str](), list[Skipped]()
    for found in _below(folder, folder):
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            names.append(found)
        if len(names) > _MAX_FILES:
            return Gathered(failures=((str(folder), f"it holds more than {_MAX_FILES:,} files; give some of them"),))
    taken, others = split_by_name(sorted(names))
    kept = [Skipped(name=str(folder / one.name), reason=one.reason) for one in others]
    if not taken:
        text = "it holds no weight file" + ("" if not names else f", of {len(names):,} files")
        return Gathered(failures=((str(folder), text),), skipped=tuple(named_together(str(folder), [*skipped, *kept])))
    return Gathered(
        files=tuple(
            WeightFile(path=folder / name, name=str(folder / name), hint=hint_beside(folder / name)) for name in taken
        ),
        skipped=tuple(named_together(str(folder), [*skipped, *kept])),
    )


def named_together(place: str, skipped: list[Skipped]) -> Iterator[Skipped]:
    """What was left out, but for files of other names, which are counted: ``3 .json, 1 .md``.

    Args:
        place: Where they lie.
        skipped: Each of them.
    """
    yield from (one for one in skipped if one.reason != NO_WEIGHT_FILE)
    ends = Counter(
        PurePosixPath(one.name).suffix.lower() or "without an ending" for one in skipped if one.reason == NO_WEIGHT_FILE
    )
    if ends:
        shown = ", ".join(f"{count} {printable(end, 20)}" for end, count in sorted(ends.items()))
        whose = "1 file whose name is no weight file's"
        if ends.total() > 1:
            whose = f"{ends.total()} files whose names are no weight files'"
        yield Skipped(name=place, reason=f"{whose}: {printable(shown, 300)}")


def _below(folder: Path, root: Path) -> Iterator[str | Skipped]:
    """Names of files, relative to the root, and folders that are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(name=str(folder), reason=f"it cannot be read: {error.strerror or printable(error)}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if entry.name.startswith("."):
                yield Skipped(name=entry.path, reason="a hidden folder")
            else:
                yield from _below(path, root)
        elif entry.is_dir():
            yield Skipped(name=entry.path, reason="a link to a folder")
        elif entry.is_file():
            yield path.relative_to(root).as_posix()
        else:
            yield Skipped(name=entry.path, reason="no regular file")
