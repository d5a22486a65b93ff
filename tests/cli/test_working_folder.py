"""What lies in the folder that a command is called in does not change what it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
from zoovet.cli.main import main
main(["scan", "missing.safetensors"])
import matplotlib, os
print(matplotlib.rcParams["lines.linewidth"], os.getcwd())
"""


def test_a_matplotlibrc_is_neither_obeyed_nor_complained_of(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 17\nno.such.key: 1\nbackend: module://evil\n")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == f"1.5 {tmp_path}\n"
    assert [line[:6] for line in done.stderr.splitlines()] == ["error:"]
