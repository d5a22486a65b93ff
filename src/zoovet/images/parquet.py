"""Reader of image datasets in the Hugging Face Parquet layout."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images.stored_pixels import Shape, StoredPixels, in_memory_if_small
from zoovet.json_files import parse_json
from zoovet.printable import printable

__all__ = ["ParquetPixels", "class_names_in", "find_parquet_shards", "read_image_parquet"]

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label", "labels")


def find_parquet_shards(folder: Path, split: str) -> list[Path]:
    """The shards ``{split}-00000-of-00002.parquet`` … of a folder, in order; empty where there are none.

    Raises:
        ZoovetError: Some of the shards are there, but not all that their names announce.
    """
    shards = sorted(path for path in folder.glob(f"{split}-*.parquet") if path.is_file())
    if not shards:
        return []
    announced = re.search(r"-of-(\d+)\.parquet$", shards[0].name)
    if announced and len(shards) != int(announced.group(1)):
        raise ZoovetError(
            f"{folder} holds {len(shards)} of the {int(announced.group(1))} shards that {shards[0].name} announces"
        )
    return shards


def read_image_parquet(
    shards: list[Path], size: tuple[int, int] | None = None
) -> tuple[Tensor | StoredPixels, NDArray[np.int64]]:
    """Read images and labels; each is decoded to red, green, blue, where they are many not before it is asked for.

    Args:
        shards: Parquet files with a column ``label`` (or ``fine_label``, or ``labels``) and a column ``img`` or
            ``image`` of structs with the encoded file in ``bytes``.
        size: Height and width that each image is brought to; ``None`` leaves them as they are, all of one size.

    Returns:
        Images uint8 [N, 3, H, W] and labels int64 [N], in the order of shards and rows.

    Raises:
        ZoovetError: A file or column that cannot be read, a row without an image, or images of different sizes.
    """
    groups: list[_RowGroup] = []
    labels: list[NDArray[np.int64]] = []
    for shard in shards:
        column, shard_labels, lengths = _columns(shard)
        labels.append(shard_labels)
        starts = np.cumsum([0, *lengths])
        state = (shard.stat().st_mtime_ns, shard.stat().st_size)
        groups += [
            _RowGroup(shard, column, which, int(starts[which]), length, state) for which, length in enumerate(lengths)
        ]
    first = next((group for group in groups if group.num_rows), None)
    if first is None:
        raise ZoovetError(f"{shards[0]} has no images")
    height, width = first.decoded(0, None).shape[:2] if size is None else size
    pixels = ParquetPixels(tuple(groups), (height, width), size is not None)
    return in_memory_if_small(pixels), np.concatenate(labels)


@dataclass(frozen=True)
class _RowGroup:
    """Some of a shard's rows, which are read together.

    Attributes:
        shard: The file.
        column: The images'.
        which: Which of its row groups.
        first_row: Where it begins in the file.
        num_rows: How long it is.
        state: Time of change and size of the file, by which another one of its name is known.
    """

    shard: Path
    column: str
    which: int
    first_row: int
    num_rows: int
    state: tuple[int, int]

    def decoded(self, row: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
        """The image of one of its rows, uint8 [H, W, 3]."""
        return _decoded(_encoded(self)[row], f"row {self.first_row + row} of {self.shard}", size)


@dataclass(frozen=True, eq=False)
class ParquetPixels(StoredPixels):
    """Pixels of encoded images in Parquet files, decoded when they are asked for.

    Attributes:
        groups: The rows, one an image.
        size: Height and width.
        is_brought: Whether images are brought to the size; else each must have it.
    """

    groups: tuple[_RowGroup, ...]
    size: tuple[int, int]
    is_brought: bool

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        return sum(group.num_rows for group in self.groups), 3, *self.size

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        ends = np.cumsum([group.num_rows for group in self.groups])
        result = np.empty((len(places), *self.size, 3), dtype=np.uint8)
        owners = np.searchsorted(ends, places, side="right")
        for number in np.unique(owners).tolist():
            group = self.groups[number]
            for place in np.flatnonzero(owners == number).tolist():
                row = int(places[place] - ends[number] + group.num_rows)
                image = group.decoded(row, self.size if self.is_brought else None)
                if image.shape[:2] != self.size:
                    raise ZoovetError(
                        f"row {group.first_row + row} of {group.shard} has shape {image.shape}, the images before it "
                        f"{(*self.size, 3)}; in a recipe, images.size brings them to one"
                    )
                result[place] = image
        return torch.from_numpy(np.ascontiguousarray(result.transpose(0, 3, 1, 2)))


def class_names_in(shard: Path) -> tuple[str, ...]:
    """Names of the labels as Hugging Face writes them into a shard's metadata; empty where it does not say them."""
    try:
        metadata = pyarrow.parquet.read_schema(shard).metadata or {}
        described = parse_json(metadata.get(b"huggingface", b"{}"), f"the metadata of {shard}")
        features = described["info"]["features"]
        names = features[next(name for name in _LABEL_COLUMNS if name in features)]["names"]
    except (OSError, pyarrow.ArrowException, ZoovetError, KeyError, TypeError, StopIteration):
        return ()
    is_whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(printable(name, 60) for name in names) if is_whole else ()


def _columns(shard: Path) -> tuple[str, NDArray[np.int64], list[int]]:
    """The name of the column of images, the labels, and the lengths of the row groups of one shard."""
    try:
        schema = pyarrow.parquet.read_schema(shard)
        column = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
        label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
        if column is None or label is None:
            raise ZoovetError(
                f"{shard} needs a column 'img' (or 'image') and a column 'label', it has {', '.join(schema.names)}"
            )
        labels = pyarrow.parquet.read_table(shard, columns=[label])[label].to_numpy()
        metadata = pyarrow.parquet.read_metadata(shard)
        lengths = [metadata.row_group(which).num_rows for which in range(metadata.num_row_groups)]
    except (OSError, pyarrow.ArrowException) as error:
        raise ZoovetError(f"{shard} cannot be read as Parquet images: {error}") from error
    if not np.issubdtype(labels.dtype, np.integer):
        raise ZoovetError(f"labels of {shard} must be integers and none may be missing, got {labels.dtype}")
    return column, labels.astype(np.int64), lengths


@lru_cache(maxsize=2)
def _encoded(group: _RowGroup) -> list[bytes | None]:
    """The encoded images of a row group."""
    from pyarrow import compute  # a quarter of a second, for whoever reads such images alone

    try:
        with pyarrow.parquet.ParquetFile(group.shard) as file:
            table = file.read_row_group(group.which, columns=[group.column])
        encoded: list[bytes | None] = compute.struct_field(table[group.column], "bytes").to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ZoovetError(f"{group.shard} cannot be read as Parquet images: {error}") from error
    return encoded


def _decoded(data: bytes | None, where: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Image uint8 [H, W, 3]."""
    if data is None:
        raise ZoovetError(f"{where} has no image bytes; datasets that only name image files are not read")
    try:
        with Image.open(io.BytesIO(data)) as image:
            colours = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ZoovetError(f"the image in {where} cannot be decoded: {error}") from error
    if size is not None:
        colours = colours.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(colours)
