"""A digest of a network's weights: the same whatever file they lie in, and in whatever order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from zoovet.networks import Networks

__all__ = ["digest_of", "weights_digest"]

_COUNTER = "num_batches_tracked"


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors sorted by name, in hexadecimal digits; counters (``num_batches_tracked``) are left out.

    Of each: its name in UTF-8, its dtype as torch writes it (``float32``), its shape (``64x3x3x3``), each ended by a
    zero byte, and its numbers as they lie in memory, contiguous, little-endian.

    Args:
        tensors: By name: a file's, as its state dict names them; of a file that says its graph, and of one by zoovet,
            the graph's parameters; a module's state dict.
    """
    digest = hashlib.sha256()
    for name in sorted(name for name in tensors if name.rpartition(".")[2] != _COUNTER):
        tensor = tensors[name].detach().cpu().contiguous()
        shape = "x".join(map(str, tensor.shape))
        for text in (name, str(tensor.dtype).removeprefix("torch."), shape):
            digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest_of(network: Networks) -> str:
    """The digest of one network's parameters (B = 1), as its graph names them."""
    return weights_digest({name: tensor[0] for name, tensor in network.parameters.items()})
