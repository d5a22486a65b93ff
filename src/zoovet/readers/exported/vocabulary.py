"""Which of torch's operators are read, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from zoovet.readers.exported.calls import Reader
from zoovet.readers.exported.elementwise import ELEMENTWISE_READERS
from zoovet.readers.exported.layers import LAYER_READERS
from zoovet.readers.exported.resizing import RESIZING_READERS
from zoovet.readers.exported.shapes import SHAPE_READERS

__all__ = ["READERS"]

READERS: Mapping[str, Reader] = MappingProxyType(
    {**ELEMENTWISE_READERS, **LAYER_READERS, **RESIZING_READERS, **SHAPE_READERS}
)
"""ATen's name → what reads it."""
