from __future__ import annotations

import json
import os
from pathlib import Path

from zoovet.files import write_json
from zoovet.printable import MAX_PATH_CHARACTERS, printable, with_article


def test_ordinary_names_stay_as_they_are() -> None:
    assert printable("módulo/conv1.weight ünïcode 重み") == "módulo/conv1.weight ünïcode 重み"
    assert printable(Path("a/b.pt")) == "a/b.pt"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("a\x1b[2J\nerror: b\r\u202e\x00") == r"a\x1b[2J\nerror: b\r\u202e\x00"
    assert printable(b"caf\xe9.pt") == r"caf\udce9.pt"
    assert printable(b"caf\xe9.pt").encode() == rb"caf\udce9.pt"


def test_what_is_long_loses_its_middle() -> None:
    shown = printable("a" * 10_000_000 + "end", limit=40)
    assert len(shown) <= 40
    assert shown.startswith("aaa")
    assert shown.endswith("end")
    assert len(printable("\x00" * 1000, limit=40)) <= 40


def test_a_path_is_shown_whole_up_to_a_generous_length() -> None:
    long = Path("/".join(["folder"] * 60)) / "net\n.pt"
    assert printable(long) == f"{'folder/' * 60}net\\n.pt"
    assert len(printable(str(long))) < 200
    endless = printable(Path("a" * 100_000 + "/net.pt"))
    assert len(endless) <= MAX_PATH_CHARACTERS
    assert endless.endswith("/net.pt")
    assert len(printable(long, limit=40)) <= 40


def test_a_name_stands_behind_its_article() -> None:
    names = ("MLP 144-9-8", "ResNet-20", "VGG-11", "alpha", "ONNX", "Ellipsis", "uint8", "unknown", "LSTM", "")
    said = "an MLP 144-9-8, a ResNet-20, a VGG-11, an alpha, an ONNX, an Ellipsis, a uint8, an unknown, an LSTM, a "
    assert ", ".join(map(with_article, names)) == said


def test_a_name_that_is_no_utf8_survives_a_json_file(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[2J.pt")
    write_json(tmp_path / "a.json", {"file": name, "other": "é"})
    data = (tmp_path / "a.json").read_bytes()
    assert rb'"caf\udce9\u001b[2J.pt"' in data
    assert json.loads(data.decode("utf-8")) == {"file": name, "other": "é"}
