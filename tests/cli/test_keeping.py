"""Whatever keeps a verb from going on, its user learns what is kept."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zoovet.cli.keeping import saying_what_is_kept, shards_kept
from zoovet.errors import ZoovetError
from zoovet.files import write_text


def _raising(error: BaseException, folder: Path) -> None:
    with saying_what_is_kept(folder, lambda: shards_kept(folder)):
        raise error


def test_an_interruption_and_a_full_disk_say_what_is_kept(tmp_path: Path) -> None:
    kept = "nothing was finished yet; the same command begins again"
    with pytest.raises(KeyboardInterrupt, match=kept):
        _raising(KeyboardInterrupt(), tmp_path)
    (tmp_path / "shard-00000.parquet").touch()
    with pytest.raises(KeyboardInterrupt, match=r"zoo.json is gone, so give --repair-zoo"):
        _raising(KeyboardInterrupt(), tmp_path)
    (tmp_path / "zoo.json").touch()
    kept = "1 whole shard kept in .*; the same command goes on from there"
    with pytest.raises(KeyboardInterrupt, match=kept):
        _raising(KeyboardInterrupt(), tmp_path)
    (tmp_path / "shard-00001.parquet").touch()
    with pytest.raises(ZoovetError, match=r"cannot write into .*: No space left on device; 2 whole shards kept in"):
        _raising(OSError(errno.ENOSPC, "full"), tmp_path)
    with pytest.raises(KeyboardInterrupt, match="said already"):
        _raising(KeyboardInterrupt("said already"), tmp_path)


def test_a_file_that_could_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    message = r"cannot write .*gone/zoo.json: No such file or directory; nothing was finished yet; the same"
    with pytest.raises(ZoovetError, match=message), saying_what_is_kept(folder, lambda: shards_kept(folder)):
        write_text(folder / "zoo.json", "{}")


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"^bad input$"):
        _raising(ZoovetError("bad input"), tmp_path)
    with pytest.raises(IndexError, match=r"^ours$"):
        _raising(IndexError("ours"), tmp_path)
