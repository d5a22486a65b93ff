"""The GitHub Action and the pre-commit hook: their files are what their hosts take, and what they run works."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml

from zoovet.cli.main import main
from zoovet.networks import Networks, small_cnn
from zoovet.readers import save_networks

ROOT = Path(__file__).parents[1]
GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Two files of networks that no shipped model knows, one with a space in its name."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a b.safetensors", "deep/er/c.safetensors"):
        flat = torch.linspace(-1, 1, GRAPH.num_parameters)[None]
        save_networks(Networks.from_flat(GRAPH, flat), tmp_path / name)
    return tmp_path


def test_the_action_is_an_action(action: dict[str, Any]) -> None:
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-actions.json"
    jsonschema.validate(action, json.loads(place.read_text(encoding="utf-8")))


def test_no_input_is_put_into_a_script(action: dict[str, Any]) -> None:
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "what a workflow gives goes through the environment, never into a program"
    used = set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(action["inputs"])


def test_the_action_installs_extras_that_there_are(action: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"ACTION_PATH\[(.*?)\]", action["runs"]["steps"][0]["run"])
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "bom" in extras


def _run(action: dict[str, Any], weights: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """What the action's step does on a runner, with a command that says how it was called and leaves with 1."""
    commands = weights / "runner" / "zoovet" / "bin"
    commands.mkdir(parents=True, exist_ok=True)
    script = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\nsys.exit(1)\n"
    (commands / "zoovet").write_text(script, encoding="utf-8")
    (commands / "zoovet").chmod(0o755)
    given = {name.upper().replace("-", "_"): "" for name in action["inputs"]}
    environment = {
        **os.environ,
        **given,
        **inputs,
        "RUNNER_TEMP": str(weights / "runner"),
        "GITHUB_OUTPUT": str(weights / "output"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", action["runs"]["steps"][1]["run"]]
    return subprocess.run(command, cwd=weights, env=environment, capture_output=True, text=True, check=False)


def test_the_action_scans_what_patterns_match_and_leaves_as_the_scan_does(
    action: dict[str, Any], weights: Path
) -> None:
    done = _run(
        action,
        weights,
        FILES="a b.safetensors\n\n**/c.*\n",
        IMAGES="my photos",
        POLICY="zoovet.toml",
        OPTIONS="--scaling unit  --effort quick",
    )
    assert done.returncode == 1, done.stderr
    out = weights / "runner" / "zoovet-results"
    written = [word for name in ("sarif", "junit", "bom") for word in (f"--{name}", f"{out}/scan.{name}")]
    first = ["scan", "--images", "my photos", "--policy", "zoovet.toml", "--scaling", "unit", "--effort", "quick"]
    assert json.loads(done.stdout) == [*first, *written, "--", "a b.safetensors", "deep/er/c.safetensors"]
    outputs = dict(line.split("=", 1) for line in (weights / "output").read_text(encoding="utf-8").splitlines())
    assert outputs == {name: f"{out}/scan.{name}" for name in action["outputs"]}


def test_the_action_refuses_a_pattern_without_a_file_and_runs_nothing_that_is_given(
    action: dict[str, Any], weights: Path
) -> None:
    done = _run(action, weights, FILES="*.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: no file is called *.onnx\n")
    done = _run(action, weights, FILES="a b.safetensors", OPTIONS="$(touch owned) `touch owned`; touch owned")
    assert done.returncode == 1
    assert not (weights / "owned").exists()


def test_the_words_of_the_action_are_the_commands(
    action: dict[str, Any], weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = _run(action, weights, FILES="**/*.safetensors", OPTIONS="--effort quick")
    words = json.loads(done.stdout)
    assert main([*words[:-2], *(str(weights / name) for name in words[-2:])]) == 1
    assert "unknown" in capsys.readouterr().out
    for name in ("sarif", "junit", "bom"):
        assert (weights / "runner" / "zoovet-results" / f"scan.{name}").stat().st_size > 100


def test_the_hook_scans_the_weight_files_that_are_committed(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {"id", "name", "entry", "language"} <= hook.keys()
    assert hook["additional_dependencies"] == ["--constraint=constraints.txt", "h5py"], "else pip takes what is newest"
    assert (ROOT / "constraints.txt").is_file()
    assert hook["require_serial"] is True, "several scans at once would share the cores"
    for name in ("a.safetensors", "b.PT2".lower(), "x/c.onnx", "pytorch_model.bin"):
        assert re.search(hook["files"], name)
    assert not re.search(hook["files"], "model.safetensors.index.json")
    command, *words = shlex.split(hook["entry"])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert command in scripts
    assert main([*words, "--scaling", "unit", str(weights / "a b.safetensors")]) == 1
    assert "unknown" in capsys.readouterr().out


@pytest.mark.slow  # sets up an environment with PyTorch, as the first commit of a user does
def test_pre_commit_installs_the_hook_and_scans(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    save_networks(
        Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None]), repository / "a.safetensors"
    )
    (repository / "notes.txt").write_text("no weights", encoding="utf-8")
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(ROOT), "zoovet-scan", "--all-files"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^a\.safetensors .* unknown$", done.stdout, re.MULTILINE), done.stdout
    assert "notes.txt" not in done.stdout
