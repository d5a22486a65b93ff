"""Networks from TorchScript archives: their code is interpreted by a closed list of operators, never run."""

from __future__ import annotations

from zoovet.readers.torchscript.files import network_of_torchscript, read_torchscript

__all__ = ["network_of_torchscript", "read_torchscript"]
