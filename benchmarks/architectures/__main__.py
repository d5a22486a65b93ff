"""The table of architectures, docs/architectures.md: which networks zoovet reads, how exactly, and what that costs.

Each row is computed by a process of its own, with limits of time and memory, and kept in
benchmarks/results/architectures.json; whole rows that are there are not computed again. Networks have random weights,
nothing is downloaded. torchvision and timm are needed: `make architectures` installs them into a folder of their own.

    python benchmarks/architectures                          # the rows that are missing or not whole, then the page
    python benchmarks/architectures --again --only NAME …    # these rows anew
    python benchmarks/architectures --page                   # the page from the rows that are there
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from page import page

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results" / "architectures.json"
PAGE = FOLDER.parents[1] / "docs" / "architectures.md"


def kept_rows() -> dict[str, Any]:
    """What was computed already."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def computed(name: str, max_minutes: float, max_gb: float) -> dict[str, Any]:
    """A row, by a process of its own; where that fails or is stopped, what it found until then, and why it ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        command = [sys.executable, str(FOLDER), "--child", name, str(path), "--max-gb", str(max_gb)]
        try:
            done = subprocess.run(command, timeout=60 * max_minutes, stderr=subprocess.PIPE, text=True, check=False)
            reason = None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["killed"])[-1]
        except subprocess.TimeoutExpired:
            reason = f"stopped after {max_minutes:g} minutes"
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return row if reason is None else {**row, "ended": reason}


def child(name: str, path: Path, max_gb: float) -> None:
    """What the process does."""
    limit = int(max_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from operators import operators_of_torchvision

    library = operators_of_torchvision()
    from job import row_of

    assert library, "its operators are declared as long as it is kept"
    row_of(name, lambda row: path.write_text(json.dumps(row), encoding="utf-8"))


def main() -> None:
    """Compute and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--again", action="store_true", help="compute rows that are there anew")
    parser.add_argument("--page", action="store_true", help="compute nothing")
    parser.add_argument("--max-minutes", type=float, default=20, help="of a row")
    parser.add_argument("--max-gb", type=float, default=16, help="of a row")
    parser.add_argument("--child", nargs=2, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]), arguments.max_gb)
        return
    if not arguments.page:
        from networks import ARCHITECTURES

        for name in arguments.only or ARCHITECTURES:
            if "ended" not in kept_rows().get(name, {"ended": "not begun"}) and not arguments.again:
                continue
            row = computed(name, arguments.max_minutes, arguments.max_gb)
            print(name, json.dumps(row), flush=True)
            rows = {**kept_rows(), name: row}
            ordered = {key: rows[key] for key in ARCHITECTURES if key in rows}
            RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept_rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
