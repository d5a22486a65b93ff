"""What the machine that reads pickles builds in place of the objects that a pickle describes: plain records.

Compared and hashed by identity, so that nothing nested in them is ever walked but by :mod:`.replies`, which counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Array", "DType", "Global", "Instance", "OddTensor", "Pairs", "Storage", "StoredTensor"]


@dataclass(eq=False, slots=True)
class Global:
    """A function or class that a pickle names."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """``module.name``."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Pairs:
    """A dictionary as pairs in the order written: keys are never hashed."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a class that is not built; what it would be built from."""

    of: Global
    arguments: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class DType:
    """NumPy's ``dtype``: ``f4`` and the byte order, ``<``, ``>``, ``=`` or ``|``."""

    code: str
    order: str = "="


@dataclass(eq=False, slots=True)
class Array:
    """A NumPy array, or scalar (``shape`` is ``None``), and the bytes of its numbers."""

    dtype: DType | None = None
    shape: tuple[int, ...] | None = ()
    fortran: bool = False
    raw: Any = b""


@dataclass(eq=False, slots=True)
class Storage:
    """The numbers that tensors are views of.

    Attributes:
        key: Which of the file's.
        dtype: By torch's name.
        num_bytes: Their size as the pickle says it.
        start: First byte of the view within the stored ones.
    """

    key: str
    dtype: str
    num_bytes: int
    start: int = 0


@dataclass(eq=False, slots=True)
class StoredTensor:
    """A dense tensor: a view of a storage. Offset and strides count numbers, not bytes."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    negative: bool = False
    conjugate: bool = False


@dataclass(eq=False, slots=True)
class OddTensor:
    """A tensor whose numbers are not simply stored: sparse, quantized, nested, on no device."""

    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
