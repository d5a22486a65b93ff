"""Reader of image datasets in the Hugging Face Parquet layout."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from zoovet.errors import ZoovetError
from zoovet.json_files import parse_json
from zoovet.printable import printable

__all__ = ["class_names_in", "find_parquet_shards", "read_image_parquet"]

_IMAGE_COLUMNS = ("img", "image")


def find_parquet_shards(folder: Path, split: str) -> list[Path]:
    """The shards ``{split}-00000-of-00002.parquet`` … of a folder, in order; empty where there are none.

    Raises:
        ZoovetError: Some of the shards are there, but not all that their names announce.
    """
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    if not shards:
        return []
    announced = re.search(r"-of-(\d+)\.parquet$", shards[0].name)
    if announced and len(shards) != int(announced.group(1)):
        raise ZoovetError(
            f"{folder} holds {len(shards)} of the {int(announced.group(1))} shards that {shards[0].name} announces"
        )
    return shards


def read_image_parquet(shards: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images and labels, decoding every image to red, green, blue.

    Args:
        shards: Parquet files with a column ``label`` and a column ``img`` or ``image`` of structs with the encoded file
            in ``bytes``.

    Returns:
        Images uint8 [N, 3, H, W] and labels int64 [N], in the order of shards and rows.

    Raises:
        ZoovetError: A file or column that cannot be read, a row without an image, or images of different sizes.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    for shard in shards:
        encoded, shard_labels = _read_columns(shard)
        labels.append(shard_labels)
        for row, data in enumerate(encoded):
            image = _decoded(data, f"row {row} of {shard}")
            if images and image.shape != images[0].shape:
                raise ZoovetError(
                    f"row {row} of {shard} has shape {image.shape}, the images before it {images[0].shape}"
                )
            images.append(image)
    if not images:
        raise ZoovetError(f"{shards[0]} has no images")
    return np.stack(images).transpose(0, 3, 1, 2), np.concatenate(labels)


def class_names_in(shard: Path) -> tuple[str, ...]:
    """Names of the labels as Hugging Face writes them into a shard's metadata; empty where it does not say them."""
    try:
        metadata = pyarrow.parquet.read_schema(shard).metadata or {}
        described = parse_json(metadata.get(b"huggingface", b"{}"), f"the metadata of {shard}")
        names = described["info"]["features"]["label"]["names"]
    except (OSError, pyarrow.ArrowException, ZoovetError, KeyError, TypeError):
        return ()
    is_whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(printable(name, 60) for name in names) if is_whole else ()


def _read_columns(shard: Path) -> tuple[list[bytes | None], NDArray[np.int64]]:
    """Encoded images and labels of one shard."""
    try:
        schema = pyarrow.parquet.read_schema(shard)
        column = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
        if column is None or "label" not in schema.names:
            raise ZoovetError(
                f"{shard} needs a column 'img' (or 'image') and a column 'label', it has {', '.join(schema.names)}"
            )
        table = pyarrow.parquet.read_table(shard, columns=[column, "label"])
        encoded = pyarrow.compute.struct_field(table[column], "bytes").to_pylist()
        labels = table["label"].to_numpy()
    except (OSError, pyarrow.ArrowException) as error:
        raise ZoovetError(f"{shard} cannot be read as Parquet images: {error}") from error
    if not np.issubdtype(labels.dtype, np.integer):
        raise ZoovetError(f"labels of {shard} must be integers and none may be missing, got {labels.dtype}")
    return encoded, labels.astype(np.int64)


def _decoded(data: bytes | None, where: str) -> NDArray[np.uint8]:
    """Image uint8 [H, W, 3]."""
    if data is None:
        raise ZoovetError(f"{where} has no image bytes; datasets that only name image files are not read")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ZoovetError(f"the image in {where} cannot be decoded: {error}") from error
