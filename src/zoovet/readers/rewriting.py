"""The same file with other numbers: weights put back to where they were read from, all else byte for byte as it was.

Which tensor of the file is which layer's weight is told by its numbers; a bias has its weight's name but for this word.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.networks.batch import Networks
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.loaded import StoredTensor

__all__ = ["LayoutError", "NewNumbers", "changed_tensors", "require_tensors", "rewrite", "rounding"]

_PIECE = 2**20

_LOCAL, _LISTED = struct.Struct("<26xHH"), struct.Struct("<28xHHH12x")
"""Headers of an entry of a zip file, of which the lengths of what follows are wanted: at the entry, and in the list."""

_CHECKSUM_LOCAL, _CHECKSUM_LISTED, _FOLLOWED, _DESCRIPTOR = 14, 16, 0x08, b"PK\x07\x08"
"""Where checksums stand in them; the flag that says that the entry's stands behind it; how that begins."""


class LayoutError(ZoovetError):
    """A file cannot take a network's new numbers as it is."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NewNumbers:
    """What a tensor of a file becomes.

    Attributes:
        stored: Where it lies.
        numbers: Of its shape and dtype.
    """

    stored: StoredTensor
    numbers: Tensor

    @classmethod
    def of(cls, stored: StoredTensor, numbers: Tensor, source: str) -> NewNumbers:
        """New numbers in the tensor's shape and dtype.

        Raises:
            LayoutError: They leave the range of its dtype.
        """
        own = stored.tensor
        new = numbers.detach().cpu().reshape(own.shape).to(own.dtype)
        if not bool(new.isfinite().all()):
            raise LayoutError(f"{source}: a weight would leave the range of {str(own.dtype).removeprefix('torch.')}")
        return cls(stored=stored, numbers=new)


def changed_tensors(content: FileContent, before: Networks, after: Networks, source: str) -> list[NewNumbers]:
    """What the tensors of a state dict become when its network is changed.

    Args:
        content: What the file holds.
        before: The network that was read from it (B = 1).
        after: The same after an edit.
        source: The file, for messages.

    Returns:
        New numbers; of tensors that are there more than once (an average beside the weights with the same numbers) all.

    Raises:
        LayoutError: A layer's numbers do not stand in the file as they are, as where a batch norm or a mask was folded
            into them, or where they lie in a pickle, or in several files; or it has no bias there and needs one now.
    """
    changed: dict[str, NewNumbers] = {}
    if not before.graph.is_chain:
        for name, own in before.parameters.items():
            for stored in _holders(content, name, own, source):
                _put(changed, stored, after.parameters[name], content, source)
        return list(changed.values())
    for index, weight in enumerate(before.weights):
        names = [name for name, tensor in content.tensors.items() if "weight" in name and _is(tensor, weight)]
        if not names:
            raise LayoutError(
                f"{source}: the weight of layer {index} does not stand in it as it is computed with (a batch norm or a "
                "mask was folded into it), so that its layout cannot be kept"
            )
        for name in names:
            _put(changed, name, after.weights[index], content, source)
            bias = "bias".join(name.rsplit("weight", 1))
            if bias in content.tensors and _is(content.tensors[bias], before.biases[index]):
                _put(changed, bias, after.biases[index], content, source)
            elif bias in content.tensors or bool(after.biases[index].any()):
                raise LayoutError(
                    f"{source}: layer {index} ('{printable(name, 60)}') has no bias of its own there, and the repair "
                    "needs one"
                )
    return list(changed.values())


def _holders(content: FileContent, name: str, own: Tensor, source: str) -> list[str]:
    """Names of a file's tensors that hold a graph's parameter: the one called so, or all that have just its numbers."""
    if name in content.tensors and _is(content.tensors[name], own):
        return [name]
    names = [stored for stored, tensor in content.tensors.items() if _is(tensor, own)]
    if not names:
        raise LayoutError(
            f"{source}: '{printable(name, 60)}' does not stand in it as it is computed with, so that its layout "
            "cannot be kept"
        )
    return names


def _is(tensor: Tensor, numbers: Tensor) -> bool:
    """Whether a file's tensor holds just these numbers, in whatever shape."""
    if not tensor.is_floating_point() or tensor.numel() != numbers.numel():
        return False
    return torch.equal(tensor.reshape(-1).to(numbers.dtype), numbers.reshape(-1))


def _put(changed: dict[str, NewNumbers], name: str, numbers: Tensor, content: FileContent, source: str) -> None:
    stored = next((one for one in content.stored if one.tensor is content.tensors[name]), None)
    if stored is None:
        where = "in several files" if not content.stored else "within a pickle"
        raise LayoutError(f"{source}: the numbers of '{printable(name, 60)}' lie {where}")
    new = NewNumbers.of(stored, numbers, source)
    if name in changed and not torch.equal(changed[name].numbers, new.numbers):
        raise LayoutError(
            f"{source}: '{printable(name, 60)}' may be one layer's or another's, as both have the same numbers"
        )
    changed[name] = new


def rewrite(
    path: Path,
    changed: Sequence[NewNumbers],
    out: Path,
    check: Callable[[Path], None],
    data: bytes | bytearray | mmap.mmap | None = None,
) -> None:
    """Write a file again with other numbers in some of its tensors; it is there whole or not at all.

    Args:
        path: The file: safetensors, ``torch.save``, ONNX, Keras, TorchScript or TFLite.
        changed: New numbers.
        out: Where the new file goes.
        check: Looks at what was written before it gets its name, and raises where it is not as it should be.
        data: What is taken for the file's bytes; those that lie at ``path`` where left out.

    Raises:
        ZoovetError: ``out`` cannot be written, or what ``check`` raises.
    """
    try:
        with atomic_path(out) as temporary:
            if data is None:
                shutil.copyfile(path, temporary)
            else:
                temporary.write_bytes(data)
            _put_numbers(temporary, changed)
            if zipfile.is_zipfile(temporary):
                _mend_checksums(temporary)
            check(temporary)
    except OSError as error:
        raise ZoovetError(f"cannot write {printable(out)}: {error.strerror or error}") from error


def require_tensors(
    found: Mapping[str, Tensor], content: FileContent, changed: Sequence[NewNumbers], source: str
) -> None:
    """Check the tensors of a state dict that was written: all but those that were changed are as they were.

    Args:
        found: What it holds.
        content: What it held before.
        changed: As :func:`rewrite` was given them.
        source: The file, for messages.

    Raises:
        LayoutError: One is not, as where several share their numbers.
    """
    new = {id(one.stored.tensor): one.numbers for one in changed}
    for name, tensor in content.tensors.items():
        if not torch.equal(_bits(found[name]), _bits(new.get(id(tensor), tensor))):
            raise LayoutError(
                f"{source}: '{printable(name, 60)}' shares its numbers with another tensor that is changed"
            )


def rounding(changed: Sequence[NewNumbers]) -> float:
    """How far numbers may be off when they are read again, relatively: those that are stored in 16 bits were rounded.

    Args:
        changed: What was written.
    """
    return 1e-2 if {one.numbers.dtype for one in changed} & {torch.float16, torch.bfloat16} else 0.0


def _bits(tensor: Tensor) -> Tensor:
    """Its bytes, as a NaN that stands beside the weights is not equal to itself."""
    return tensor.reshape(-1).contiguous().view(torch.uint8)


def _put_numbers(path: Path, changed: Sequence[NewNumbers]) -> None:
    file = np.memmap(path, dtype=np.uint8, mode="r+")
    for new in changed:
        own, stored = new.stored.tensor, new.stored
        size = own.itemsize
        place = np.ndarray(
            tuple(own.shape),
            dtype=np.dtype(f"u{size}").newbyteorder("S" if stored.swap else "="),
            buffer=file,
            offset=stored.start,
            strides=tuple(step * size for step in own.stride()),
        )
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
        place[...] = new.numbers.contiguous().view(whole).numpy().view(f"u{size}")
    file.flush()


def _mend_checksums(path: Path) -> None:
    """Have a zip file say the checksums of what its entries hold now: in its list of entries, and at each of them."""
    with open(path, "r+b") as file, zipfile.ZipFile(file) as archive:
        place = archive.start_dir
        for info in archive.infolist():  # in the order of the list
            file.seek(place)
            listed = file.read(_LISTED.size)
            lengths = _LISTED.unpack(listed)[-3:]
            place, listed_at = place + _LISTED.size + sum(lengths), place
            if info.compress_type != zipfile.ZIP_STORED:
                continue  # whose checksum is that of what is packed in it: code, of which nothing changes
            checksum = struct.pack("<I", _checksum(file, info))
            _write(file, listed_at + _CHECKSUM_LISTED, checksum)
            if info.flag_bits & _FOLLOWED:
                behind = _start_of(file, info) + info.compress_size
                file.seek(behind)
                _write(file, behind + (4 if file.read(4) == _DESCRIPTOR else 0), checksum)
            else:
                _write(file, info.header_offset + _CHECKSUM_LOCAL, checksum)


def _checksum(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    file.seek(_start_of(file, info))
    left, checksum = info.compress_size, 0
    while left:
        piece = file.read(min(left, _PIECE))
        left, checksum = left - len(piece), zlib.crc32(piece, checksum)
    return checksum


def _start_of(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin."""
    file.seek(info.header_offset)
    name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    return info.header_offset + _LOCAL.size + int(name) + int(extra)


def _write(file: IO[bytes], place: int, data: bytes) -> None:
    file.seek(place)
    file.write(data)
