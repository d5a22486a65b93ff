"""Weight files from where they are: folders, the Hugging Face hub, addresses, buckets. Nothing that comes is run."""

from __future__ import annotations

from zoovet.fetching.gathering import gathered, is_address
from zoovet.fetching.weight_files import Gathered, Hint, Skipped, WeightFile

__all__ = ["Gathered", "Hint", "Skipped", "WeightFile", "gathered", "is_address"]
