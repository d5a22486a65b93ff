"""Where labelled images come from: folders of class folders, arrays, Parquet, IDX, CIFAR's batches, and names."""

from __future__ import annotations

from zoovet.images.sources.reading import load_source
from zoovet.images.sources.source import ImageSource

__all__ = ["ImageSource", "load_source"]
