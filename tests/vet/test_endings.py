from __future__ import annotations

from itertools import permutations
from pathlib import Path

from zoovet.vet.endings import end_alike


def test_endings_of_one_format_are_alike_and_others_are_not() -> None:
    of_torch = ("a.pt", "b.pth", "c.pth.tar", "d.bin", "e.CKPT", "f.th")
    for same in (of_torch, ("a.h5", "b.HDF5"), ("a", "b"), ("a.x", "b.X")):
        assert all(end_alike(Path(one), Path(other)) for one, other in permutations(same, 2))
    for one, other in permutations(("a.pt", "a.h5", "a.keras", "a.onnx", "a.safetensors", "a", "a.pt2"), 2):
        assert not end_alike(Path(one), Path(other))
