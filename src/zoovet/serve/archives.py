"""Zips of images from strangers, unpacked within limits: no path leads out, no bomb fills the disk."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path, PurePosixPath

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["is_safe_relative", "safe_name", "unpack_images"]

_PIECE = 2**20
_MAX_NAME = 100
_MAX_DEPTH = 6
_END = struct.Struct("<12xL6x")
"""The record at the end of a zip: bytes of its list of members."""

_END_MARK, _LOCATOR_MARK, _LOCATOR_BYTES = b"PK\x05\x06", b"PK\x06\x07", 20
_MAX_DIRECTORY_BYTES = 2**24
"""Of a zip's list of members, which is read whole."""

_LEFT_OUT = ("__MACOSX",)
_STRANGE = re.compile(r"[^\w.\- ()+,=@]")


def safe_name(name: str) -> str:
    r"""A name of a file that any disk takes and no program obeys: letters, digits and a few signs.

    ``../../a b\x00.pt`` becomes ``a b_.pt``. Of a name that is too long the end stays, which says what the file is.
    """
    plain = _STRANGE.sub("_", re.split(r"[/\\]", name)[-1]).strip()
    plain = re.sub(r"^[.\-]+", "_", plain)
    while len(plain.encode()) > _MAX_NAME:
        plain = plain[1:]
    return plain or "file"


def is_safe_relative(path: str) -> bool:
    """Whether a path of names with ``/`` between them stays within the folder that it is in."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return bool(parts) and len(parts) <= _MAX_DEPTH and not path.startswith(("/", "\\")) and ".." not in parts


def unpack_images(archive: Path, folder: Path, *, max_files: int, max_bytes: int) -> Path:
    """Unpack the files of a zip.

    Args:
        archive: The zip.
        folder: Where to; it must not be there.
        max_files: Members that it may have.
        max_bytes: What the files may weigh, unpacked; counted while they are, whatever the zip says of itself.

    Returns:
        The folder of class folders, or of images: that given, or the only one within it, and so on.

    Raises:
        ZoovetError: It is no zip, is encrypted, has too many members or too large ones, or a path that leads out.
    """
    folder.mkdir(mode=0o700)
    try:
        _require_short_list(archive)
        with zipfile.ZipFile(archive) as opened:
            members = [one for one in opened.infolist() if not one.is_dir()]
            if len(members) > max_files:
                raise ZoovetError(f"{archive.name} has {len(members):,} files, at most {max_files:,} are taken")
            left = max_bytes
            for member in members:
                if member.flag_bits & 1:
                    raise ZoovetError(f"{archive.name} is encrypted; give it without a password")
                left -= _unpacked(opened, member, archive, folder, left, max_bytes)
    except ZoovetError:
        raise
    except Exception as error:  # what a decompressor raises on damaged data has no common class
        raise ZoovetError(f"{archive.name} cannot be unpacked: {printable(error)}") from error
    return _root(folder)


def _require_short_list(archive: Path) -> None:
    """Raise where a zip's list of members, which is read whole when it is opened, is longer than any of images is."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - _END.size - 2**16 - _LOCATOR_BYTES))
        tail = file.read()
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) < place + _END.size:
        raise ZoovetError(f"{archive.name} is no zip, or is cut off")
    is_large = tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_LOCATOR_MARK)
    (list_bytes,) = _END.unpack_from(tail, place)
    if is_large or list_bytes > _MAX_DIRECTORY_BYTES:
        raise ZoovetError(f"{archive.name} is larger than any zip of reference images; give a few of each class")


def _unpacked(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path, folder: Path, left: int, max_bytes: int
) -> int:
    """The bytes of a member that was unpacked; 0 of one that was left out."""
    name = member.filename
    if not is_safe_relative(name):
        raise ZoovetError(f"{archive.name} has a file whose path leads out of it, {printable(name)}: it is refused")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if parts[0] in _LEFT_OUT or parts[-1].startswith("."):
        return 0
    place = folder.joinpath(*map(safe_name, parts))
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    size = 0
    with opened.open(member) as source, place.open("wb") as target:
        while piece := source.read(_PIECE):
            size += len(piece)
            if size > left:
                raise ZoovetError(f"{archive.name} unpacks to more than the {max_bytes >> 20:,} MB that are taken")
            target.write(piece)
    return size


def _root(folder: Path) -> Path:
    """The folder itself, or the only one within it that has folders."""
    while True:
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir() or not any(one.is_dir() for one in inside[0].iterdir()):
            return folder
        folder = inside[0]
