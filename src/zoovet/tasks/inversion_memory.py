"""What inversion found, remembered by network: for many trainings on parts of one zoo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion
from zoovet.evidence.concurrency import operations_on_one_thread
from zoovet.files import atomic_path
from zoovet.networks import Networks

if TYPE_CHECKING:
    from zoovet.tasks.population import Population

__all__ = ["InversionMemory"]

_CHUNK = 16
"""Networks that are inverted together."""
_SEPARATOR = "|"
"""In a file, between a network's key and the parts of its evidence's names."""


class InversionMemory:
    """Inverts each network once, whatever training, validation or test asks for it.

    A network is known by its graph and its weights, an inversion by its configuration, so that nothing is mixed up.
    """

    def __init__(self) -> None:
        self._found: dict[str, Evidence] = {}

    def __len__(self) -> int:
        return len(self._found)

    def populations(
        self, inversion: Inversion, populations: Sequence[Population], tell: Callable[[int, int], None]
    ) -> list[Population]:
        """Populations with what inversion finds in their networks.

        Args:
            inversion: What seeks.
            populations: The networks.
            tell: Told after every few of them how many are done, and how many there are in all.
        """
        total, done = sum(map(len, populations)), 0

        def finished(count: int) -> None:
            nonlocal done
            done += count
            tell(done, total)

        invert = partial(self.invert, inversion, finished=finished)
        return [population.with_evidence(invert) for population in populations]

    def invert(
        self, inversion: Inversion, networks: Sequence[Networks], *, finished: Callable[[int], None] = lambda _: None
    ) -> list[Evidence]:
        """Evidence of each of the ``Networks``.

        Args:
            inversion: What seeks.
            networks: What is read.
            finished: Told how many networks got done since it was told last.
        """
        method = _method(inversion)
        results = []
        for batch in networks:
            keys = _keys(batch, method)
            missing = [place for place, key in enumerate(keys) if key not in self._found]
            if len(missing) < len(keys):
                finished(len(keys) - len(missing))
            for start in range(0, len(missing), _CHUNK):
                places = missing[start : start + _CHUNK]
                with operations_on_one_thread():  # tensors are too small for more threads
                    found = inversion(batch[places])
                kept = found.to("cpu")
                self._found |= {keys[place]: kept[row : row + 1] for row, place in enumerate(places)}
                finished(len(places))
            results.append(Evidence.concatenate([self._found[key] for key in keys]).to(batch.device))
        return results

    def save(self, path: Path) -> None:
        """Write everything into one safetensors file, atomically; its folder is made where missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            named = {
                _SEPARATOR.join((key, *name)): tensor.contiguous()
                for key, own in self._found.items()
                for name, tensor in own.named()
            }
            save_file(named, temporary)

    @classmethod
    def load(cls, folder: Path) -> InversionMemory:
        """Read what :meth:`save` wrote into files of a folder; an empty memory where there is no such folder.

        Raises:
            ZoovetError: A file is damaged.
        """
        memory = cls()
        for path in sorted(folder.glob("*.safetensors")):
            try:
                memory._add(load_file(path))
            except (SafetensorError, OSError, ValueError) as error:
                raise ZoovetError(f"{path} is damaged ({error}); remove it, it is computed again") from error
        return memory

    def _add(self, tensors: Mapping[str, Tensor]) -> None:
        """What :meth:`save` wrote into a file; others, as of earlier versions, are computed anew."""
        by_key: dict[str, dict[tuple[str, ...], Tensor]] = {}
        for name, tensor in tensors.items():
            key, *where = name.split(_SEPARATOR)
            if where:
                by_key.setdefault(key, {})[tuple(where)] = tensor
        self._found |= {key: Evidence.of_names(named) for key, named in by_key.items()}


def _method(inversion: Inversion) -> str:
    """What is sought, and on which backgrounds."""
    images = hashlib.sha256()
    for image in inversion.buffers():
        images.update(image.cpu().numpy().tobytes())
    return f"{json.dumps(config_to_dict(inversion.config))} {images.hexdigest()}"


def _keys(networks: Networks, method: str) -> list[str]:
    rows = networks.flat().detach().cpu().contiguous().numpy()
    prefix = f"{networks.graph.graph_id} {method} ".encode()
    return [hashlib.sha256(prefix + row.tobytes()).hexdigest() for row in rows]
