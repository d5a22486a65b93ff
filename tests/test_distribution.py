"""What is given away: the wheel, the sdist, the image, and the files that say whose and what they are."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml

import zoovet
from zoovet import shipped

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "zoovet"
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def _own_files(folder: Path) -> set[str]:
    """Files of the package, but for what Python makes of them."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _schema(name: str) -> dict[str, Any]:
    """A schema that check-jsonschema carries."""
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / name
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def test_every_file_that_is_no_code_is_named_as_data_of_its_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    for name in _own_files(PACKAGE):
        owners = [key for key in data if f"zoovet/{name}".startswith(key.replace(".", "/") + "/")]
        patterns = [f"{key.replace('.', '/')}/{pattern}" for key in owners for pattern in data[key]]
        assert name.endswith(".py") or any(fnmatch(f"zoovet/{name}", pattern) for pattern in patterns), name


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == zoovet.__version__
    released = re.findall(r"^## \[(\d.*?)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == (zoovet.__version__, citation["date-released"])


def test_the_citation_is_a_citation_file() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    schema = _schema("citation-file-format.json")
    jsonschema.validate(citation, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**citation, "authors": []}, schema)


def _dockerfile() -> list[tuple[str, list[str]]]:
    """The instructions of the Dockerfile with their words."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(words[0], words[1:]) for words in lines]


def _copied() -> list[str]:
    return [name for instruction, words in _dockerfile() if instruction == "COPY" for name in words[:-1]]


def test_the_image_is_made_of_files_that_are_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for name in _copied():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = re.findall(r"'\.\[(.*?)\]'", text)[0].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert "http://" not in text
    assert _dockerfile()[-2] == ("ENTRYPOINT", ['["zoovet"]'])
    assert ("USER", ["zoovet"]) in _dockerfile()


def _build(kind: str, folder: Path) -> Path:
    """A wheel or an sdist of what lies in a folder; returns it."""
    out = folder / "dist"
    before = set(out.glob("*"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    (made,) = set(out.glob("*")) - before
    return made


def _in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name.removeprefix("zoovet/") for name in opened.namelist() if name.startswith("zoovet/")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist alone, as an installer without the wheel builds it."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(
        ROOT, folder / "tree", ignore=shutil.ignore_patterns(".*", "runs", "zoos", "dist", "build", "*.egg-info")
    )
    sdist = _build("sdist", folder / "tree")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return _build("wheel", folder / sdist.name.removesuffix(".tar.gz"))


@pytest.mark.slow
def test_the_wheel_made_of_the_sdist_holds_every_file_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"zoovet-{zoovet.__version__}-py3-none-any.whl"
    assert _in_wheel(wheel) == _own_files(PACKAGE)


@pytest.mark.slow
def test_what_the_image_copies_makes_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    for name in _copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, tmp_path / name)
    assert _in_wheel(_build("wheel", tmp_path)) == _in_wheel(wheel)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from the wheel into an environment of its own.

    Its dependencies are this environment's: their folder is put on the path, which leaves the files ``*.pth`` in it
    unread, and so the zoovet that may be installed there for development.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(str(Path(yaml.__file__).parents[1]) + "\n", encoding="utf-8")
    return folder / "bin" / "zoovet"


@pytest.mark.slow
def test_the_installed_command_asks_the_detectors_and_repairers_in_it(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(installed), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert run("--version").stdout == f"zoovet {zoovet.__version__}\n"
    listed = run("--models").stdout
    assert str(installed.parents[1]) in listed
    assert all(name in listed for name in shipped.names())
    graph = zoovet.Detector.shipped("fashion-mnist-small-cnn").graphs[0]
    flat = torch.zeros(1, graph.num_parameters)
    zoovet.save_networks(zoovet.Networks.from_flat(graph, flat), tmp_path / "suspect.safetensors")
    done = run("scan", "suspect.safetensors", "--json")
    assert done.returncode == 1, done.stderr
    (verdict,) = json.loads(done.stdout)["verdicts"]
    assert verdict["verdict"] == "unknown"  # no training leaves zeros
    assert verdict["digest"] is not None
    refused = run("repair", "suspect.safetensors", "--out", "healed.safetensors", "--allow-unknown")
    assert (refused.returncode, "% of its training networks by at most" in refused.stderr) == (2, True)
