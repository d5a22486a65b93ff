"""Weight files in buckets (``s3://``, ``gs://``, ``az://``), by fsspec and the package that speaks their protocol."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.fetching.addresses import name_of
from zoovet.fetching.folders import named_together
from zoovet.fetching.weight_files import MAX_BYTES, Gathered, Skipped, WeightFile, parts_of, split_by_name
from zoovet.printable import printable
from zoovet.text_files import in_words

__all__ = ["PROTOCOLS", "file_system", "in_bucket", "said_by"]

PROTOCOLS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
"""Each with the package that fsspec needs for it."""

_MAX_FILES = 10_000


def in_bucket(address: str, folder: Path) -> Gathered:
    """The file at an address, or the weight files below it, fetched.

    Args:
        address: ``s3://BUCKET/KEY``; who may read it is told by the protocol's own settings on this machine.
        folder: Where they are put.

    Raises:
        ZoovetError: The package for the protocol is missing, or the address cannot be read.
    """
    protocol = address.partition("://")[0]
    system, place = file_system(address)
    try:
        return _fetched(system, protocol, place.rstrip("/"), folder)
    except ZoovetError:
        raise
    except Exception as error:  # whatever the protocol's library raises
        raise ZoovetError(f"{printable(address)} cannot be read: {said_by(error)}") from error


def file_system(address: str) -> tuple[Any, str]:
    """What speaks an address's protocol, and the place that the address names there.

    Raises:
        ZoovetError: The package for the protocol is missing.
    """
    protocol, _, place = address.partition("://")
    try:
        import fsspec

        return fsspec.filesystem(protocol), place
    except (ImportError, ValueError) as error:
        package = PROTOCOLS[protocol]
        raise ZoovetError(f"{printable(address)} needs the package {package}: pip install {package}") from error


def said_by(error: Exception) -> str:
    """What a protocol's library says of an error, in one line."""
    return printable(error, 400) or type(error).__name__


def _fetched(system: Any, protocol: str, place: str, folder: Path) -> Gathered:
    address = f"{protocol}://{place}"
    if system.isfile(place):
        sizes = {place: int(system.info(place)["size"] or 0)}
        root = str(PurePosixPath(place).parent)
        names, skipped = [PurePosixPath(place).name], list[Skipped]()
    else:
        found: dict[str, dict[str, Any]] = system.find(place, detail=True)
        if len(found) > _MAX_FILES:
            raise ZoovetError(f"{printable(address)} holds more than {_MAX_FILES:,} files; give some of them")
        root = place
        sizes = {str(path).lstrip("/"): int(info.get("size") or 0) for path, info in found.items()}
        below = [path.removeprefix(f"{root.lstrip('/')}/") for path in sorted(sizes)]
        names, skipped = split_by_name(below)
        if not names:
            raise ZoovetError(f"{printable(address)} holds no weight file, of {len(below):,} files")
    needed = [*names, *parts_of(names, skipped)]
    files = list[WeightFile]()
    for name in needed:
        key = f"{root}/{name}"
        size = sizes.get(key, sizes.get(key.lstrip("/"), 0))
        if size > MAX_BYTES:
            skipped.append(Skipped(name=name, reason=f"it is larger than the {in_words(MAX_BYTES)} that are fetched"))
            continue
        target = folder.joinpath(*(name_of(part) for part in name.split("/")))
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(key, str(target))
        if name in names:
            files.append(WeightFile(path=target, name=f"{protocol}://{root}/{name}"))
    said = [Skipped(name=f"{protocol}://{root}/{one.name}", reason=one.reason) for one in skipped]
    return Gathered(files=tuple(files), skipped=tuple(named_together(address, said)))
