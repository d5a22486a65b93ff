"""A weight file with other numbers is otherwise the same file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, small_cnn, to_module
from zoovet.readers import networks_from_content, read_content
from zoovet.readers.rewriting import LayoutError, changed_tensors, require_tensors, rewrite

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4))
State = dict[str, Tensor]


def drawn(seed: int = 0) -> Networks:
    return Networks.from_flat(
        GRAPH, torch.randn(1, GRAPH.num_parameters, generator=torch.Generator().manual_seed(seed))
    )


def unaligned(state: State, path: Path) -> None:
    save_file(state, path)
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    path.write_bytes((start - 7).to_bytes(8, "little") + raw[8:start] + b" " + raw[start:])


def turned(state: State, path: Path) -> None:
    torch.save({name: tensor.T.contiguous().T if tensor.ndim == 2 else tensor for name, tensor in state.items()}, path)


def with_an_average(state: State, path: Path) -> None:
    torch.save({"net": state, "ema": {name: tensor.clone() for name, tensor in state.items()}}, path)


FORMS: dict[str, Callable[[State, Path], Any]] = {
    "zip": lambda state, path: torch.save({"epoch": 3, "net": {"module." + k: v for k, v in state.items()}}, path),
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "half": lambda state, path: torch.save({k: v.bfloat16() for k, v in state.items()}, path),
    "turned": turned,
    "safetensors": lambda state, path: save_file(state, path, {"made by": "somebody"}),
    "unaligned": unaligned,
    "average beside it": with_an_average,
}


@pytest.mark.parametrize("form", FORMS)
def test_only_numbers_of_the_network_change(form: str, tmp_path: Path) -> None:
    path, out = tmp_path / "in", tmp_path / "out"
    FORMS[form](to_module(drawn()).state_dict(), path)
    before, content = path.read_bytes(), read_content(path)
    networks = networks_from_content(content, "in", GRAPH).networks
    edited = Networks.from_flat(GRAPH, networks.flat() + 0.5)
    changed = changed_tensors(content, networks, edited, "in")
    rewrite(path, changed, out, lambda written: require_tensors(read_content(written).tensors, content, changed, "in"))
    assert path.read_bytes() == before
    after = out.read_bytes()
    assert len(after) == len(before)
    found = read_content(out)
    again = networks_from_content(found, "out", GRAPH).networks
    torch.testing.assert_close(again.flat(), edited.flat(), rtol=1e-2 if form == "half" else 0, atol=0)
    assert (found.metadata, found.numbers, list(found.tensors)) == (
        content.metadata,
        content.numbers,
        list(content.tensors),
    )
    num_bytes = GRAPH.num_parameters * {"half": 2, "average beside it": 8}.get(form, 4)
    num_changed = sum(one != other for one, other in zip(before, after, strict=True))
    assert num_changed <= num_bytes + 64 * zipfile.is_zipfile(out) * len(changed)
    if zipfile.is_zipfile(out):
        assert zipfile.ZipFile(out).testzip() is None
        assert torch.load(out, weights_only=True).keys() == torch.load(path, weights_only=True).keys()


def test_numbers_that_have_no_place_are_refused(tmp_path: Path) -> None:
    state, edited = to_module(drawn()).state_dict(), Networks.from_flat(GRAPH, drawn().flat() + 0.5)
    weight = state.pop("0.weight")
    masked = state | {"0.weight_orig": weight, "0.weight_mask": (torch.rand_like(weight) > 0.5).float()}
    plain = state | {"0.weight": weight}
    no_bias = {name: tensor for name, tensor in plain.items() if name != "2.bias"}
    pickled = plain | {"0.weight": weight.numpy()}
    for content, message in (
        (masked, "the weight of layer 0 does not stand in it as it is computed with"),
        (no_bias, r"layer 1 \('2\.weight'\) has no bias of its own there, and the repair needs one"),
        (pickled, r"the numbers of '0\.weight' lie within a pickle"),
    ):
        torch.save(content, tmp_path / "a.pt")
        read = read_content(tmp_path / "a.pt")
        networks = networks_from_content(read, "a.pt", GRAPH).networks
        with pytest.raises(LayoutError, match=message):
            changed_tensors(read, networks, edited, "a.pt")
    torch.save({name: tensor.half() for name, tensor in plain.items()}, tmp_path / "a.pt")
    read = read_content(tmp_path / "a.pt")
    networks = networks_from_content(read, "a.pt", GRAPH).networks
    with pytest.raises(LayoutError, match="a weight would leave the range of float16"):
        changed_tensors(read, networks, Networks.from_flat(GRAPH, networks.flat() + 1e6), "a.pt")


def test_tensors_that_share_their_numbers_with_others_are_refused(tmp_path: Path) -> None:
    state = to_module(drawn()).state_dict()
    torch.save(state | {"criterion.weight": state["0.weight"][0, 0, 0]}, tmp_path / "a.pt")
    content = read_content(tmp_path / "a.pt")
    networks = networks_from_content(content, "a.pt", GRAPH).networks
    changed = changed_tensors(content, networks, Networks.from_flat(GRAPH, networks.flat() + 1), "a.pt")
    with pytest.raises(LayoutError, match=r"'criterion\.weight' shares its numbers with another tensor"):
        rewrite(
            tmp_path / "a.pt",
            changed,
            tmp_path / "out.pt",
            lambda written: require_tensors(read_content(written).tensors, content, changed, "a.pt"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    torch.save(to_module(drawn()).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=r"cannot write .*none/out.pt: No such file or directory"):
        rewrite(tmp_path / "a.pt", [], tmp_path / "none" / "out.pt", lambda _: None)
