"""A folder of weight files beside a table that says what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.zoo.importers.network_files import NetworkFiles, networks_in_files, weight_files
from zoovet.zoo.importers.networks_table import FILE, read_networks_table
from zoovet.zoo.importers.published import ImportOptions

__all__ = ["open_folder"]

_NAME = "folder"
_NUM_NAMED = 3


def open_folder(folder: Path, options: ImportOptions) -> NetworkFiles:
    """Read the table, and every file's graph.

    Without a table all weight files below the folder are taken, and nothing is known of them.

    Args:
        folder: Holds the files.
        options: ``table`` names the files in its column ``file``, as paths in the folder; ``columns`` says which of
            its columns are which of ours; ``read`` reads a file; ``dataset`` names the images; ``seed`` is that of the
            split, where the table has none.

    Raises:
        ZoovetError: There are no files, the table is none, names files that are not there, or one file twice, or a file
            cannot be read.
    """
    found = weight_files(folder)
    if options.table is None:
        if not found:
            raise ZoovetError(f"{printable(folder)} has no weight files (.pt, .pth, .safetensors, .onnx, …)")
        return networks_in_files(_NAME, folder, [{"source": path} for path in found], options)
    table = read_networks_table(Path(options.table), dict(options.columns))
    rows: list[dict[str, Any]] = []
    missing: list[tuple[int, str]] = []
    lines: dict[str, int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        path = _file_of(folder, row[FILE], found)
        if path is None:
            missing.append((line, row[FILE]))
            continue
        if path in lines:
            raise ZoovetError(
                f"{printable(options.table)}: lines {lines[path]} and {line} both name {printable(path, 60)}"
            )
        lines[path] = line
        known = {name: value for name, value in row.items() if name != FILE and value is not None}
        rows.append({**known, "source": path})
    if missing:
        line, name = missing[0]
        more = f", and {len(missing) - 1} more of its files are not there" if len(missing) > 1 else ""
        raise ZoovetError(
            f"{printable(options.table)}, line {line}: {printable(name, 60)} is no file in {printable(folder)}{more}"
        )
    return networks_in_files(_NAME, folder, rows, options, _remarks(sorted(set(found) - set(lines)), table.left_out))


def _file_of(folder: Path, name: str, found: Sequence[str]) -> str | None:
    """The path in the folder of a file that a table names, or of the one weight file in a folder that it names."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        return None
    text = path.as_posix()
    if (folder / text).is_file():
        return text
    inside = [one for one in found if one.startswith(f"{text}/")]
    same = [one for one in found if PurePosixPath(one).with_suffix("").as_posix() == text]
    alone = inside or same
    return alone[0] if len(alone) == 1 else None


def _remarks(unnamed: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    remarks = []
    if unnamed:
        shown = ", ".join(printable(name, 40) for name in unnamed[:_NUM_NAMED])
        more = f" and {len(unnamed) - _NUM_NAMED} more" if len(unnamed) > _NUM_NAMED else ""
        remarks.append(f"{len(unnamed)} weight files are not in the table, left out: {shown}{more}")
    if left_out:
        remarks.append(f"columns of the table that a zoo has not, left out: {', '.join(left_out)}")
    return tuple(remarks)
