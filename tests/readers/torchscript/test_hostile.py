"""TorchScript archives that were changed to do harm: nothing in them is run, and each is refused in a line."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.readers.exported import UnknownOperation
from zoovet.readers.torchscript import interpreter, read_torchscript

Entries = dict[str, bytes]
Saved = Callable[..., Path]
Changed = Callable[[Path, Callable[[Entries], None]], Path]

_MODULE = "code/__torch__/torch/nn/modules/linear.py"
_HEAD = """class Linear(Module):
  __parameters__ = ["weight", "bias", ]
  weight : Tensor
  bias : Tensor
"""
_FORWARD = "  def forward(self: __torch__.torch.nn.modules.linear.Linear, input: Tensor) -> Tensor:\n"


@pytest.fixture
def linear(saved: Saved) -> Path:
    """A linear layer, scripted."""
    return saved(nn.Linear(4, 3))


def _with(linear: Path, changed: Changed, body: str, before: str = "", head: str = _HEAD) -> Path:
    """The linear layer's file with another body of its ``forward``."""

    def put(entries: Entries) -> None:
        name = next(name for name in entries if name.startswith("code/") and name.endswith(".py"))
        own = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        entries[name] = f"{before}{head}{_FORWARD}{lines}".replace("__torch__.torch.nn.modules.linear", own).encode()

    return changed(linear, put)


def _refused(path: Path, shape: tuple[int, ...] = (4,)) -> str:
    with pytest.raises(ZoovetError) as caught:
        read_torchscript(path, shape)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))
    return text


def test_the_layer_itself_is_read(linear: Path, changed: Changed) -> None:
    path = _with(linear, changed, "return torch.linear(input, self.weight, self.bias)")
    assert read_torchscript(path, (4,)).networks.graph.operations[-1].op == "linear"


_BODIES = {
    "import os\nreturn input": r"its code/\S+:6 imports a module, which TorchScript never does",
    "from os import system\nreturn input": r"imports a module",
    "_0 = os.system('touch trap')\nreturn input": r"os\.system is not known, at",
    "_0 = open('trap', 'w')\nreturn input": r"open is not known, at code/\S+:6",
    "_0 = __import__('os')\nreturn input": r"__import__ is not known",
    "_0 = input.__class__\nreturn input": r"the attribute '__class__' is asked of a tensor without it, at code/\S+:6",
    "_0 = self.__class__.__bases__\nreturn input": r"the attribute '__class__' is asked of a module without it",
    "_0 = getattr(self, '__dict__')\nreturn input": r"the attribute '__dict__' is asked of a module",
    "_0 = (input).numpy()\nreturn input": r"the method 'numpy' is asked of a tensor",
    "_0 = (lambda: 1)()\nreturn input": r"Python's 'Lambda' is not read in code",
    "_0 = [x for x in self]\nreturn input": r"Python's 'ListComp' is not read in code",
    "with input:\n  pass\nreturn input": r"Python's 'With' is not read in code",
    "del input\nreturn input": r"Python's 'Delete' is not read in code",
    "self.weight = input\nreturn input": r"an assignment to an attribute is not read in code",
    "_0 = isinstance(input, type)\nreturn input": r"the type 'type' is not known",
    "return ops.mine.explode(input)": r"mine\.explode is not in the vocabulary of graphs, at code/\S+:6",
    "return torch.ops.mine.explode(input)": r"torch\.ops\.mine\.explode is not in the vocabulary",
    "return torch.load('trap')": r"aten\.load is not in the vocabulary",
    "return torch.from_file('trap', True, 4)": r"aten\.from_file is not in the vocabulary",
    "return torch.__class__(input)": r"aten\.__class__ is not in the vocabulary",
    "return torch.cumsum(input, 1)": r"aten\.cumsum is not in the vocabulary of graphs, at code/\S+:6",
    "while True:\n  _0 = 1\nreturn input": r"the code takes more than 2,000 steps, as loops do that do not end",
    "for i in range(9223372036854775807):\n  pass\nreturn input": r"takes more than 2,000 steps",
    "return (self).forward(input, )": r"forward is called 60 calls deep, deeper than networks go",
    "if torch.gt(torch.sum(input), 0):\n  pass\nreturn input": r"a decision depends on what is in the images",
    "for i in range(int(input)):\n  pass\nreturn input": r"asks what number a tensor holds",
    "_0 = torch.mul([0], 10000000000)\nreturn input": r"makes a list of more than 10,000 items",
    "_0 = torch.pow(10, 10000000000)\nreturn input": r"takes a power above 64",
    "_0 = torch.zeros([1000000, 1000000])\nreturn torch.add(input, torch.sum(_0))": r"make more than 1073741824",
    "_0 = torch.sum(torch.ones([1009, 100000000]))\nreturn torch.add(input, _0)": r"aten\.sum works across images",
    "_0 = torch.sum(torch.mul(torch.ones([1009, 100000000]), 2))\nreturn torch.add(input, _0)": r"across images",
    "_0 = torch.sum(torch.expand(self.weight, [1009, 1000000, 3, 4]))\nreturn torch.add(input, _0)": r"images",
    "_0 = torch.add(torch.zeros([16384, 16384]), 1)\nreturn input": r"make more than 134217728 numbers",
    "_0 = torch.arange(100000000000)\nreturn torch.add(input, torch.sum(_0))": r"has a size above 134,217,728",
    "_0 = torch.matmul(torch.ones([4096, 4096]), torch.ones([4096, 4096]))\nreturn input": r"computes more of",
    "_0 = torch.repeat(self.weight, [100000, 100000])\nreturn input": r"make more than 1073741824 numbers",
    "ops.prim.RaiseException('no \\x1b[31m')\nreturn input": r"its own code refuses its input: 'no .*give",
    "return self": r"its forward does not answer tensors",
    "a, b = [1, 2, 3]\nreturn input": r"an assignment needs 2 values and is given a list",
    "return CONSTANTS.c99999999": r"CONSTANTS\.c99999999 is not known",
    "return torch.linear(input, self.weight, nothing)": r"nothing is not known, at code/\S+:6",
    "return torch.linear(input, self.bias, self.weight)": r"aten\.linear does not fit",
}


@pytest.mark.parametrize("body", list(_BODIES))
def test_code_that_does_something_else_is_refused_in_a_line(
    linear: Path, changed: Changed, body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(interpreter, "_MAX_STEPS", 2000)
    path = _with(linear, changed, body)
    said = _refused(path)
    assert re.search(_BODIES[body], said), said
    assert "\x1b" not in said
    assert not (tmp_path / "trap").exists()


def test_lists_that_double_are_not_compared_or_returned(linear: Path, changed: Changed) -> None:
    doubled = "\n".join(f"{name}{n + 1} = [{name}{n}, {name}{n}]" for n in range(60) for name in "ab")
    path = _with(linear, changed, f"a0 = [1]\nb0 = [1]\n{doubled}\n_0 = torch.eq(a60, b60)\nreturn input")
    assert "compares lists of lists" in _refused(path)
    outputs = doubled.replace("b", "c")
    path = _with(linear, changed, f"a0 = [input]\nc0 = [input]\n{outputs}\nreturn a60")
    assert "its forward does not answer tensors" in _refused(path)


def test_functions_that_call_one_another_end(linear: Path, changed: Changed) -> None:
    function = "def f(x: Tensor) -> Tensor:\n  return __torch__.torch.nn.modules.linear.f(x, )\n"
    path = _with(linear, changed, "return __torch__.torch.nn.modules.linear.f(input, )", function)
    assert "f is called 60 calls deep" in _refused(path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return " + "(" * 5000 + "input" + ")" * 5000, "is no code of TorchScript"),
        ("return " + "-" * 300 + "1", "has code nested more than 120 deep"),
        ("return " + "input" + ".a" * 3000, "code"),
        ("return " + "9" * 5000, "is no code of TorchScript|a number of more than 64 bits"),
        ("x = 1\n" * 800_000, "has code of more than|is no code of TorchScript|takes more than"),
        ("return \x00", "is no code of TorchScript"),
        ("return (", "is no code of TorchScript"),
    ],
)
def test_code_that_breaks_parsers_is_refused(linear: Path, changed: Changed, body: str, said: str) -> None:
    with pytest.raises(ZoovetError, match=said):
        read_torchscript(_with(linear, changed, body), (4,))


def test_a_pickle_that_asks_for_more_is_refused(linear: Path, changed: Changed, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "trap",)

    def put(entries: Entries) -> None:
        entries["data.pkl"] = pickle.dumps(Trap(), protocol=2)

    assert "was refused and nothing in it was run" in _refused(changed(linear, put))
    assert not (tmp_path / "trap").exists()

    def list_instead(entries: Entries) -> None:
        entries["data.pkl"] = pickle.dumps([1, 2], protocol=2)

    assert "it holds no module, but something else" in _refused(changed(linear, list_instead))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("data.pkl", r"is damaged or truncated: it lacks its entry 'a/data\.pkl'"),
        ("code/", r"is a TorchScript program, but is damaged or truncated: it lacks its code \(a/code/…\)"),
        ("data/0", r"is damaged or truncated: it lacks its entry 'a/data/0'"),
    ],
)
def test_what_is_missing_is_named(linear: Path, changed: Changed, gone: str, said: str) -> None:
    def take(entries: Entries) -> None:
        for name in [name for name in entries if name.startswith(gone)]:
            del entries[name]

    with pytest.raises(ZoovetError, match=said):
        read_torchscript(changed(linear, take), (4,))


def test_packed_zeros_do_not_take_all_memory(linear: Path) -> None:
    with zipfile.ZipFile(linear, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/code/__torch__/zeros.py", bytes(2**28))
    assert "of 256 MB, more than such entries have" in _refused(linear)


@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.filterwarnings("ignore:.*torch.ao")
def test_quantized_networks_are_refused_by_name(saved: Saved) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    quantized = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)
    path = saved(quantized)
    assert "own class 'quantized.LinearPackedParamsBase': quantized networks are not read" in _refused(path)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(x) + y


def test_several_inputs_are_refused(saved: Saved) -> None:
    assert "its forward takes 2 inputs; a network reads one, images" in _refused(saved(Twice()))


def test_an_operation_beyond_the_vocabulary_is_named_with_its_line(saved: Saved) -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft(self.fc(x)).real

    with pytest.raises(UnknownOperation, match=r"aten\.fft_fft is not in the vocabulary of graphs, at code/__torch__/"):
        read_torchscript(saved(Sums(), torch.zeros(2, 4)), (4,))
