"""Reader of CIFAR's python batches: pickles, read without running anything that is in them.

A pickle may name any function and have it called. Here every name that such a batch needs is replaced by a harmless
stand-in, and any other name is refused; not even numpy's own reconstruction runs.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError

__all__ = ["read_pickled_batch", "read_pickled_names"]


_DAMAGES = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What unpickling raises on bytes that are no pickle, or another one than expected."""


class _StandInDtype:
    """Stands for ``numpy.dtype``: keeps the name, ignores the state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        pass


class _StandInArray:
    """Stands for ``numpy.ndarray`` and its reconstruction: keeps the state that numpy would be given."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self) -> NDArray[np.uint8]:
        """The array, which must be of bytes. Raises ValueError or TypeError where the state is no such array's."""
        _version, shape, dtype, is_fortran, data = self.state
        if not isinstance(dtype, _StandInDtype) or dtype.name not in ("u1", "|u1"):
            raise ValueError("its array is not of unsigned bytes")
        if not isinstance(data, bytes) or len(data) != math.prod(shape):
            raise ValueError(f"its array of {shape} does not have as many bytes")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if is_fortran else "C")


def _latin1_bytes(text: Any, encoding: Any) -> bytes:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes into pickles of protocol 2."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} has no place in it")
    return text if isinstance(text, bytes) else str(text).encode("latin-1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _StandInDtype,
    ("numpy", "ndarray"): _StandInArray,
    ("numpy.core.multiarray", "_reconstruct"): _StandInArray,
    ("numpy._core.multiarray", "_reconstruct"): _StandInArray,
    ("_codecs", "encode"): _latin1_bytes,
}


class _BatchUnpickler(pickle.Unpickler):
    """Unpickler that knows the stand-ins and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _STAND_INS[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which no such batch needs and which may be harmful; refused"
            ) from None


def read_pickled_batch(data: bytes, where: str, labels: str = "labels") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a batch in CIFAR's python version.

    Args:
        data: The pickle: a dictionary with ``data``, a uint8 array [N, pixels], and a list of N integers.
        where: Names the batch in messages.
        labels: The list's key.

    Returns:
        Images uint8 [N, pixels] and labels int64 [N].

    Raises:
        ZoovetError: The pickle names anything but arrays of bytes, is damaged, or holds something else. Nothing
            named in it was run.
    """
    try:
        batch = _unpickled(data)
        if not isinstance(batch.get("data"), _StandInArray) or not isinstance(batch.get(labels), list):
            raise TypeError(f"it needs an array 'data' and a list '{labels}'")
        images = batch["data"].to_numpy()
        found = np.array([int(label) for label in batch[labels]], dtype=np.int64)
    except _DAMAGES as error:
        raise ZoovetError(f"{where} is damaged or no CIFAR batch: {error}") from error
    if images.ndim != 2:
        raise ZoovetError(f"{where} has data of shape {images.shape}; expected [images, pixels]")
    if len(images) != len(found):
        raise ZoovetError(f"{where} has {len(images)} images but {len(found)} labels")
    return images, found


def read_pickled_names(data: bytes, where: str, key: str) -> tuple[str, ...]:
    """Read names of classes in CIFAR's python version.

    Args:
        data: The pickle: a dictionary with a list of texts.
        where: Names the file in messages.
        key: The list's.

    Raises:
        ZoovetError: As in :func:`read_pickled_batch`.
    """
    try:
        names = _unpickled(data).get(key)
        if not isinstance(names, list):
            raise TypeError(f"it needs a list '{key}'")
        return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
    except _DAMAGES as error:
        raise ZoovetError(f"{where} is damaged or holds no names of CIFAR's classes: {error}") from error


def _unpickled(data: bytes) -> dict[Any, Any]:
    """The dictionary that a pickle holds, its keys as texts. Raises one of ``_DAMAGES`` where it is another thing."""
    batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
    if not isinstance(batch, dict):
        raise TypeError("it holds no dictionary")
    return {key.decode("ascii") if isinstance(key, bytes) else key: value for key, value in batch.items()}
