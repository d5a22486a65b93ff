"""ONNX files as graphs and weights; nothing of a file is run."""

from __future__ import annotations

from zoovet.readers.onnx.files import network_of_onnx, read_onnx

__all__ = ["network_of_onnx", "read_onnx"]
