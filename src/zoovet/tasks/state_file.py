"""Where Lightning writes the state that a run resumes from: to its place and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

__all__ = ["StateFile"]


class StateFile(TorchCheckpointIO):
    """Writes a state through Python, so that a full disk is an ``OSError`` which names the file.

    Lightning's own goes through the system's folder for temporary files, which may be another, smaller disk, and where
    a killed process leaves the state behind.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a state to a path that its caller renames."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).write_bytes(content.getbuffer())
