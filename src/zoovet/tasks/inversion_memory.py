"""What inversion found, remembered by network: for many trainings on parts of one zoo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.metanets.inversion import Inversion
from zoovet.networks import Networks

__all__ = ["InversionMemory"]

_CHUNK = 64


class InversionMemory:
    """Inverts each network once, whatever training, validation or test asks for it.

    A network is known by its spec and its weights, an inversion by its configuration, so that nothing is mixed up.
    """

    def __init__(self) -> None:
        self._found: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._found)

    def invert(self, inversion: Inversion, networks: Sequence[Networks]) -> list[Tensor]:
        """As :meth:`zoovet.metanets.ScaleGMN.invert`: a row for each network of each of the ``Networks``."""
        method = _method(inversion)
        results = []
        for batch in networks:
            keys = _keys(batch, method)
            missing = [place for place, key in enumerate(keys) if key not in self._found]
            for start in range(0, len(missing), _CHUNK):
                places = missing[start : start + _CHUNK]
                found = inversion(batch[places])
                self._found |= {keys[place]: row.cpu() for place, row in zip(places, found, strict=True)}
            results.append(torch.stack([self._found[key] for key in keys]).to(batch.device))
        return results

    def save(self, path: Path) -> None:
        """Write everything into one safetensors file, atomically; its folder is made where missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file(self._found, temporary)

    @classmethod
    def load(cls, folder: Path) -> InversionMemory:
        """Read what :meth:`save` wrote into files of a folder; an empty memory where there is no such folder.

        Raises:
            ZoovetError: A file is damaged.
        """
        memory = cls()
        for path in sorted(folder.glob("*.safetensors")):
            try:
                memory._found |= load_file(path)
            except (SafetensorError, OSError) as error:
                raise ZoovetError(f"{path} is damaged ({error}); remove it, it is computed again") from error
        return memory


def _method(inversion: Inversion) -> str:
    """What is sought, and on which backgrounds."""
    images = hashlib.sha256()
    for image in inversion.buffers():
        images.update(image.cpu().numpy().tobytes())
    return f"{json.dumps(config_to_dict(inversion.config))} {images.hexdigest()}"


def _keys(networks: Networks, method: str) -> list[str]:
    rows = networks.flat().detach().cpu().contiguous().numpy()
    prefix = f"{networks.spec.spec_id} {method} ".encode()
    return [hashlib.sha256(prefix + row.tobytes()).hexdigest() for row in rows]
