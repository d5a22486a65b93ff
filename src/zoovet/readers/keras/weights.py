"""The numbers of an HDF5 file: read within bounds, along plain links, through no filter but gzip and shuffle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["group_at", "layer_tensors", "stored_tensors"]

_MAX_NUMBERS = 2**29
_MAX_ENTRIES = 4096
_MAX_RATIO, _FREE_BYTES = 1100, 2**16
"""What gzip can pack, and what a tensor may weigh however little of it is stored."""
_GZIP, _SHUFFLE = 1, 2


def group_at(parent: Any, path: str) -> Any:
    """What lies at a path of hard links, or ``None``.

    Raises:
        ZoovetError: A link on the way leads elsewhere.
    """
    import h5py

    for name in path.split("/"):
        if not isinstance(parent, h5py.Group) or (name not in ("", ".") and parent.get(name, getlink=True) is None):
            return None
        if name in ("", "."):
            continue
        if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
            raise ZoovetError(f"its entry '{printable(name, 80)}' is a link to elsewhere; it is not followed")
        parent = parent[name]
    return parent


def layer_tensors(layer: Any) -> list[Tensor]:
    """A layer's variables in a ``.weights.h5`` file, in order."""
    variables = group_at(layer, "vars")
    if variables is None:
        return []
    count = len(variables)
    return [_tensor(group_at(variables, str(number)), str(number)) for number in range(min(count, _MAX_ENTRIES))]


def stored_tensors(layer: Any) -> list[Tensor]:
    """A layer's variables in the ``model_weights`` of a ``.h5`` file, in the order of ``weight_names``."""
    names = layer.attrs.get("weight_names", [])
    if len(names) > _MAX_ENTRIES:
        raise ZoovetError(f"a layer says that it has {len(names)} tensors")
    texts = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
    return [_tensor(group_at(layer, text), text) for text in texts]


def _tensor(dataset: Any, name: str) -> Tensor:
    import h5py

    shown = printable(name, 80)
    if not isinstance(dataset, h5py.Dataset):
        raise ZoovetError(f"its tensor '{shown}' is missing")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    if dataset.is_virtual or plist.get_external_count():
        raise ZoovetError(f"its tensor '{shown}' lies in another file; it is not read")
    if not set(filters) <= {_GZIP, _SHUFFLE}:
        raise ZoovetError(f"its tensor '{shown}' is packed by a filter that is neither gzip nor shuffle")
    if dataset.shape is None or dataset.dtype.kind not in "fiu" or dataset.size > _MAX_NUMBERS:
        raise ZoovetError(f"its tensor '{shown}' does not hold numbers, or more than {_MAX_NUMBERS}")
    if dataset.size * dataset.dtype.itemsize > dataset.id.get_storage_size() * _MAX_RATIO + _FREE_BYTES:
        raise ZoovetError(f"its tensor '{shown}' claims more numbers than the file stores")
    return torch.from_numpy(dataset[()].astype("float32").reshape(dataset.shape)).clone()
