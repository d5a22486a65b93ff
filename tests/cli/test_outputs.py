"""Where results go is checked before the work starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zoovet.cli.outputs import require_own_file, require_own_folder, require_writable_file
from zoovet.errors import ZoovetError


def test_a_new_an_empty_and_an_own_folder_may_be_written_to(tmp_path: Path) -> None:
    require_own_folder(tmp_path / "new" / "inner", "run.json", "a run")
    (tmp_path / "empty").mkdir()
    require_own_folder(tmp_path / "empty", "run.json", "a run")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "run.json").touch()
    (tmp_path / "own" / "more").touch()
    require_own_folder(tmp_path / "own", "run.json", "a run")
    assert (tmp_path / "new" / "inner").is_dir()


def test_what_a_killed_process_left_is_no_more_than_nothing(tmp_path: Path) -> None:
    for name in (".zoovet.lock", ".run.json.abcdefgh.partial", "config.yaml"):
        (tmp_path / name).touch()
    require_own_folder(tmp_path, "run.json", "a run", begun=("config.yaml",))
    with pytest.raises(ZoovetError, match=r"holds something else than a run \('config.yaml', no 'run.json'\)"):
        require_own_folder(tmp_path, "run.json", "a run")


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for folder in (tmp_path, tmp_path / "missing" / ".."):
        said = re.escape(f"{folder} holds something else than a run ('thesis.tex', no 'run.json'); give another --out")
        with pytest.raises(ZoovetError, match=said):
            require_own_folder(folder, "run.json", "a run")


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ZoovetError, match="file is a file; give a folder for a run as --out"):
        require_own_folder(tmp_path / "file", "run.json", "a run")
    with pytest.raises(ZoovetError, match="is a folder; give a file as --out"):
        require_writable_file(tmp_path, tmp_path / "file", force=True)


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ZoovetError, match=r"cannot write into .*file/inner: Not a directory; give another --out"):
        require_own_folder(tmp_path / "file" / "inner", "run.json", "a run")
    with pytest.raises(ZoovetError, match=r"cannot write into .*: File name too long; give another --out"):
        require_own_folder(tmp_path / ("x" * 300), "run.json", "a run")


@pytest.mark.parametrize("force", [False, True])
def test_the_input_is_never_overwritten_not_even_through_a_link(tmp_path: Path, force: bool) -> None:
    source = tmp_path / "suspect.safetensors"
    source.touch()
    (tmp_path / "link").symlink_to(source)
    spellings = (".", "missing/..", "missing/deeper/../..")
    for out in (source, tmp_path / "link", *(tmp_path / between / source.name for between in spellings)):
        with pytest.raises(ZoovetError, match="is the input itself, which is never overwritten"):
            require_writable_file(out, source, force=force)


def test_another_file_is_overwritten_only_by_force(tmp_path: Path) -> None:
    source, out = tmp_path / "a", tmp_path / "b"
    source.touch()
    out.touch()
    with pytest.raises(ZoovetError, match="b exists already; give another --out, or --force to overwrite it"):
        require_writable_file(out, source, force=False)
    with pytest.raises(ZoovetError, match=r"b exists already; give another --out, or --force to overwrite it"):
        require_writable_file(tmp_path / "missing" / ".." / "b", source, force=False)
    assert not (tmp_path / "missing").exists()
    require_writable_file(out, source, force=True)


def test_a_page_is_no_other_file_of_the_command_by_no_link_or_spelling(tmp_path: Path) -> None:
    source, page = tmp_path / "a.pt", tmp_path / "page.html"
    source.touch()
    (tmp_path / "hard.html").hardlink_to(source)
    (tmp_path / "soft.html").symlink_to(source)
    others = {source: "the input", tmp_path / "new": "what --out names"}
    for own in (source, tmp_path / "hard.html", tmp_path / "soft.html"):
        with pytest.raises(ZoovetError, match=r"--report .* is the input; give another"):
            require_own_file(own, others, "--report", "<")
    for between in (".", "missing/.."):
        with pytest.raises(ZoovetError, match=r"--report .*new is what --out names; give another"):
            require_own_file(tmp_path / between / "new", others, "--report", "<")
    page.touch()
    others |= {Path(f"https://example.org/{'x' * 300}.pt"): "one of the files"}
    require_own_file(page, others, "--report", "<")


@pytest.mark.parametrize("content", [b"\x89PNG zoovet", b'effort = "quick"', b'{"a": 1}', b"<p>mine</p>", b"\0" * 64])
def test_what_somebody_else_wrote_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.html"
    path.write_bytes(content)
    for beginning in "{<":
        with pytest.raises(ZoovetError, match=r"exists, and is nothing that --sarif has written; give another --sarif"):
            require_own_file(path, {}, "--sarif", beginning)
    with pytest.raises(ZoovetError, match=r"index\.html was not written by zoovet; give another folder for pages"):
        require_own_folder(tmp_path, "index.html", "pages", option="--report")
    assert path.read_bytes() == content


def test_what_zoovet_wrote_may_be_replaced(tmp_path: Path) -> None:
    page, results = tmp_path / "index.html", tmp_path / "results.sarif"
    page.write_text("<!doctype html><footer>Written by zoovet 0.1.0.</footer>")
    results.write_text('\n{"tool": {"driver": {"name": "zoovet"}}}')
    require_own_folder(tmp_path, "index.html", "pages", option="--report")
    require_own_file(results, {}, "--sarif", "{")
