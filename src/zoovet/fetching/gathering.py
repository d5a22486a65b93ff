"""From what was given on the command line to weight files on this machine."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.fetching.addresses import download, name_of, require_safe, split_digest
from zoovet.fetching.buckets import PROTOCOLS, in_bucket
from zoovet.fetching.folders import in_folder
from zoovet.fetching.hints import hint_beside
from zoovet.fetching.hub import in_hub
from zoovet.fetching.weight_files import Gathered, WeightFile
from zoovet.printable import printable

__all__ = ["gathered", "is_address"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def is_address(text: str) -> bool:
    """Whether a text is an address, not a path."""
    return _SCHEME.match(text) is not None


def gathered(
    given: Sequence[str], folder: Path, *, offline: bool, progress: Callable[[str], None] = lambda _: None
) -> Gathered:
    """The weight files that were given: paths, folders, ``hf://``, ``https://``, ``s3://``.

    One that cannot be had is a failure; the others are gathered all the same. A file's path is taken as it is, whatever
    lies there; so is a folder with the index of a sharded state dict.

    Args:
        given: Paths and addresses.
        folder: Where what is fetched is put, but for the hub's files, which have a cache.
        offline: Whether nothing is fetched.
        progress: Told what is fetched.
    """
    parts = list[Gathered]()
    for number, text in enumerate(dict.fromkeys(given)):
        try:
            parts.append(_part(text, folder / str(number), offline=offline, progress=progress))
        except ZoovetError as error:
            parts.append(Gathered(failures=((text, str(error)),)))
    return Gathered.together(parts)


def _part(text: str, folder: Path, *, offline: bool, progress: Callable[[str], None]) -> Gathered:
    match = _SCHEME.match(text)
    if match is None:
        path = Path(text)
        file = next((path / name for name in _INDICES if (path / name).is_file()), path)
        if file.is_dir():
            return in_folder(path)
        return Gathered(files=(WeightFile(path=path, name=text, hint=hint_beside(file)),))
    scheme = match[1]
    if scheme == "hf":
        progress(f"fetching {printable(text)}")
        return in_hub(text, offline=offline)
    if scheme not in ("https", "http", *PROTOCOLS):
        known = ", ".join(f"{name}://" for name in ("hf", "https", *PROTOCOLS))
        raise ZoovetError(f"{printable(text)}: nothing is fetched by {printable(scheme, 20)}://; known: {known}")
    if scheme in ("https", "http"):
        require_safe(text)
    if offline:
        raise ZoovetError(f"{printable(text)} is not fetched: --offline, or HF_HUB_OFFLINE is set")
    folder.mkdir(parents=True)
    progress(f"fetching {printable(text)}")
    return in_bucket(text, folder) if scheme in PROTOCOLS else _at_address(text, folder, progress)


def _at_address(text: str, folder: Path, progress: Callable[[str], None]) -> Gathered:
    """One file, compared with the digest behind its address; where there is none, a note says what it is."""
    url, expected = split_digest(text)
    path = folder / name_of(url)
    download(url, path, lambda num_bytes: progress(f"fetching {printable(url)}, {num_bytes >> 20} MB"))
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and found != expected:
        os.unlink(path)
        raise ZoovetError(f"{printable(url)} is another file than was meant: its SHA-256 is {found}")
    note = () if expected is not None else (f"its SHA-256 is {found}; with #sha256={found} no other file is taken",)
    return Gathered(files=(WeightFile(path=path, name=url, notes=note),))
