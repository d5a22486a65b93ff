"""From finished runs to a model that scan and repair find by themselves; what is unlike its networks is unknown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import zoovet
from zoovet import shipped
from zoovet.cli import edit_sizes, ship
from zoovet.cli.main import main
from zoovet.tasks.checkpoints import load_checkpoint


@pytest.fixture(scope="module")
def models(place: Path) -> Path:
    """A folder of models with one of digit networks."""
    words = [place / "detector", place / "repairer", "--name", "digits-small-cnn", "--models", place / "models"]
    (place / "models").mkdir()
    assert ship.main([*map(str, words), "--figures", str(place / "report" / "figures.json")]) == 0
    return place / "models"


@pytest.fixture
def stranger(suspect: Path, tmp_path: Path) -> Path:
    """A network of the zoo and one with weights that no training gives, in one file."""
    network = zoovet.load_networks(suspect)
    both = zoovet.Networks.concatenate([network, network.map(lambda tensor: 1000 * tensor)])
    zoovet.save_networks(both, tmp_path / "both.safetensors")
    return tmp_path / "both.safetensors"


def command(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_a_shipped_model_is_the_runs_and_a_card(place: Path, models: Path) -> None:
    assert shipped.names(models) == ("digits-small-cnn",)
    for kind in shipped.KINDS:
        own = shipped.file_of("digits-small-cnn", kind, models)
        packed, trained = load_checkpoint(own, kind), load_checkpoint(place / kind, kind)
        assert packed.tensors.keys() == trained.tensors.keys()
        for name, tensor in trained.tensors.items():
            assert packed.tensors[name].dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
            torch.testing.assert_close(packed.tensors[name].to(tensor.dtype), tensor, atol=1e-6, rtol=1e-3)
        assert packed.get("zoo") == {**trained.get("zoo"), "path": "zoo"}
    card = shipped.card("digits-small-cnn", models).read_text(encoding="utf-8")
    auc = json.loads((place / "report" / "figures.json").read_text(encoding="utf-8"))["detection"]["auc"]
    assert f"| auc | {auc:.3f} |" in card
    assert "- 1×8×8 → conv 6 3×3 /2 relu" in card
    assert "- images scaled to [-1, 1] (symmetric)\n- 12 to train on and 6 to validate" in card
    assert "Networks of another input scaling are run on the same\n  images in theirs where it is said" in card
    assert "- dataset: digits" in card
    assert "The repairer keeps 30 training images of the dataset" in card
    assert "The detector keeps" not in card
    assert "The repairer's edits are refused where they change more than 99.9 % of its training networks' did, " in card
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == ["# digits-small-cnn", "## Data", "## Figures", "## Limits", "## Training"]


def test_scan_and_repair_find_it_by_themselves(
    place: Path, models: Path, suspect: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command("scan", suspect, "--models-from", models, "--threshold", "1", "--json") == 0
    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert verdict["score"] == pytest.approx(
        float(zoovet.Detector.load(place / "detector").score(zoovet.load_networks(suspect))), abs=1e-3
    )
    assert verdict["model"] == "digits-small-cnn"
    assert 0 < verdict["in_distribution"] <= 1
    assert command("repair", suspect, "--models-from", models, "--out", tmp_path / "healed.safetensors") == 0
    expected = zoovet.TrainedRepairer.shipped("digits-small-cnn", models=models).repair(zoovet.load_networks(suspect))
    assert torch.equal(zoovet.load_networks(tmp_path / "healed.safetensors").flat(), expected.flat())


def test_a_network_unlike_the_training_networks_is_unknown_whatever_its_score(
    models: Path, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for threshold in ("0", "1"):
        assert command("scan", stranger, "--models-from", models, "--threshold", threshold, "--json") == 1
        own, unknown = json.loads(capsys.readouterr().out)["verdicts"]
        assert own["verdict"] == ("trojaned" if threshold == "0" else "healthy")
        assert unknown["verdict"] == "unknown"
        assert unknown["flagged"] is (unknown["score"] >= float(threshold))
        assert unknown["in_distribution"] < own["in_distribution"]
    assert command("scan", stranger, "--models-from", models, "--threshold", "1") == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2].split()[-3:] == ["–", "1.0000", "unknown"]
    assert shown.err == "note: 1 network is unknown: unlike the networks that the detector was trained on\n"


def test_repair_refuses_what_is_unlike_its_training_networks_unless_told(
    models: Path, stranger: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["repair", stranger, "--models-from", models, "--out", tmp_path / "healed.safetensors"]
    complaint = refused(*words)
    assert f"{stranger}: network 1 is unlike the networks that this repairer was trained on" in complaint
    assert "1 of 2 are so" in complaint
    assert complaint.endswith("or --allow-unknown to edit it all the same")
    assert not (tmp_path / "healed.safetensors").exists()
    repairer = load_checkpoint(shipped.file_of("digits-small-cnn", "repairer", models), "repairer")
    (usual,) = repairer.description["scale_free_edit_sizes"]
    repairer.description["scale_free_edit_sizes"] = [{**usual, "limit": 1e-4}]
    (tmp_path / "modest.safetensors").write_bytes(repairer.to_bytes())
    words[2:4] = ["--repairer", tmp_path / "modest.safetensors"]
    complaint = refused(*words, "--allow-unknown")  # too large an edit is refused all the same
    assert "would change by" in complaint
    assert complaint.endswith("such an edit is refused")
    assert not (tmp_path / "healed.safetensors").exists()
    del repairer.description["scale_free_edit_sizes"]
    (tmp_path / "earlier.safetensors").write_bytes(repairer.to_bytes())
    words[2:4] = ["--repairer", tmp_path / "earlier.safetensors"]
    assert command(*words, "--allow-unknown") == 0
    assert len(zoovet.load_networks(tmp_path / "healed.safetensors")) == 2


def test_what_half_precision_cannot_hold_stays_as_it_is() -> None:
    tensors = torch.tensor([1.0, 1e6]), torch.tensor([1.0, 0.1]), torch.tensor([3, 4])
    assert [ship._halved(tensor).dtype for tensor in tensors] == [torch.float32, torch.float16, torch.int64]


def without_distribution(run: Path, into: Path) -> Path:
    """A checkpoint as an earlier version wrote it: without distribution, sizes of edits, and digests."""
    with safe_open(run / "checkpoint.safetensors", framework="pt") as opened:
        description: dict[str, Any] = json.loads(opened.metadata()["zoovet"])
        del description["tensors_sha256"]
        description.pop("scale_free_edit_sizes", None)  # of a repairer
        names = [name for name in opened.keys() if not name.startswith("extra:")]  # noqa: SIM118 - no mapping
        metadata = {"zoovet": json.dumps(description)}
        save_file({name: opened.get_tensor(name) for name in names}, into, metadata)
    return into


def test_runs_of_earlier_versions_serve_and_say_what_they_lack(
    place: Path, stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "note: this {}, trained by an earlier zoovet, cannot tell whether networks are like those"
    detector = without_distribution(place / "detector", tmp_path / "detector.safetensors")
    repairer = without_distribution(place / "repairer", tmp_path / "repairer.safetensors")
    capsys.readouterr()
    assert command("scan", stranger, "--detector", detector, "--threshold", "1", "--json") == 0
    shown = capsys.readouterr()
    assert [verdict["in_distribution"] for verdict in json.loads(shown.out)["verdicts"]] == [None, None]
    assert f"note: {detector} has no SHA-256, since an earlier zoovet wrote it" in shown.err
    assert note.format("detector") in shown.err
    assert command("scan", stranger, "--detector", detector, "--threshold", "1") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "–"
    assert command("repair", stranger, "--repairer", repairer, "--out", tmp_path / "healed.safetensors") == 0
    assert note.format("repairer") in capsys.readouterr().err


def test_only_finished_runs_of_one_spec_that_fit_in_are_shipped(
    place: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(detector: Path, *words: str) -> str:
        capsys.readouterr()
        assert ship.main([str(detector), str(place / "repairer"), "--models", str(models), *words]) == 2
        return capsys.readouterr().err

    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"finished": false}', encoding="utf-8")
    (run / "checkpoint.safetensors").write_bytes((place / "detector" / "checkpoint.safetensors").read_bytes())
    assert f"error: the run {run} is not finished" in complaint(run, "--name", "more")
    (run / "run.json").write_text('{"finished": true}', encoding="utf-8")
    without_distribution(place / "detector", run / "checkpoint.safetensors")
    assert "knows no in-distribution score" in complaint(run, "--name", "more")
    assert "lower-case words and hyphens" in complaint(place / "detector", "--name", "../more")
    (models / "digits-small-cnn" / "notes.md").write_bytes(bytes(shipped.MAX_BYTES))
    assert "and at most 10 MB may be" in complaint(place / "detector", "--name", "more")
    (models / "digits-small-cnn" / "notes.md").unlink()
    assert shipped.names(models) == ("digits-small-cnn",)


def test_a_scan_without_files_or_with_two_choices_is_refused(
    place: Path, models: Path, suspect: Path, refused: Callable[..., str]
) -> None:
    assert "the following arguments are required: FILE" in refused("scan")
    words = ["scan", suspect, "--detector", place / "detector"]
    assert "argument --model: not allowed with argument --detector" in refused(*words, "--model", "digits-small-cnn")
    assert "there is no model 'digits'" in refused("scan", suspect, "--models-from", models, "--model", "digits")


def test_the_command_lists_its_models(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert command("--models") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in shipped.names())
    assert str(shipped.folder()) in shown


def test_what_a_repairers_edits_usually_are_can_be_measured_afterwards(
    place: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "models" / "digits-small-cnn"
    shutil.copytree(models / "digits-small-cnn", own)
    before = load_checkpoint(own / "repairer.safetensors", "repairer")
    assert edit_sizes.main(["digits-small-cnn", str(place / "zoo"), "--models", str(own.parent)]) == 0
    after = load_checkpoint(own / "repairer.safetensors", "repairer")
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in before.tensors.items())
    (said,) = after.get("scale_free_edit_sizes")
    assert said["num_networks"] == 18  # training and validation networks
    assert after.description == {**before.description, "scale_free_edit_sizes": [said]}
    card = (own / "card.md").read_text(encoding="utf-8")
    assert f"{100 * said['limit']:.1f} % of the norm" in card
    assert edit_sizes.main(["digits-small-cnn", str(place / "zoo"), "--models", str(own.parent)]) == 0
    assert (own / "card.md").read_text(encoding="utf-8") == card, "what was measured before is said no more"
    assert edit_sizes.main(["no-model", str(place / "zoo"), "--models", str(own.parent)]) == 2
    assert "error: there is no model 'no-model'" in capsys.readouterr().err


def test_the_shipped_repairers_know_what_their_edits_usually_are() -> None:
    for name in shipped.names():
        repairer = zoovet.TrainedRepairer.shipped(name)
        card = shipped.card(name).read_text(encoding="utf-8")
        assert set(repairer.edit_sizes) == set(repairer.graphs)
        for size in repairer.edit_sizes.values():
            assert f"{100 * size.limit:.1f} % of the norm" in card
            assert f"({size.num_networks} networks)" in card
