"""Networks from modules of any class, by tracing them, and from files by ``torch.export``: programs become graphs."""

from __future__ import annotations

from zoovet.readers.exported.archive import network_of_export, read_export
from zoovet.readers.exported.modules import graph_from_module
from zoovet.readers.exported.program import UnknownOperation

__all__ = ["UnknownOperation", "graph_from_module", "network_of_export", "read_export"]
