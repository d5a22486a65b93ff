"""What a job's process does, in this process: scanning and healing an upload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from zoovet import HealedNetwork, ZoovetError, read
from zoovet.readers import read_content
from zoovet.serve import vetting
from zoovet.serve.jobs import JobOptions, Order
from zoovet.vet import HealedFile, Healing
from zoovet.vet.verdicts import no_verdict

OrderOf = Callable[..., Order]


@pytest.fixture
def order_of(tmp_path: Path, stamped_files: Path, monkeypatch: pytest.MonkeyPatch) -> OrderOf:
    """Ask for what lies in a folder of uploads, which is the working folder."""
    upload, results = tmp_path / "upload", tmp_path / "results"
    results.mkdir()
    shutil.copytree(stamped_files, upload)
    shutil.make_archive(str(upload / "images"), "zip", stamped_files, "photos")
    shutil.make_archive(str(upload / "unlabelled"), "zip", stamped_files / "photos" / "class0")
    monkeypatch.chdir(upload)

    def make(images: str = "", file: str = "stamped.pt", **options: str) -> Order:
        return Order(
            file=file,
            images=images,
            options=JobOptions(**{"effort": "quick"} | options),
            results=results,
            max_image_files=100,
            max_unpacked_bytes=2**20,
        )

    return make


def test_a_trojaned_network_is_told_with_its_target_and_its_trigger(order_of: OrderOf, tmp_path: Path) -> None:
    told: list[str] = []
    order = order_of("images.zip", architecture="mlp:activation=relu")
    found = vetting.scan(order, told.append)
    (summary,) = found["summaries"]
    assert (summary["verdict"], summary["target"]) == ("trojaned", "class3 (3)")
    assert summary["lead"].startswith("This network probably carries a trojan")
    assert (found["error"], found["choices"], found["num_networks"]) == ("", [], 1)
    assert found["notes"] == []  # the verdict has them
    assert told[:2] == ["reference images are read", "the network is read"]
    assert any(one.startswith("stamped.pt: ") for one in told)
    (fragment,) = json.loads((tmp_path / "results" / "verdicts.json").read_text())
    assert "The trigger that was found" in fragment
    assert "style=" not in fragment
    assert str(tmp_path) not in json.dumps(found) + fragment
    scanned = json.loads((tmp_path / "results" / "scan.json").read_text())
    assert scanned["verdicts"][0]["target"] == 3
    assert sorted(path.name for path in (tmp_path / "results" / "report").iterdir()) == [
        "index.html",
        "stamped.pt.html",
    ]
    json.dumps(found)


@pytest.mark.parametrize(
    ("images", "begins"),
    [
        ("unlabelled.zip", "stamped.pt "),
        ("", "stamped.pt holds 2 linear layers, 1.4 k numbers: no shipped detector knows"),
    ],
)
def test_what_the_file_leaves_open_can_be_chosen(order_of: OrderOf, images: str, begins: str) -> None:
    found = vetting.scan(order_of(images), lambda _: None)
    assert found["error"].startswith(begins)
    assert "is an MLP 144-9-8 whose activation no name or shape tells: give --architecture mlp:" in found["error"]
    assert found["choices"][:2] == ["mlp:activation=relu", "mlp:activation=leaky_relu"]
    assert found["summaries"] == []


def test_what_the_file_leaves_open_is_found_on_labelled_images(order_of: OrderOf, tmp_path: Path) -> None:
    found = vetting.scan(order_of("images.zip"), lambda _: None)
    assert (found["error"], found["choices"], found["summaries"][0]["verdict"]) == ("", [], "trojaned")
    assert "what names and shapes leave open was found on" in (tmp_path / "results" / "scan.json").read_text()


def test_a_network_of_a_class_of_ones_own_is_asked_for_as_a_file_that_says_what_it_is(order_of: OrderOf) -> None:
    torch.save({"a.weight": torch.ones(3, 2, 3, 3), "b.up.weight": torch.ones(5, 7)}, "own.pt")
    error = vetting.scan(order_of("images.zip", file="own.pt"), lambda _: None)["error"]
    assert "; save the network itself as ONNX (torch.onnx.export) or by torch.export.save" in error
    assert "give --architecture" not in error


def test_a_bad_file_and_bad_images_are_one_line(order_of: OrderOf) -> None:
    Path("bad.pt").write_bytes(b"no weights")
    found = vetting.scan(order_of(file="bad.pt"), lambda _: None)
    assert found["error"].startswith("bad.pt ")
    Path("images.zip").write_bytes(b"no zip")
    with pytest.raises(ZoovetError, match=r"images\.zip is no zip"):
        vetting.scan(order_of("images.zip"), lambda _: None)
    with pytest.raises(ZoovetError, match="input_shape must be"):
        vetting.scan(order_of(input_shape="3;32"), lambda _: None)
    with pytest.raises(ZoovetError, match=r"range must be LOW,HIGH with LOW < HIGH, got 1,0"):
        vetting.scan(order_of("", input_range="1,0"), lambda _: None)


@pytest.mark.slow
def test_of_an_edit_that_fails_its_check_without_images_nothing_is_written(
    order_of: OrderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.vet.stranger_healer._USUALLY_WORKS", -1.0)  # whatever is left of triggers is too much
    with pytest.raises(ZoovetError, match="no healed network was written: triggers that were found"):
        vetting.heal(order_of("", architecture="mlp:activation=relu", scaling="symmetric"), lambda _: None)
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize(
    ("shortcomings", "why"),
    [((), "it is found to be healthy, so that it stays as it is"), (("it still works",), "it still works")],
)
def test_what_is_healthy_or_did_not_heal_is_not_written(
    order_of: OrderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortcomings: tuple[str, ...], why: str
) -> None:
    before = no_verdict("", "a.pt", None, ())
    healing = Healing(before=before, max_loss=0.01, shortcomings=shortcomings)
    network = read("stamped.pt", architecture="mlp:activation=relu", input_shape=(1, 12, 12))
    same = {field.name: getattr(network, field.name) for field in fields(network)}
    healed = HealedNetwork(**same, change=0.0, model=None, healing=healing)
    file = HealedFile(before=network, healed=healed, content=read_content(Path("stamped.pt")))
    monkeypatch.setattr(vetting.Repairer, "repair_file", lambda *_, **__: file)
    with pytest.raises(ZoovetError, match=f"no healed network was written: {why}"):
        vetting.heal(order_of(""), lambda _: None)
    assert list((tmp_path / "results").iterdir()) == []
