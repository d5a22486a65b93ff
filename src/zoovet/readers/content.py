"""What a weight file holds once its format is out of the way: named tensors, and what was said beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from zoovet.readers.loaded import StoredTensor
from zoovet.readers.network_file import GraphFile

__all__ = ["FileContent"]


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """What a weight file holds.

    Attributes:
        tensors: By name, in the order of the file.
        metadata: Texts beside them; safetensors only.
        numbers: Plain numbers beside them, such as an epoch or a label; ``torch.save`` only.
        ordered: Whether the order is that of registration: safetensors files are sorted by name.
        parts: Where the file holds several state dicts: the prefix of each one's names in ``tensors``, the plain
            weights' before averages of weights (``ema``, ``swa``). Empty where it holds one.
        notes: What whoever uses the tensors should be told, one line each, without the file's name.
        graph: Of a file that says its network's graph, as ONNX and Keras do; there are no ``tensors`` then.
        stored: Where tensors lie in the file; empty where it is the index of several.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    ordered: bool = True
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    graph: GraphFile | None = None
    stored: tuple[StoredTensor, ...] = ()
