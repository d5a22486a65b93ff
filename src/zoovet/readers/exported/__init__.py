"""Networks from modules of any class, by tracing them: their programs become graphs."""

from __future__ import annotations

from zoovet.readers.exported.modules import graph_from_module
from zoovet.readers.exported.program import UnknownOperation

__all__ = ["UnknownOperation", "graph_from_module"]
