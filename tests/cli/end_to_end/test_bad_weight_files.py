"""Weight files that are damaged, foreign or hostile."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoovet
from zoovet.networks import small_cnn


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(os.environ["ZOOVET_TEST_BOMB"]),))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"suspect\.pt does not exist"),
        ("truncated", r"suspect\.pt is a safetensors file that is damaged or truncated"),
        ("text", r"suspect\.pt is not a weight file"),
        ("pickle", r"suspect\.pt was refused and nothing in it was run: it holds the function 'pathlib"),
        ("torch pickle", r"suspect\.pt was refused and nothing in it was run: it holds the function 'builtins"),
        ("nan", r"suspect\.pt: tensor 'weights\.0' has NaN or infinite numbers"),
        ("misfit", r"suspect\.pt does not fit the graph: it holds 1 .*, the graph is 1×8×8 → conv 6"),
        ("other graph", r"was not trained on such networks\. Given: 1×8×8 → conv 5.*It reads: 1×8×8 → conv 6"),
    ],
)
@pytest.mark.parametrize("verb", ["scan", "repair"])
def test_a_bad_weight_file_is_refused_and_never_run(
    verb: str,
    kind: str,
    message: str,
    place: Path,
    suspect: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, marker, out = tmp_path / "suspect.pt", tmp_path / "it-ran", tmp_path / "out.safetensors"
    monkeypatch.setenv("ZOOVET_TEST_BOMB", str(marker))
    _write_bad_file(kind, path, suspect)
    vetter = ["--detector", place / "detector"] if verb == "scan" else ["--repairer", place / "repairer", "--out", out]
    assert re.search(message, refused(verb, path, *vetter))
    assert not marker.exists()
    assert not out.exists()


def _write_bad_file(kind: str, path: Path, suspect: Path) -> None:
    if kind == "truncated":
        path.write_bytes(suspect.read_bytes()[:-40])
    elif kind == "text":
        path.write_text("these are no weights, whatever the name says", encoding="utf-8")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "torch pickle":
        torch.save({"0.weight": torch.zeros(3), "0.bias": _Bomb()}, path)
    elif kind == "nan":
        content = bytearray(suspect.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        first = start + header["weights.0"]["data_offsets"][0]
        content[first : first + 4] = b"\x00\x00\xc0\x7f"
        path.write_bytes(content)
    elif kind == "misfit":
        torch.save({"0.weight": torch.zeros(3, 1, 3, 3), "0.bias": torch.zeros(3)}, path)
    elif kind == "other graph":
        graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(5, 5))
        other = zoovet.Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
        zoovet.save_networks(other, path.with_suffix(".safetensors"))
        path.with_suffix(".safetensors").rename(path)


def test_a_missing_weight_file_is_refused_before_repair_claims_its_output(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["repair", suspect, "--repairer", place / "repairer", "--out"]
    assert "is the input itself, which is never overwritten" in refused(*words, suspect)
    (tmp_path / "other.safetensors").write_text("precious", encoding="utf-8")
    assert "exists already; give another --out, or --force" in refused(*words, tmp_path / "other.safetensors")
    assert (tmp_path / "other.safetensors").read_text(encoding="utf-8") == "precious"
    assert "give a name that ends in .safetensors" in refused(*words, tmp_path / "healed.onnx")
