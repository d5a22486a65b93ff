"""Keras files as graphs and weights; nothing of a file is run."""

from __future__ import annotations

from zoovet.readers.keras.files import network_of_keras, read_keras

__all__ = ["network_of_keras", "read_keras"]
