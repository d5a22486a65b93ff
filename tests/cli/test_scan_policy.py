"""Policies, JUnit XML and bills of materials: what ``scan`` says to pipelines, and how it leaves."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import torch
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from zoovet.cli.main import main
from zoovet.cli.status import EXIT_STATUSES
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "scan.schema.json").read_text(encoding="utf-8"))
GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A detector that flags everything, two networks in one file, and one whose numbers overflow."""
    config = ScaleGMNConfig(width=2, num_layers=1)
    facts = {"metanetwork": metanetwork_to_json(config), "specs": [GRAPH.to_json()], "threshold": 0.0}
    save_checkpoint(tmp_path / "own.st", "detector", build_metanetwork(config, 0, "detector"), facts)
    flat = torch.linspace(-1, 1, GRAPH.num_parameters).repeat(2, 1)
    save_networks(Networks.from_flat(GRAPH, flat * torch.tensor([[1.0], [0.5]])), tmp_path / "two.safetensors")
    save_networks(Networks.from_flat(GRAPH, torch.full_like(flat[:1], 3e38)), tmp_path / "huge.safetensors")
    return tmp_path


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit status, what ``--json`` prints, and what is said on standard error."""

    def scan(*words: str | Path) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        named = [str(place / word) if str(word).endswith((".safetensors", ".toml")) else str(word) for word in words]
        status = main(["scan", *named, "--json", "--detector", str(place / "own.st")])
        shown = capsys.readouterr()
        return status, json.loads(shown.out or "{}"), shown.err

    return scan


def write_policy(place: Path, text: str, digests: list[str], expires: str = "2999-01-31") -> None:
    entries = [f'[[allow]]\ndigest = "{digest}"\nreason = "known"\nexpires = {expires}' for digest in digests]
    (place / "zoovet.toml").write_text("\n".join([text, *entries]), encoding="utf-8")


def test_what_a_policy_allows_passes_and_is_said_everywhere(run: Run, place: Path) -> None:
    status, data, _ = run("two.safetensors")
    assert (status, [row["passes"] for row in data["verdicts"]]) == (1, [False, False])
    digests = [row["digest"] for row in data["verdicts"]]
    write_policy(place, "", digests[:1])
    status, data, _ = run("two.safetensors", "--policy", "zoovet.toml")
    assert (status, [row["passes"] for row in data["verdicts"]]) == (1, [True, False])
    write_policy(place, "", digests)
    status, data, said = run("two.safetensors", "--policy", "zoovet.toml", "--sarif", place / "log.sarif")
    assert status == 0
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert [(row["verdict"], row["allowed"]) for row in data["verdicts"]] == [
        ("trojaned", {"reason": "known", "expires": "2999-01-31"})
    ] * 2
    assert f"note: {place / 'two.safetensors'}: trojaned, allowed until 2999-01-31: known" in said
    log = json.loads((place / "log.sarif").read_text(encoding="utf-8"))
    suppressions = [result["suppressions"] for result in log["runs"][0]["results"]]
    assert suppressions == [[{"kind": "external", "status": "accepted", "justification": "known"}]] * 2


def test_an_allowance_that_is_over_is_said_and_does_not_pass(run: Run, place: Path) -> None:
    digests = [row["digest"] for row in run("two.safetensors")[1]["verdicts"]]
    write_policy(place, "", digests, "2020-01-31")
    status, data, said = run("two.safetensors", "--policy", "zoovet.toml")
    assert (status, data["verdicts"][0]["allowed"]) == (1, None)
    assert "was allowed until 2020-01-31 (known), no longer" in said


def test_unknown_networks_pass_where_the_policy_says_so_but_broken_files_never_do(run: Run, place: Path) -> None:
    write_policy(place, 'unknown = "pass"\nthreshold = 1.0', [])
    status, data, said = run("huge.safetensors", "two.safetensors", "--policy", "zoovet.toml")
    assert (status, [row["verdict"] for row in data["verdicts"]]) == (0, ["unknown", "healthy", "healthy"])
    assert "note: 1 unknown, which the policy lets pass" in said
    assert run("huge.safetensors", "none.safetensors", "--policy", "zoovet.toml")[0] == 2
    status, _, said = run("two.safetensors", "--policy", "zoovet.toml", "--threshold", "1")
    assert status == 2
    assert "--policy says what is flagged: leave out --threshold, or put it into " in said


def test_junit_has_a_case_for_each_network_and_file(run: Run, place: Path) -> None:
    digests = [row["digest"] for row in run("two.safetensors")[1]["verdicts"]]
    write_policy(place, "", digests[:1])
    words = ("two.safetensors", "huge.safetensors", "none.safetensors")
    assert run(*words, "--policy", "zoovet.toml", "--junit", place / "scan.xml")[0] == 2
    (suite,) = ElementTree.parse(place / "scan.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    outcomes = [(Path(case.get("classname", "")).name, case.get("name"), *(one.tag for one in case)) for case in suite]
    assert outcomes == [
        ("two.safetensors", "network 0", "skipped"),
        ("two.safetensors", "network 1", "failure"),
        ("huge.safetensors", "network 0", "failure"),
        ("none.safetensors", "network 0", "error"),
    ]
    assert [suite[index][0].get("type") for index in (1, 2)] == ["trojaned", "unknown"]
    assert str(suite[0][0].get("message")).endswith("Allowed until 2999-01-31: known")


def test_a_bill_of_materials_names_each_network_its_digests_and_its_verdict(run: Run, place: Path) -> None:
    (place / "broken.safetensors").write_bytes(b"broken")
    assert run("two.safetensors", "broken.safetensors", "--bom", place / "bom.json")[0] == 2
    text = (place / "bom.json").read_text(encoding="utf-8")
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    components = {row["bom-ref"].rpartition("/")[2]: row for row in json.loads(text)["components"]}
    assert sorted(components) == ["broken.safetensors#0", "two.safetensors#0", "two.safetensors#1"]
    assert {row["type"] for row in components.values()} == {"machine-learning-model"}
    facts = {
        name: {one["name"].removeprefix("zoovet:"): one["value"] for one in row["properties"]}
        for name, row in components.items()
    }
    assert [facts[name]["verdict"] for name in sorted(facts)] == ["not scanned", "trojaned", "trojaned"]
    assert facts["two.safetensors#0"]["weights_sha256"] != facts["two.safetensors#1"]["weights_sha256"]
    assert facts["two.safetensors#1"]["passes"] == "false"
    digest = hashlib.sha256((place / "two.safetensors").read_bytes()).hexdigest()
    assert components["two.safetensors#0"]["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_the_document_says_the_exit_statuses_as_they_are() -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert {int(number): meaning for number, meaning in rows} == EXIT_STATUSES
