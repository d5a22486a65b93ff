"""``zoovet serve``: who may ask, where it listens, what is missing."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from zoovet.cli import serve
from zoovet.cli.main import main


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    serve.add_arguments(made)
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_this_machine_alone_needs_no_token(
    parser: argparse.ArgumentParser, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOOVET_SERVE_TOKEN", raising=False)
    access, is_made = serve._access(parser.parse_args(["--host", host]))
    assert (access.token, is_made) == (None, False)
    assert access.hosts is not None
    assert host in access.hosts or f"[{host}]" in access.hosts


def test_others_need_one_that_is_given_or_made(
    parser: argparse.ArgumentParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOOVET_SERVE_TOKEN", raising=False)
    words = ["--host", "0.0.0.0"]
    made = [serve._access(parser.parse_args(words)) for _ in range(2)]
    assert all(is_made and access.token and len(access.token) >= 32 for access, is_made in made)
    assert made[0][0].token != made[1][0].token
    (tmp_path / "token").write_text("a token in a file, long\nnot this\n")
    access, is_made = serve._access(parser.parse_args([*words, "--token-file", str(tmp_path / "token")]))
    assert (access.token, access.hosts, is_made) == ("a token in a file, long", None, False)
    monkeypatch.setenv("ZOOVET_SERVE_TOKEN", "a token in the environment")
    assert serve._access(parser.parse_args(words))[0].token == "a token in the environment"
    assert serve._access(parser.parse_args([]))[0].token == "a token in the environment"


def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ZOOVET_SERVE_TOKEN", raising=False)
    data = ["--data", str(tmp_path / "data")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", *data, "--port", port]) == 2
    assert f"cannot listen at 127.0.0.1:{port}: " in capsys.readouterr().err
    assert main(["serve", *data, "--host", "192.0.2.1", "--port", "0"]) == 2
    assert "give another --host" in capsys.readouterr().err
    assert main(["serve", *data, "--port", "70000"]) == 2
    assert "from 0 to 65535" in capsys.readouterr().err
    (tmp_path / "token").write_text("short")
    assert main(["serve", *data, "--token-file", str(tmp_path / "token")]) == 2
    assert "at least 16 characters" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["serve", "--data", str(tmp_path / "file"), "--port", "0"]) == 2
    assert "give another --data" in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(serve, "_LIBRARIES", ("fastapi", "no_such_library"))
    assert main(["serve"]) == 2
    assert "needs no_such_library: pip install 'zoovet[serve]'" in capsys.readouterr().err
