from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoovet import Images, InputScaling
from zoovet.networks import Graph
from zoovet.vet import Failure, FileResult, ReadOptions, ScanCache, candidates_for, open_scan_cache, scan_identity


class Scans:
    """A scanner that says what it is told, and remembers what it was asked."""

    def __init__(self, result: FileResult) -> None:
        self.result, self.asked = result, list[str]()

    def scan_files(self, files: list[Path], *, progress: object = None) -> Iterator[FileResult]:
        for place, path in reversed(list(enumerate(files))):
            self.asked.append(path.name)
            verdicts = tuple(replace(verdict, file=str(path)) for verdict in self.result.verdicts)
            yield replace(self.result, place=place, file=str(path), verdicts=verdicts)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScanCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    opened, problem = open_scan_cache("identity")
    assert problem == ""
    assert opened is not None
    return opened


@pytest.fixture
def scans(stranger_result: FileResult) -> Scans:
    return Scans(stranger_result)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"\x80weights of " + name.encode())
    return [tmp_path / "a", tmp_path / "b"]


def asked(cache: ScanCache, scans: Any, files: list[Path]) -> list[str]:
    """What had to be scanned; each file has a result with its name at its place."""
    scans.asked.clear()
    results = sorted(cache.scan(scans, files), key=lambda result: result.place)
    assert [result.file for result in results] == list(map(str, files))
    assert [result.verdicts[0].file for result in results] == list(map(str, files))
    return sorted(scans.asked)


def test_what_was_sought_is_not_sought_again_until_the_file_changes(
    cache: ScanCache, scans: Scans, files: list[Path]
) -> None:
    assert asked(cache, scans, files) == ["a", "b"]
    assert asked(cache, scans, files) == []
    assert cache.num_found == 2
    files[1].rename(files[1].with_name("c"))
    assert asked(cache, scans, [files[0], files[1].with_name("c")]) == [], "a name is no part of a network"
    files[0].write_bytes(b"\x80other weights")
    assert asked(cache, scans, files[:1]) == ["a"]
    assert asked(replace(cache, identity="another detector"), scans, files[:1]) == ["a"]


def test_a_damaged_or_foreign_entry_is_made_again(cache: ScanCache, scans: Scans, files: list[Path]) -> None:
    for damage in (
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.chmod(0o666),
        lambda path: path.with_name(f"{path.name}.sha256").unlink(),
    ):
        asked(cache, scans, files[:1])
        (entry,) = (path for path in cache.folder.iterdir() if path.suffix != ".sha256")
        damage(entry)
        assert asked(cache, scans, files[:1]) == ["a"]
        assert asked(cache, scans, files[:1]) == []


def test_a_folder_that_others_may_write_is_not_trusted(cache: ScanCache) -> None:
    cache.folder.chmod(0o777)
    opened, problem = open_scan_cache("identity")
    assert opened is None
    assert problem.startswith("what was found is not kept for the next scan: others may write into ")


def test_failures_quick_answers_and_files_that_need_others_are_not_kept(
    cache: ScanCache, scans: Scans, files: list[Path], stranger_result: FileResult
) -> None:
    quick = tuple(replace(verdict, effort=None) for verdict in stranger_result.verdicts)
    for result in (replace(stranger_result, failure=Failure("broken")), replace(stranger_result, verdicts=quick)):
        scans.result = result
        asked(cache, scans, files[:1])
    assert list(cache.folder.iterdir()) == []
    scans.result = stranger_result
    for content in (b"\x08 external_data location weights.bin", b'{"weight_map": {}}', b""):
        files[0].write_bytes(content)
        asked(cache, scans, files[:1])
    asked(cache, scans, [files[0].with_name("none"), files[0].parent])
    assert list(cache.folder.iterdir()) == []


def test_a_file_that_changes_while_it_is_scanned_is_not_kept(
    cache: ScanCache, scans: Scans, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Scans.scan_files

    def changing(self: Scans, files: list[Path], **options: Any) -> Iterator[FileResult]:
        files[0].write_bytes(b"\x80changed meanwhile")
        yield from usual(self, files, **options)

    monkeypatch.setattr(Scans, "scan_files", changing)
    asked(cache, scans, files[:1])
    assert list(cache.folder.iterdir()) == []


def test_an_identity_changes_with_all_that_a_result_depends_on(
    tmp_path: Path, relu_graph: Graph, write_detector: Callable[..., Path], stranger_reader: Any, pictures: Images
) -> None:
    detector = candidates_for("detector", given=write_detector(tmp_path / "detector.safetensors", [relu_graph]))
    settings = {"effort": "quick", "threshold": None}
    options = ReadOptions(images=pictures)
    first = scan_identity(options, detector, stranger_reader, **settings)
    assert first == scan_identity(ReadOptions(images=replace(pictures)), detector, stranger_reader, **settings)
    labels = pictures.labels.flip(0)
    others = [
        scan_identity(ReadOptions(), detector, stranger_reader, **settings),
        scan_identity(ReadOptions(images=pictures[:47]), detector, stranger_reader, **settings),
        scan_identity(ReadOptions(images=replace(pictures, labels=labels)), detector, stranger_reader, **settings),
        scan_identity(replace(options, scaling=InputScaling()), detector, stranger_reader, **settings),
        scan_identity(replace(options, architecture="vgg"), detector, stranger_reader, **settings),
        scan_identity(options, [], stranger_reader, **settings),
        scan_identity(options, detector, replace(stranger_reader, version="2"), **settings),
        scan_identity(options, detector, stranger_reader, **{**settings, "effort": "normal"}),
    ]
    assert len({first, *others}) == 9
    for architecture in ("my_net.py:make", "torchvision:resnet18"):
        assert scan_identity(replace(options, architecture=architecture), detector, stranger_reader) is None
