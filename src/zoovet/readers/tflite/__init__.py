"""TensorFlow Lite files as graphs and weights; nothing of a file is run."""

from __future__ import annotations

from zoovet.readers.tflite.files import network_of_tflite, read_tflite

__all__ = ["network_of_tflite", "read_tflite"]
