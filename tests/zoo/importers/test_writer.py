"""Writing imported zoos: whole or resumable, the same bytes either way, in little memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.zoo import Zoo
from zoovet.zoo.growing_zoo import BuildProgress
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

SHARD_BYTES = 8 * 4970 * 4


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class Interrupted(Exception):
    """What the progress callback raises in place of a kill."""


def test_an_interrupted_import_ends_with_the_same_bytes(small_cnn_zoo: Path, tmp_path: Path) -> None:
    published = open_published("small-cnn-zoo", small_cnn_zoo)
    seen: list[BuildProgress] = []
    import_zoo(published, tmp_path / "whole", shard_bytes=SHARD_BYTES, progress=seen.append)
    assert [progress.num_networks for progress in seen] == [*range(0, 90, 8), 90]

    def stop(progress: BuildProgress) -> None:
        if progress.num_networks >= 24:
            raise Interrupted

    with pytest.raises(Interrupted):
        import_zoo(published, tmp_path / "resumed", shard_bytes=SHARD_BYTES, progress=stop)
    (tmp_path / "resumed" / ".shard-00003.parquet.x.partial").write_bytes(b"half a shard")
    with pytest.raises(ZoovetError, match="is not finished: 3 of 12 shards are there"):
        Zoo.open(tmp_path / "resumed")
    again: list[BuildProgress] = []
    zoo = import_zoo(published, tmp_path / "resumed", shard_bytes=SHARD_BYTES, progress=again.append)
    assert (again[0].num_found, again[0].total, again[-1].num_networks) == (24, 90, 90)
    assert digests(tmp_path / "resumed") == digests(tmp_path / "whole")
    assert len(Zoo.open(zoo.path, verify=True)) == 90


def test_a_folder_that_holds_something_else(small_cnn_zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    import_zoo(open_published("small-cnn-zoo", small_cnn_zoo), out)
    with pytest.raises(ZoovetError, match=r"holds a zoo of another recipe: split.seed is 0 there, 1 here"):
        import_zoo(open_published("small-cnn-zoo", small_cnn_zoo, ImportOptions(seed=1)), out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(ZoovetError, match="is not empty and holds no zoo"):
        import_zoo(open_published("small-cnn-zoo", small_cnn_zoo), tmp_path / "other")


_PEAK = """
import resource, sys
from pathlib import Path
from zoovet.zoo.importers import import_zoo, open_published
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
source, out = map(Path, sys.argv[1:])
import_zoo(open_published("small-cnn-zoo", source / "small"), out / "small", shard_bytes=2**23)
before = peak()
import_zoo(open_published("small-cnn-zoo", source / "large"), out / "large", shard_bytes=2**23)
print(peak() - before)
"""


def sparse_zoo(folder: Path, num_networks: int, make: SimpleNamespace) -> int:
    """A zoo of zeros, which take no place on disk; its weights' size in bytes."""
    lines = make.small_cnn_lines(num_networks)
    make.write_tables(folder, lines, make.random_weights(1))
    shape = (len(lines), 4970)
    weights: np.ndarray[Any, Any] = np.lib.format.open_memmap(
        folder / "weights.npy", mode="w+", dtype=np.float32, shape=shape
    )
    del weights
    return 4 * shape[0] * shape[1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(tmp_path: Path, make: SimpleNamespace) -> None:
    sparse_zoo(tmp_path / "small", 100, make)
    num_bytes = sparse_zoo(tmp_path / "large", 1000, make)
    command = [sys.executable, "-c", _PEAK, str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    growth = int(done.stdout)
    assert num_bytes > 170e6
    assert growth < 60e6, f"reading {num_bytes:,} bytes instead of a tenth took {growth:,} bytes more memory"
