from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoovet.zoo.native.libraries import NativeUnavailable, load_library


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where libraries are kept in a test; its name has what a shell would take apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / 'sp ace"q'))
    return tmp_path / 'sp ace"q' / "zoovet" / "native"


@pytest.fixture
def answer(tmp_path: Path, cache: Path) -> Callable[..., int]:
    """What a compiled library says."""
    source = tmp_path / "source.c"
    source.write_text("#include CONSTANTS_FILE\nint answer(void) { return ANSWER; }\n")

    def loaded(constants: str = "#define ANSWER 42\n") -> int:
        library: ctypes.CDLL = load_library(source, constants)
        return int(library.answer())

    return loaded


def compiler(path: Path, script: str) -> Path:
    """A compiler of a test's own."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_constants_and_options_make_another_library(
    answer: Callable[..., int], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "gcc")
    assert answer() == answer() == 42
    assert answer("#define ANSWER 43\n") == 43
    monkeypatch.setenv("CC", "gcc -m64 -DANSWER=44")
    assert answer("") == 44
    monkeypatch.setenv("CC", "env gcc '-DANSWER=40 + 5'")
    assert answer("") == 45
    assert len(list(cache.glob("*.so"))) == 4


def test_a_compiler_beside_the_working_folder_and_one_with_a_space_in_its_name(
    answer: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path / "my cc", 'exec gcc -DANSWER=46 "$@"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", "./my cc")
    assert answer("") == 46


def test_a_damaged_library_is_compiled_again(answer: Callable[..., int], cache: Path) -> None:
    answer()
    (path,) = cache.glob("*.so")
    whole = path.read_bytes()
    for content in (b"", whole[:3000], bytes(byte ^ 16 for byte in whole)):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.replace(path)  # the one that is loaded stays whole
        assert answer() == 42
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", r"failed \(status 1\): it did not say why$"),
        ("kill -9 $$", r"failed \(signal 9\): it did not say why$"),
        (
            '[ "$1" = --version ] && echo cc 1 || { printf "no \\033[2J\\n\\nsuch\\nflag\\n more" >&2; exit 3; }',
            r"failed \(status 3\): no \\x1b\[2J; such; flag$",
        ),
        ("echo cc 1", r"^the compiled library cannot be had: .*made\.so"),
        (
            '[ "$1" = --version ] && echo cc 1 || echo text > made.so',
            r"library cannot be had: .*made\.so: file too short",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:compiled code is not kept")
def test_what_went_wrong_is_said_in_one_line(
    answer: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv("CC", str(compiler(tmp_path / "cc", script)))
    with pytest.raises(NativeUnavailable, match=message) as caught:
        answer()
    assert str(caught.value).isprintable()


def test_no_compiler_and_no_command(
    answer: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", 'gcc "-m64')
    with pytest.raises(NativeUnavailable, match=r'variable CC is no command \(No closing quotation\): gcc "-m64'):
        answer()
    monkeypatch.setenv("CC", str(tmp_path / "none"))
    with pytest.raises(NativeUnavailable, match="none cannot be run: No such file or directory; install one, or name"):
        answer()
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailable, match=r"no C compiler was found \(cc, gcc or clang\); install one, or name"):
        answer()


def test_two_that_compile_at_once(
    answer: Callable[..., int], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", str(compiler(tmp_path / "slow", 'sleep 0.3; exec gcc "$@"')))
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: answer(), range(3))) == [42] * 3
    assert sorted(path.suffix for path in cache.iterdir()) == [".sha256", ".so"]
    command = ["sha256sum", "--check", "--quiet", *(path.name for path in cache.glob("*.sha256"))]
    assert shutil.which("sha256sum") is None or subprocess.run(command, cwd=cache, check=False).returncode == 0
